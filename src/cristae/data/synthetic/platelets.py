"""Platelets as a serial block-face microscope shows them, with exact labels.

Looks and class shares follow the platelets of Guay et al. (2021), Scientific Reports 11:2561,
https://doi.org/10.1038/s41598-021-81590-0
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.synthetic.base import TissueConfig, expose
from cristae.data.synthetic.cells import Packing, Piece, Room, Tissue, fill, spread, unit_vectors
from cristae.data.synthetic.drawing import Paint, Scene, band, cristae_fill, paint, plain, scene_of, stamp, step
from cristae.data.synthetic.noise import uniform, value_noise

PLATELET_CLASSES = Classes(
    names=(
        "background",
        "cell",
        "mitochondria",
        "alpha granule",
        "canalicular vessel",
        "dense granule body",
        "dense granule core",
    ),
    colors={
        "cell": "#2f4f9f",
        "mitochondria": "#01abfe",
        "alpha granule": "#01c801",
        "canalicular vessel": "#ffe000",
        "dense granule body": "#fa5e00",
        "dense granule core": "#f500cb",
    },
)
"""The seven classes of Guay et al. (2021), ids 0 to 6 as in the paper."""

_MOUTH_NM = 100.0
"""Channels start this far outside the surface of their cell."""
_IDS = {"mitochondrion": 2, "alpha": 3, "dense body": 5, "dense core": 6}
_CHANNEL = 4
_RESIN = np.float32(0.80)


class SyntheticConfig(TissueConfig):
    """A platelet-like volume; equal settings give equal voxels."""

    kind: ClassVar[str] = "platelet"
    classes: ClassVar[Classes] = PLATELET_CLASSES
    tile: ClassVar[Triple] = (8, 192, 192)

    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (24, 256, 256)
    """Voxels (z, y, x). Growing the shape adds tissue and leaves what was there unchanged."""
    voxel_size_nm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (40.0, 10.0, 10.0)
    """Edge lengths of a voxel (z, y, x). The tissue is laid out in nm: smaller voxels show the same cells in more
    detail."""
    noise: float = Field(default=0.07, ge=0, le=1)
    """Strength of the detector noise, as a fraction of the range from black to white."""
    drift: float = Field(default=0.04, ge=0, le=0.5)
    """How much brightness and contrast differ between sections, as a fraction of the range."""
    blur: float = Field(default=1.0, ge=0, le=1)
    """Blur of the electron beam, from 0 (none) to 1 (about one voxel); it differs a little between sections."""

    @property
    def tissue(self) -> Tissue:
        """Where the platelets are and what they hold."""
        return Tissue(self.seed, _PACKING)

    def labels_of(self, box: Box) -> np.ndarray:
        """(Z, Y, X) uint8 ids of `PLATELET_CLASSES` of a box."""
        scene = scene_of(self, box)
        labels = (scene.depth > 0).astype(np.uint8)
        labels[(scene.depth > 0) & (scene.inside <= 0)] = _CHANNEL
        for piece in scene.pieces:
            if piece.kind in _IDS:
                stamp(labels, scene, piece, _IDS[piece.kind])
        return labels

    def grey_of(self, box: Box) -> np.ndarray:
        """(Z, Y, X) uint8 grey values of a box. The blur looks one voxel further, where tissue is computed too."""
        margin = box.grow((0, 1, 1))
        scene = scene_of(self, margin)
        grey = _tissue(scene)
        for piece in scene.pieces:
            paint(grey, scene, piece, _PAINT[piece.kind])
        grey += _grain(self, scene)
        grey += _noise(self, margin)
        return _expose(self, _blur(self, grey, box), box)


def _contents(room: Room) -> list[Piece]:
    granules = [*_dense_granules(room), *_mitochondria(room), *_alpha_granules(room)]
    channels = _channels(room)
    return [*channels, *_clumps(room), *granules]


def _channels(room: Room) -> list[Piece]:
    """The open canalicular system: winding tubes of changing width that start at the surface and branch."""
    pieces: list[Piece] = []
    wanted = round(20.0 * room.volume_um3)
    for _ in range(120):
        if len(pieces) >= wanted:
            break
        start, heading = _mouth(room)
        chain = _walk(room, start, heading, length=int(room.rng.integers(4, 11)))
        pieces += chain
        if len(chain) > 2:
            fork = chain[len(chain) // 2].points[0]
            pieces += _walk(room, fork, room.direction(), length=int(room.rng.integers(1, 6)))
    for piece in pieces:  # only now: the tubes may join each other
        room.take(np.array([piece.points[0], piece.points.mean(0), piece.points[1]]), max(piece.radii))
    return pieces


def _mouth(room: Room) -> tuple[np.ndarray, np.ndarray]:
    """A point just outside the cell's surface, where no other cell is near, and the way in; else a point inside."""
    normals = room.cell.place(room.directions(8))
    free = np.flatnonzero(room.outside(normals) < -160)
    if len(free):
        inward = unit_vectors(room.cell.centre - normals[free[0]])
        return normals[free[0]] - _MOUTH_NM * inward, inward
    points, fits = room.spots(24)
    return points[int(np.argmax(fits))], room.direction()


