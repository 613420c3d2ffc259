"""Drawing synthetic tissue: what is where in a box, and how organelles are painted.

Every step works voxel by voxel, so a box never shows. Distances are in nm, negative within.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.synthetic.base import TissueConfig
from cristae.data.synthetic.cells import (
    REACH_NM,
    WOBBLE_NM,
    Cell,
    Packing,
    Piece,
    cell_at,
    cells_near,
    contents_of,
)
from cristae.data.synthetic.noise import Axes, value_noise

Window = tuple[slice, slice, slice]
"""The part of a box that something lies in."""

FAR = np.float32(1e4)
"""A distance in nm beyond all others."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What is where in a box, before it is turned into labels or greys. All arrays are (Z, Y, X) float32, in nm."""

    axes: Axes
    """Coordinates of the voxel centres."""
    depth: np.ndarray
    """How far inside a cell; negative outside."""
    alone: np.ndarray
    """The same, if the cell had no neighbours."""
    half_gap: np.ndarray
    """Half the distance that is kept between two cells."""
    inside: np.ndarray
    """As `depth`, but channels count as outside."""
    owner: np.ndarray
    """Index of the nearest cell in `cells`; len(cells) where none is near."""
    cells: tuple[Cell, ...]
    pieces: tuple[Piece, ...]
    """Everything but channels, in painting order."""
    slow: np.ndarray
    """Noise from -1 to 1 over about a micrometre."""
    ripple: np.ndarray
    """Noise from -1 to 1 over about 150 nm."""


Fill = Callable[[Scene, Window, Piece, np.ndarray], np.ndarray]
"""Greys of what is within a piece, from its window and the distances to its surface."""

Shape = Callable[[Scene, Window, Piece], np.ndarray]
"""Distances to the surface of a piece in its window."""


def scene_of(config: TissueConfig, box: Box) -> Scene:
    """What is where in a box."""
    axes = config.centres_nm(box)
    low, high = (np.array([a[i] for a in axes]) for i in (0, -1))
    indices = cells_near(config.tissue, low - REACH_NM, high + REACH_NM)
    cells = tuple(cell_at(config.tissue, index) for index in indices)
    best, second, owner = _compete(config, axes, indices)
    slow = value_noise(config.noise_seed(1), axes, (900.0, 700.0, 700.0))
    ripple = value_noise(config.noise_seed(2), axes, (170.0, 150.0, 150.0))
    half_gap = _half_gap(config.tissue.packing, slow)
    alone, depth = _membrane(best, second, half_gap, slow, ripple)
    touching = []
    for index in indices:
        contents = contents_of(config.tissue, index)
        hit = np.flatnonzero(((contents.high >= low) & (contents.low <= high)).all(1))
        touching += [contents.pieces[i] for i in hit]
    inside = depth.copy()
    for piece in touching:
        if piece.kind == "channel":
            where = range_of(axes, *piece.bounds)
            np.minimum(inside[where], chain_distance(axes, where, piece, ripple), out=inside[where])
    pieces = tuple(piece for piece in touching if piece.kind != "channel")
    return Scene(axes, depth, alone, half_gap, inside, owner, cells, pieces, slow, ripple)


