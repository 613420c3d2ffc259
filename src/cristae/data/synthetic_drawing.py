"""Drawing the synthetic volume: from the cells and organelles that touch a box to its labels and grey values.

Every step works voxel by voxel (the blur looks one voxel further, where tissue is computed too), so a box never shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cristae.data.box import Box
from cristae.data.image import VoxelSize
from cristae.data.synthetic_cells import (
    GAP_NM,
    ORGANELLE_WOBBLE,
    REACH_NM,
    WOBBLE_NM,
    Cell,
    Piece,
    cell_at,
    cells_near,
    contents_of,
)
from cristae.data.synthetic_noise import Axes, uniform, value_noise

Window = tuple[slice, slice, slice]
"""The part of a box that something lies in."""

_IDS = {"mitochondrion": 2, "alpha": 3, "dense body": 5, "dense core": 6}
_CHANNEL = 4
_FAR = np.float32(1e4)
_RESIN = np.float32(0.80)


@dataclass(frozen=True)
class Look:
    """What the picture depends on besides the place; see `SyntheticConfig`."""

    seed: int
    voxel_size_nm: VoxelSize
    noise: float
    drift: float
    blur: float

    def noise_seed(self, purpose: int) -> int:
        """A seed for each of up to 16 kinds of noise, which no other seed of the tissue shares."""
        return (self.seed << 4 | purpose) & 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, eq=False)
class _Scene:
    """What is where in a box, before it is turned into labels or greys. All arrays are (Z, Y, X) float32, in nm."""

    axes: Axes
    """Coordinates of the voxel centres."""
    depth: np.ndarray
    """How far inside a cell; negative outside."""
    inside: np.ndarray
    """The same, but channels count as outside."""
    owner: np.ndarray
    """Index of the nearest cell in `cells`; len(cells) where none is near."""
    cells: tuple[Cell, ...]
    pieces: tuple[Piece, ...]
    """Everything but channels, in painting order."""
    slow: np.ndarray
    """Noise from -1 to 1 over about a micrometre."""
    ripple: np.ndarray
    """Noise from -1 to 1 over about 150 nm."""


_Fill = Callable[[_Scene, Window, Piece, np.ndarray], np.ndarray]
"""Greys of what is within a piece, from its window and the distances to its surface."""


def labels_of(look: Look, box: Box) -> np.ndarray:
    """(Z, Y, X) uint8 class ids of a box."""
    scene = _scene(look, box)
    labels = (scene.depth > 0).astype(np.uint8)
    labels[(scene.depth > 0) & (scene.inside <= 0)] = _CHANNEL
    for piece in scene.pieces:
        if piece.kind in _IDS:
            where, distance = _outline(scene, piece)
            np.copyto(labels[where], _IDS[piece.kind], where=distance < 0)
    return labels


def grey_of(look: Look, box: Box) -> np.ndarray:
    """(Z, Y, X) uint8 grey values of a box: 0 black (electron dense) to 255 white."""
    margin = box.grow((0, 1, 1))
    scene = _scene(look, margin)
    grey = _tissue(scene)
    for piece in scene.pieces:
        _paint(grey, scene, piece)
    grey += _grain(look, scene)
    grey += _noise(look, margin)
    return _expose(look, _blur(look, grey, box), box)


def _scene(look: Look, box: Box) -> _Scene:
    axes = _centres(look, box)
    low, high = (np.array([a[i] for a in axes]) for i in (0, -1))
    indices = cells_near(look.seed, low - REACH_NM, high + REACH_NM)
    cells = tuple(cell_at(look.seed, index) for index in indices)
    best, second, owner = _compete(axes, cells)
    slow = value_noise(look.noise_seed(1), axes, (900.0, 700.0, 700.0))
    ripple = value_noise(look.noise_seed(2), axes, (170.0, 150.0, 150.0))
    depth = _membrane(best, second, slow, ripple)
    touching = []
    for index in indices:
        contents = contents_of(look.seed, index)
        hit = np.flatnonzero(((contents.high >= low) & (contents.low <= high)).all(1))
        touching += [contents.pieces[i] for i in hit]
    inside = depth.copy()
    for piece in touching:
        if piece.kind == "channel":
            where = _range(axes, *piece.bounds)
            np.minimum(inside[where], _chain_distance(axes, where, piece, ripple), out=inside[where])
    pieces = tuple(piece for piece in touching if piece.kind != "channel")
    return _Scene(axes, depth, inside, owner, cells, pieces, slow, ripple)


def _centres(look: Look, box: Box) -> Axes:
    z, y, x = (
        (np.arange(a, b) + 0.5) * size for a, b, size in zip(box.start, box.stop, look.voxel_size_nm, strict=True)
    )
    return z, y, x


def _compete(axes: Axes, cells: tuple[Cell, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth in the nearest and the second nearest cell, and which the nearest is."""
    shape = tuple(len(a) for a in axes)
    best, second = np.full(shape, -_FAR), np.full(shape, -_FAR)
    owner = np.full(shape, len(cells), np.int16)
    for number, cell in enumerate(cells):
        where = _range(axes, cell.centre - cell.extent, cell.centre + cell.extent)
        depth = _ellipsoid_depth(axes, where, cell)
        first, next_ = best[where], second[where]
        np.copyto(owner[where], number, where=depth > first)
        np.maximum(next_, np.minimum(depth, first), out=next_)
        np.maximum(first, depth, out=first)
    return best, second, owner