def _walk(room: Room, start: np.ndarray, heading: np.ndarray, *, length: int) -> list[Piece]:
    """Tube pieces from a start, each turning a little from the last; ends where none of eight tries fits."""
    pieces: list[Piece] = []
    point, radius = start, 35 + 35 * room.rng.random()
    for stride in range(length):
        ways = unit_vectors(heading + (0.35 if stride == 0 else 1.1) * room.directions(8))
        targets = point + ways * spread(room.rng, 100, 190, (8, 1)) + (320 * heading if stride == 0 else 0)
        wide = 34 + 42 * room.rng.random(8) + 70 * room.rng.random(8) ** 4
        paths = point + (targets - point)[:, None] * np.array([[0.33], [0.67], [1.0]])
        fits = (room.clearance(targets) > wide) & room.free(paths, np.maximum(radius, wide)[:, None, None], margin=12.0)
        if not fits.any():
            break
        best = int(np.argmax(fits))
        pieces.append(Piece("channel", np.stack([point, targets[best]]), (radius, float(wide[best])), 0.0))
        point, radius, heading = targets[best], float(wide[best]), ways[best]
    return pieces


def _mitochondria(room: Room) -> list[Piece]:
    return fill(room, "mitochondrion", 0.016 * room.volume_um3, (80, 125), 2.6)


def _alpha_granules(room: Room) -> list[Piece]:
    return fill(room, "alpha", 0.086 * room.volume_um3, (95, 195), 0.35)


def _dense_granules(room: Room) -> list[Piece]:
    """Round bodies with a very dark core that sits off centre."""
    pieces: list[Piece] = []
    for body in fill(room, "dense body", 0.0075 * room.volume_um3, (95, 140), 0.15):
        radius = body.radii[0]
        core = radius * float(spread(room.rng, 0.48, 0.62)[0])
        middle = body.points.mean(0) + room.direction() * 0.55 * (radius * 0.8 - core)
        pieces += [body, Piece("dense core", np.stack([middle, middle]), (core, core), body.shade)]
    return pieces


def _clumps(room: Room) -> list[Piece]:
    """Dark grains of glycogen and tubules in loose groups; they belong to the cytoplasm."""
    centres, fits = room.spots(round(24 * room.volume_um3))
    groups = np.repeat(centres[fits > 60], 7, axis=0)
    points = groups + room.directions(len(groups)) * 230 * room.rng.random((len(groups), 1))
    radius = spread(room.rng, 16, 46, len(points))
    ends = points + room.directions(len(points)) * (2.2 * radius * room.rng.random(len(points)))[:, None]
    fits = (room.clearance(points) > radius) & room.free(points[:, None], radius[:, None, None], margin=4.0)
    shades = spread(room.rng, -1, 1, len(points))
    return [
        Piece("clump", np.stack([points[i], ends[i]]), (float(radius[i]), float(radius[i])), float(shades[i]))
        for i in np.flatnonzero(fits)
    ]