def _compete(config: TissueConfig, axes: Axes, indices: Sequence[Triple]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth in the nearest and the second nearest cell, and which the nearest is."""
    shape = tuple(len(a) for a in axes)
    best, second = np.full(shape, -FAR), np.full(shape, -FAR)
    owner = np.full(shape, len(indices), np.int16)
    for number, index in enumerate(indices):
        cell = cell_at(config.tissue, index)
        where = range_of(axes, cell.centre - cell.extent, cell.centre + cell.extent)
        depth = _ellipsoid_depth(axes, where, cell)
        if depth.size and config.tissue.packing.undulation_nm:
            depth += _undulation(config, index, tuple(a[w] for a, w in zip(axes, where, strict=True)))  # type: ignore[arg-type]
        first, next_ = best[where], second[where]
        np.copyto(owner[where], number, where=depth > first)
        np.maximum(next_, np.minimum(depth, first), out=next_)
        np.maximum(first, depth, out=first)
    return best, second, owner


def _undulation(config: TissueConfig, index: Triple, axes: Axes) -> np.ndarray:
    """How far the wall of a cell bulges, by a noise of its own."""
    z, y, x = index
    own = config.noise_seed(12) ^ ((z * 73_856_093 ^ y * 19_349_663 ^ x * 83_492_791) & 0xFFFF_FFFF) << 8
    return value_noise(own, axes, (520.0, 420.0, 420.0)) * np.float32(config.tissue.packing.undulation_nm)


def range_of(axes: Axes, low: np.ndarray, high: np.ndarray) -> Window:
    z, y, x = (
        slice(int(np.searchsorted(a, b)), int(np.searchsorted(a, c))) for a, b, c in zip(axes, low, high, strict=True)
    )
    return z, y, x


def line(axes: Axes, where: Window, origin: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """(Z, Y, X) float32 scalar product of a vector with the way from `origin` to each voxel."""
    z, y, x = (((a[w] - o) * v).astype(np.float32) for a, w, o, v in zip(axes, where, origin, vector, strict=True))
    result: np.ndarray = (z[:, None] + y)[:, :, None] + x
    return result


def _ellipsoid_depth(axes: Axes, where: Window, cell: Cell) -> np.ndarray:
    """The same as `Cell.depth` for voxels: first-order distance to the surface."""
    length, slope = np.zeros(1, np.float32), np.zeros(1, np.float32)
    for axis, semi in zip(cell.axes, cell.semi, strict=True):
        part = line(axes, where, cell.centre, axis / semi)
        part *= part
        length = length + part
        part *= np.float32(1 / semi**2)
        slope = slope + part
    length, slope = np.sqrt(length) + np.float32(1e-9), np.sqrt(slope) + np.float32(1e-12)
    result: np.ndarray = (np.float32(1) - length) * length / slope
    return result


def _half_gap(packing: Packing, slow: np.ndarray) -> np.ndarray:
    """Half the distance between cells: at its least here and there, opening with the smooth noise elsewhere."""
    least, most = packing.gap_nm
    gap = (slow - np.float32(packing.closed)) * np.float32(most * packing.slope)
    result: np.ndarray = gap.clip(np.float32(least / 2), np.float32(most / 2))
    return result


def _membrane(
    best: np.ndarray, second: np.ndarray, half_gap: np.ndarray, slow: np.ndarray, ripple: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where a cell ends if it is alone, a wobbling ellipsoid, and where it does beside its neighbours."""
    alone = slow * np.float32(0.64 * WOBBLE_NM)
    alone += ripple * np.float32(0.36 * WOBBLE_NM)
    alone += best
    between = best - second
    between *= np.float32(0.5)
    between -= half_gap
    return alone, np.minimum(alone, between, out=between)


def chain_distance(axes: Axes, where: Window, piece: Piece, ripple: np.ndarray) -> np.ndarray:
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
    nearest += ripple[where] * np.float32(piece.wobble * min(piece.radii))
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
    along = line(axes, where, start, way)
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


def chain(scene: Scene, where: Window, piece: Piece) -> np.ndarray:
    """Distance to the wobbling surface of a chain of points."""
    return chain_distance(scene.axes, where, piece, scene.ripple)


def outline(scene: Scene, piece: Piece, shape: Shape = chain) -> tuple[Window, np.ndarray]:
    """The window of a piece and the distance to its surface there, kept 10 nm clear of any membrane."""
    where = range_of(scene.axes, *piece.bounds)
    distance = shape(scene, where, piece)
    return where, np.maximum(distance, np.float32(10) - scene.inside[where], out=distance)


def step(distance: np.ndarray, width: float) -> np.ndarray:
    """1 within, 0 outside, and a straight slope of `width` nm across the surface."""
    slope = distance * np.float32(-1 / width)
    slope += np.float32(0.5)
    slope = np.maximum(slope, np.float32(0), out=slope)
    result: np.ndarray = np.minimum(slope, np.float32(1), out=slope)
    return result


def band(distance: np.ndarray, centre: float, width: float) -> np.ndarray:
    """1 at `centre` nm, falling to 0 at `width` nm from it: a membrane in cross-section."""
    band = np.abs(distance - np.float32(centre))
    band *= np.float32(-1 / width)
    band += np.float32(1)
    return np.maximum(band, np.float32(0), out=band)


@dataclass(frozen=True)
class Paint:
    """How a kind of organelle looks."""

    fill: Fill
    rim: float = 0.0
    """How much darker its membrane is."""
    rim_nm: tuple[float, float] = (-4.0, 11.0)
    """Where the membrane lies, and how far from there it fades."""
    edge_nm: float = 14.0
    """Width of the slope from inside to outside."""


def paint(grey: np.ndarray, scene: Scene, piece: Piece, look: Paint, shape: Shape = chain) -> None:
    """Draw one organelle over the cytoplasm."""
    where, distance = outline(scene, piece, shape)
    if distance.size == 0:
        return
    canvas = grey[where]
    cover = step(distance, look.edge_nm)
    inner = look.fill(scene, where, piece, distance)
    inner -= canvas
    inner *= cover
    canvas += inner
    if look.rim:
        canvas -= np.float32(look.rim) * band(distance, *look.rim_nm)


def stamp(labels: np.ndarray, scene: Scene, piece: Piece, value: int, shape: Shape = chain) -> None:
    """Give the voxels of one organelle an id."""
    where, distance = outline(scene, piece, shape)
    np.copyto(labels[where], np.uint8(value), where=distance < 0)


def plain(level: float, spread: float, grain: float) -> Fill:
    def fill(scene: Scene, where: Window, piece: Piece, _: np.ndarray) -> np.ndarray:
        return scene.ripple[where] * np.float32(grain) + np.float32(level + spread * piece.shade)

    return fill


def cristae_fill(scene: Scene, where: Window, piece: Piece, distance: np.ndarray) -> np.ndarray:
    """A dark matrix within two membranes, crossed by pale folds about every 62 nm."""
    way = piece.points[-1] - piece.points[0]
    way = way / (np.sqrt((way**2).sum()) + 1e-9)
    phase = line(scene.axes, where, piece.points[0], way / 62.0)
    phase += scene.ripple[where] * np.float32(0.45)
    phase -= np.floor(phase)
    fold = band(phase, 0.5, 0.5)
    fold *= step(distance + np.float32(24), 16)
    fold *= np.float32(0.22)
    fold += np.float32(0.16 + 0.03 * piece.shade)
    fold += np.float32(0.16) * band(distance, -17, 8)
    return fold
