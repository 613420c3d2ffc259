"""HeLa cells in an isotropic FIB-SEM volume: mitochondria, cell membrane and endoplasmic reticulum.

Classes and their shares follow Meyer et al. (2021), https://github.com/Cyril-Meyer/NeNISt, stacks FS-1 and FS-2; the
voxels are cubes, as this kind of microscope can make them.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.synthetic.base import TissueConfig, expose
from cristae.data.synthetic.cells import Packing, Piece, Room, Tissue, fill
from cristae.data.synthetic.drawing import (
    Paint,
    Scene,
    band,
    outline,
    paint,
    plain,
    scene_of,
    stamp,
    step,
)
from cristae.data.synthetic.noise import uniform, value_noise
from cristae.data.synthetic.organelles import mitochondrion_fill
from cristae.data.synthetic.sheets import Reticulum, reticulum_distance

FIBSEM_CLASSES = Classes(
    names=("background", "mitochondrion", "cell membrane", "endoplasmic reticulum"),
    colors={"mitochondrion": "#01abfe", "cell membrane": "#ffe000", "endoplasmic reticulum": "#f500cb"},
)
"""The classes of Meyer et al. (2021), ids 0 to 3."""

_MITOCHONDRION, _MEMBRANE, _RETICULUM_ID = 1, 2, 3
_MEMBRANE_NM = 16.0
"""Thickness of the line that is labelled as cell membrane."""
_RESIN = np.float32(0.80)
_RETICULUM = Reticulum(half_nm=27.0, scale_nm=560.0, extent=0.45, radius_nm=32.0)
_PAINT = {
    "mitochondrion": Paint(mitochondrion_fill, 0.20, (-5.0, 12.0), 12.0),
    "vesicle": Paint(plain(0.68, 0.06, 0.04), 0.30, (-4.0, 11.0), 10.0),
    "lysosome": Paint(plain(0.26, 0.09, 0.14), 0.20, (-4.0, 11.0), 10.0),
}


class FibSemConfig(TissueConfig):
    """A FIB-SEM volume of HeLa cells; equal settings give equal voxels."""

    kind: ClassVar[str] = "fibsem"
    classes: ClassVar[Classes] = FIBSEM_CLASSES
    tile: ClassVar[Triple] = (32, 160, 160)

    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (64, 256, 256)
    """Voxels (z, y, x). Growing the shape adds tissue and leaves what was there unchanged."""
    voxel_size_nm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (8.0, 8.0, 8.0)
    """Edge lengths of a voxel (z, y, x). The tissue is laid out in nm: smaller voxels show the same cells in more
    detail."""
    noise: float = Field(default=0.05, ge=0, le=1)
    """Strength of the noise where the image is of middling grey, as a fraction of the range from black to white. It
    grows with the root of the signal, as that of counted electrons does."""
    stripes: float = Field(default=0.09, ge=0, le=0.5)
    """Strength of the curtains: stripes along y that the ion beam leaves, as a fraction of the range."""
    charging: float = Field(default=0.05, ge=0, le=0.5)
    """How much resin between cells, which charges, and what lies near it brighten, as a fraction of the range."""
    drift: float = Field(default=0.015, ge=0, le=0.5)
    """How much brightness differs between slices, as a fraction of the range."""

    @property
    def tissue(self) -> Tissue:
        """Where the cells are and what they hold."""
        return Tissue(self.seed, _PACKING)

    def labels_of(self, box: Box) -> np.ndarray:
        """(Z, Y, X) uint8 ids of `FIBSEM_CLASSES` of a box."""
        scene = scene_of(self, box)
        labels = np.zeros(box.shape, np.uint8)
        labels[(scene.depth > 0) & (scene.depth <= np.float32(_MEMBRANE_NM))] = _MEMBRANE
        labels[_reticulum(self, scene) < 0] = _RETICULUM_ID
        for piece in scene.pieces:
            if piece.kind == "mitochondrion":
                stamp(labels, scene, piece, _MITOCHONDRION)
        return labels

    def grey_of(self, box: Box) -> np.ndarray:
        """(Z, Y, X) uint8 grey values of a box. The blur looks one voxel further, where tissue is computed too."""
        margin = box.grow((1, 1, 1))
        scene = scene_of(self, margin)
        grey = _blur(_tissue(self, scene))
        grey += _stripes(self, box)
        grey += self._charge(scene)
        grey += (np.float32(self.drift) * self.per_section(6, box))[:, None, None]
        return expose(self._detect(grey, box))

    def _charge(self, scene: Scene) -> np.ndarray:
        cloud = step(scene.depth - np.float32(20), 400)
        cloud *= np.float32(0.6) + np.float32(0.8) * scene.slow
        cloud *= np.float32(self.charging)
        return cloud[1:-1, 1:-1, 1:-1]

    def _detect(self, grey: np.ndarray, box: Box) -> np.ndarray:
        """Noise whose variance grows with the signal; the sum of two even ones comes near a bell."""
        z, y, x = (np.arange(a, b) for a, b in zip(box.start, box.stop, strict=True))
        noise = uniform(self.noise_seed(8), (z, y, x))
        noise += uniform(self.noise_seed(13), (z, y, x))
        noise *= np.float32(self.noise * 1.5**0.5)
        noise *= np.sqrt(np.maximum(grey, np.float32(0.05)) * np.float32(2))
        grey += noise
        return grey


def _contents(room: Room) -> list[Piece]:
    volume = room.volume_um3
    mitochondria = fill(room, "mitochondrion", 0.075 * volume, (130, 250), 4.0)
    vesicles = fill(room, "vesicle", 0.006 * volume, (45, 150), 0.3)
    lysosomes = fill(room, "lysosome", 0.008 * volume, (90, 240), 0.3)
    return [*vesicles, *lysosomes, *mitochondria]


_PACKING = Packing(
    spacing_nm=(6500.0, 6000.0, 9000.0),
    gap_nm=(24.0, 160.0),
    closed=0.2,
    contents=_contents,
    size=1.15,
    undulation_nm=85.0,
    shade=(0.56, 0.62),
)


def _reticulum(config: FibSemConfig, scene: Scene) -> np.ndarray:
    """Distance to the reticulum, which keeps clear of everything else."""
    seeds = (config.noise_seed(9), config.noise_seed(10), config.noise_seed(11))
    reticulum = reticulum_distance(scene, seeds, _RETICULUM)
    for piece in scene.pieces:
        where, distance = outline(scene, piece)
        np.maximum(reticulum[where], np.float32(28) - distance, out=reticulum[where])
    return reticulum


def _tissue(config: FibSemConfig, scene: Scene) -> np.ndarray:
    """Grey values before the microscope: 0 black to 1 white."""
    shades = np.array([*(cell.shade for cell in scene.cells), 0.6], np.float32)
    grey = shades[scene.owner]
    grey += np.float32(0.05) * scene.slow
    z, y, x = (max(38.0, size) for size in config.voxel_size_nm)
    grey += np.float32(0.10) * value_noise(config.noise_seed(3), scene.axes, (z, y, x))
    z, y, x = (max(26.0, size) for size in config.voxel_size_nm)
    dots = value_noise(config.noise_seed(4), scene.axes, (z, y, x))
    grey -= np.float32(0.20) * ((dots - np.float32(0.40)) * np.float32(2.5)).clip(np.float32(0), np.float32(1))
    grey -= _RESIN
    grey *= step(-scene.depth, 10)
    grey += _RESIN
    grey -= np.float32(0.46) * band(scene.depth, 7, 13)
    reticulum = _reticulum(config, scene)
    grey += step(reticulum, 10) * (np.float32(0.60) - grey)
    grey -= np.float32(0.40) * band(reticulum, -5, 12)
    for piece in scene.pieces:
        paint(grey, scene, piece, _PAINT[piece.kind])
    return grey


def _blur(grey: np.ndarray) -> np.ndarray:
    """The beam: a binomial blur along all axes; drops the margin of one voxel."""
    for axis in range(3):
        below, middle, above = (np.take(grey, range(i, grey.shape[axis] - 2 + i), axis=axis) for i in range(3))
        below += above
        below *= np.float32(0.17)
        below += middle * np.float32(0.66)
        grey = below
    return grey


def _stripes(config: FibSemConfig, box: Box) -> np.ndarray:
    """Curtains: long along y, narrow along x, and gone after some slices; they come in groups."""
    axes = config.centres_nm(box)
    size_z, size_y, size_x = config.voxel_size_nm
    narrow = value_noise(config.noise_seed(5), axes, (9 * size_z, 4000.0 + size_y, max(14.0, 1.5 * size_x)))
    broad = value_noise(config.noise_seed(14), axes, (20 * size_z, 6000.0 + size_y, 420.0 + size_x))
    groups = value_noise(config.noise_seed(15), axes, (30 * size_z, 5000.0 + size_y, 900.0 + size_x))
    result: np.ndarray = narrow * (np.float32(0.35) + groups.clip(np.float32(0), None)) + np.float32(0.5) * broad
    return result * np.float32(config.stripes)