_PACKING = Packing(spacing_nm=(2250.0, 1450.0, 2950.0), gap_nm=(0.0, 70.0), closed=-0.35, contents=_contents)


def _tissue(scene: Scene) -> np.ndarray:
    """Resin, cytoplasm, and the membranes of cells and channels."""
    shades = np.array([*(cell.shade for cell in scene.cells), 0.5], np.float32)
    grey: np.ndarray = shades[scene.owner]
    grey += scene.slow * np.float32(0.04)
    grey -= _RESIN
    grey *= step(-scene.inside, 14)
    grey += _RESIN
    grey -= np.float32(0.28) * band(scene.inside, 9, 16)
    return grey


def _grain(config: SyntheticConfig, scene: Scene) -> np.ndarray:
    """Texture of what is within cells, and a trace of it in the resin."""
    z, y, x = (max(s, v) for s, v in zip((60.0, 30.0, 30.0), config.voxel_size_nm, strict=True))
    grain = value_noise(config.noise_seed(3), scene.axes, (z, y, x))
    grain *= np.float32(0.13) * step(-scene.inside, 14) + np.float32(0.02)
    return grain


_PAINT = {
    "mitochondrion": Paint(cristae_fill, 0.10),
    "alpha": Paint(plain(0.29, 0.05, 0.05), 0.10),
    "dense body": Paint(plain(0.62, 0.04, 0.05), 0.34),
    "dense core": Paint(plain(0.04, 0.02, 0.02)),
    "clump": Paint(plain(0.22, 0.07, 0.08)),
}


def _blur(config: SyntheticConfig, grey: np.ndarray, box: Box) -> np.ndarray:
    """A binomial blur in the plane, of a strength that differs between sections; drops the margin of one voxel."""
    jitter = config.per_section(4, box)
    side = (np.float32(0.25 * config.blur) * (np.float32(0.8) + np.float32(0.2) * jitter))[:, None, None]
    middle = np.float32(1) - 2 * side
    rows = grey[:, 1:-1] * middle
    rows += (grey[:, :-2] + grey[:, 2:]) * side
    out: np.ndarray = rows[:, :, 1:-1] * middle
    out += (rows[:, :, :-2] + rows[:, :, 2:]) * side
    return out


def _expose(config: SyntheticConfig, grey: np.ndarray, box: Box) -> np.ndarray:
    """The detector: contrast and brightness that differ between sections, then 8 bits."""
    nowhere = np.zeros(1)
    z, _, _ = config.centres_nm(box)
    slow = value_noise(config.noise_seed(5), (z, nowhere, nowhere), (7 * config.voxel_size_nm[0], 1.0, 1.0))[:, 0, 0]
    drift = np.float32(config.drift)
    gain = np.float32(1) + drift * (np.float32(1.5) * slow + config.per_section(6, box))
    offset = drift * (slow + np.float32(0.7) * config.per_section(7, box))
    grey -= np.float32(0.5)
    grey *= gain[:, None, None]
    grey += (offset + np.float32(0.5))[:, None, None]
    return expose(grey)


def _noise(config: SyntheticConfig, box: Box) -> np.ndarray:
    """White noise, stronger by what the blur will take from it."""
    z, y, x = (np.arange(a, b) for a, b in zip(box.start, box.stop, strict=True))
    side = 0.2 * config.blur
    kept = (1 - 2 * side) ** 2 + 2 * side**2
    noise = uniform(config.noise_seed(8), (z, y, x))
    noise *= np.float32(config.noise * 3**0.5 / kept)
    return noise