def _range(axes: Axes, low: np.ndarray, high: np.ndarray) -> Window:
    z, y, x = (
        slice(int(np.searchsorted(a, b)), int(np.searchsorted(a, c))) for a, b, c in zip(axes, low, high, strict=True)
    )
    return z, y, x


def _line(axes: Axes, where: Window, origin: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """(Z, Y, X) float32 scalar product of a vector with the way from `origin` to each voxel."""
    z, y, x = (((a[w] - o) * v).astype(np.float32) for a, w, o, v in zip(axes, where, origin, vector, strict=True))
    result: np.ndarray = (z[:, None] + y)[:, :, None] + x
    return result


def _ellipsoid_depth(axes: Axes, where: Window, cell: Cell) -> np.ndarray:
    """The same as `Cell.depth` for voxels: first-order distance to the surface."""
    length, slope = np.zeros(1, np.float32), np.zeros(1, np.float32)
    for axis, semi in zip(cell.axes, cell.semi, strict=True):
        part = _line(axes, where, cell.centre, axis / semi)
        part *= part
        length = length + part
        part *= np.float32(1 / semi**2)
        slope = slope + part
    length, slope = np.sqrt(length) + np.float32(1e-9), np.sqrt(slope) + np.float32(1e-12)
    result: np.ndarray = (np.float32(1) - length) * length / slope
    return result


def _membrane(best: np.ndarray, second: np.ndarray, slow: np.ndarray, ripple: np.ndarray) -> np.ndarray:
    """Where the cell ends: a wobbling ellipsoid, or half-way to a neighbour less a gap that closes here and there."""
    wobble = slow * np.float32(0.64 * WOBBLE_NM)
    wobble += ripple * np.float32(0.36 * WOBBLE_NM)
    between = best - second
    between *= np.float32(0.5)
    between -= ((slow + np.float32(0.35)) * np.float32(GAP_NM)).clip(np.float32(0), np.float32(GAP_NM / 2))
    wobble += best
    result: np.ndarray = np.minimum(wobble, between, out=wobble)
    return result


def _chain_distance(axes: Axes, where: Window, piece: Piece, ripple: np.ndarray) -> np.ndarray:
    """Distance in nm to the wobbling surface of a piece, negative within."""
    n = len(piece.points) - 1
    radii = np.linspace(*piece.radii, n + 1)
    nearest: np.ndarray | None = None
    for start, stop, radius, next_radius in zip(
        piece.points[:-1], piece.points[1:], radii[:-1], radii[1:], strict=True
    ):
        distance = _segment_distance(axes, where, start, stop, float(radius), float(next_radius))
        nearest = distance if nearest is None else np.minimum(nearest, distance, out=nearest)
    assert nearest is not None
    nearest += ripple[where] * np.float32(ORGANELLE_WOBBLE * min(piece.radii))
    return nearest


def _segment_distance(
    axes: Axes, where: Window, start: np.ndarray, stop: np.ndarray, radius: float, next_radius: float
) -> np.ndarray:
    z, y, x = (((a[w] - o) ** 2).astype(np.float32) for a, w, o in zip(axes, where, start, strict=True))
    square: np.ndarray = (z[:, None] + y)[:, :, None] + x
    way = stop - start
    length2 = float((way**2).sum())
    if length2 == 0:
        ball: np.ndarray = np.sqrt(square) - np.float32(radius)
        return ball
    along = _line(axes, where, start, way)
    share = (along * np.float32(1 / length2)).clip(np.float32(0), np.float32(1))
    along *= np.float32(2)
    along -= share * np.float32(length2)
    along *= share
    square -= along
    distance: np.ndarray = np.sqrt(np.maximum(square, np.float32(0), out=square))
    share *= np.float32(next_radius - radius)
    share += np.float32(radius)
    distance -= share
    return distance


def _outline(scene: _Scene, piece: Piece) -> tuple[Window, np.ndarray]:
    """The window of a piece and the distance to its surface there, kept 10 nm clear of any membrane."""
    where = _range(scene.axes, *piece.bounds)
    distance = _chain_distance(scene.axes, where, piece, scene.ripple)
    return where, np.maximum(distance, np.float32(10) - scene.inside[where], out=distance)


def _step(distance: np.ndarray, width: float) -> np.ndarray:
    """1 within, 0 outside, and a straight slope of `width` nm across the surface."""
    slope = distance * np.float32(-1 / width)
    slope += np.float32(0.5)
    slope = np.maximum(slope, np.float32(0), out=slope)
    result: np.ndarray = np.minimum(slope, np.float32(1), out=slope)
    return result


def _band(distance: np.ndarray, centre: float, width: float) -> np.ndarray:
    """1 at `centre` nm, falling to 0 at `width` nm from it: a membrane in cross-section."""
    band = np.abs(distance - np.float32(centre))
    band *= np.float32(-1 / width)
    band += np.float32(1)
    return np.maximum(band, np.float32(0), out=band)


def _tissue(scene: _Scene) -> np.ndarray:
    """Resin, cytoplasm, and the membranes of cells and channels."""
    shades = np.array([*(cell.shade for cell in scene.cells), 0.5], np.float32)
    grey: np.ndarray = shades[scene.owner]
    grey += scene.slow * np.float32(0.04)
    grey -= _RESIN
    grey *= _step(-scene.inside, 14)
    grey += _RESIN
    grey -= np.float32(0.28) * _band(scene.inside, 9, 16)
    return grey


def _grain(look: Look, scene: _Scene) -> np.ndarray:
    """Texture of what is within cells, and a trace of it in the resin."""
    z, y, x = (max(s, v) for s, v in zip((60.0, 30.0, 30.0), look.voxel_size_nm, strict=True))
    grain = value_noise(look.noise_seed(3), scene.axes, (z, y, x))
    grain *= np.float32(0.13) * _step(-scene.inside, 14) + np.float32(0.02)
    return grain


def _paint(grey: np.ndarray, scene: _Scene, piece: Piece) -> None:
    """Draw one organelle over the cytoplasm."""
    where, distance = _outline(scene, piece)
    if distance.size == 0:
        return
    canvas = grey[where]
    cover = _step(distance, 14)
    inner = _FILL[piece.kind](scene, where, piece, distance)
    inner -= canvas
    inner *= cover
    canvas += inner
    canvas -= np.float32(_RIM[piece.kind]) * _band(distance, -4, 11)


def _plain(level: float, spread: float, grain: float) -> _Fill:
    def fill(scene: _Scene, where: Window, piece: Piece, _: np.ndarray) -> np.ndarray:
        return scene.ripple[where] * np.float32(grain) + np.float32(level + spread * piece.shade)

    return fill


def _cristae(scene: _Scene, where: Window, piece: Piece, distance: np.ndarray) -> np.ndarray:
    """A dark matrix within two membranes, crossed by pale folds about every 62 nm."""
    way = piece.points[-1] - piece.points[0]
    way = way / (np.sqrt((way**2).sum()) + 1e-9)
    phase = _line(scene.axes, where, piece.points[0], way / 62.0)
    phase += scene.ripple[where] * np.float32(0.45)
    phase -= np.floor(phase)
    fold = _band(phase, 0.5, 0.5)
    fold *= _step(distance + np.float32(24), 16)
    fold *= np.float32(0.22)
    fold += np.float32(0.16 + 0.03 * piece.shade)
    fold += np.float32(0.16) * _band(distance, -17, 8)
    return fold


_FILL = {
    "mitochondrion": _cristae,
    "alpha": _plain(0.29, 0.05, 0.05),
    "dense body": _plain(0.62, 0.04, 0.05),
    "dense core": _plain(0.04, 0.02, 0.02),
    "clump": _plain(0.22, 0.07, 0.08),
}
_RIM = {"mitochondrion": 0.10, "alpha": 0.10, "dense body": 0.34, "dense core": 0.0, "clump": 0.0}


def _blur(look: Look, grey: np.ndarray, box: Box) -> np.ndarray:
    """A binomial blur in the plane, of a strength that differs between sections; drops the margin of one voxel."""
    jitter = _per_section(look, 4, box)
    side = (np.float32(0.25 * look.blur) * (np.float32(0.8) + np.float32(0.2) * jitter))[:, None, None]
    middle = np.float32(1) - 2 * side
    rows = grey[:, 1:-1] * middle
    rows += (grey[:, :-2] + grey[:, 2:]) * side
    out: np.ndarray = rows[:, :, 1:-1] * middle
    out += (rows[:, :, :-2] + rows[:, :, 2:]) * side
    return out


def _expose(look: Look, grey: np.ndarray, box: Box) -> np.ndarray:
    """The detector: contrast and brightness that differ between sections, then 8 bits."""
    nowhere = np.zeros(1)
    z, _, _ = _centres(look, box)
    slow = value_noise(look.noise_seed(5), (z, nowhere, nowhere), (7 * look.voxel_size_nm[0], 1.0, 1.0))[:, 0, 0]
    drift = np.float32(look.drift)
    gain = np.float32(1) + drift * (np.float32(1.5) * slow + _per_section(look, 6, box))
    offset = drift * (slow + np.float32(0.7) * _per_section(look, 7, box))
    grey -= np.float32(0.5)
    grey *= gain[:, None, None]
    grey += (offset + np.float32(0.5))[:, None, None]
    grey *= np.float32(255)
    exposed: np.ndarray = np.rint(grey, out=grey).clip(0, 255).astype(np.uint8)
    return exposed


def _noise(look: Look, box: Box) -> np.ndarray:
    """White noise, stronger by what the blur will take from it."""
    z, y, x = (np.arange(a, b) for a, b in zip(box.start, box.stop, strict=True))
    side = 0.2 * look.blur
    kept = (1 - 2 * side) ** 2 + 2 * side**2
    noise = uniform(look.noise_seed(8), (z, y, x))
    noise *= np.float32(look.noise * 3**0.5 / kept)
    return noise


def _per_section(look: Look, purpose: int, box: Box) -> np.ndarray:
    """(Z,) float32 numbers from -1 to 1, one for each section."""
    zero = np.zeros(1, np.int64)
    return uniform(look.noise_seed(purpose), (np.arange(box.start[0], box.stop[0]), zero, zero))[:, 0, 0]
