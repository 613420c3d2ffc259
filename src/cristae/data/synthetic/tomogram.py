"""An electron tomogram of T cells at an immunological synapse, with the five structures that SegET segments.

Two cells press against each other along a cleft, the synapse. Near it lie the centrioles, microtubules that spread from
them, lytic granules and the Golgi, among mitochondria, vesicles and endoplasmic reticulum. Structures and their sizes
follow Zhang et al. (2018), https://arxiv.org/abs/1811.11729, and what is generally known of such cells.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.synthetic.base import TissueConfig, expose
from cristae.data.synthetic.cells import Packing, Tissue
from cristae.data.synthetic.drawing import (
    FAR,
    Paint,
    Scene,
    Shape,
    band,
    chain,
    outline,
    paint,
    plain,
    scene_of,
    stamp,
    step,
)
from cristae.data.synthetic.noise import uniform, value_noise
from cristae.data.synthetic.organelles import (
    barrel,
    barrel_fill,
    cisternae,
    cisternae_fill,
    granule_fill,
    mitochondrion_fill,
    tube_grey,
)
from cristae.data.synthetic.sheets import Reticulum, reticulum_distance
from cristae.data.synthetic.synapse import fill_cell
from cristae.data.synthetic.wedge import REACH_VOX, point_spread, smear

TOMOGRAM_CLASSES = Classes(
    names=("background", "synapse", "microtubules", "centriole", "granules", "golgi"),
    colors={
        "synapse": "#ffffff",
        "microtubules": "#ff0000",
        "centriole": "#ffff00",
        "granules": "#0000ff",
        "golgi": "#00ff00",
    },
)
"""The five structures of Zhang et al. (2018) with the colours of their figures."""

CLEFT_NM = 40.0
"""Two membranes that are no further apart are a synapse."""
_IDS = {"microtubule": 2, "centriole": 3, "granule": 4, "golgi": 5}
_SHAPES: dict[str, Shape] = {"centriole": barrel, "golgi": cisternae}
_PAINT = {
    "mitochondrion": Paint(mitochondrion_fill, 0.28, (-3.5, 7.0), 8.0),
    "granule": Paint(granule_fill, edge_nm=6.0),
    "vesicle": Paint(plain(0.60, 0.05, 0.03), 0.34, (-3.5, 7.0), 6.0),
    "golgi": Paint(cisternae_fill, edge_nm=6.0),
    "centriole": Paint(barrel_fill, edge_nm=12.0),
}
_RETICULUM = Reticulum(half_nm=17.0, scale_nm=330.0, extent=0.30, radius_nm=19.0)
_OUTSIDE = np.float32(0.72)


class TomogramConfig(TissueConfig):
    """A tomogram of T cells; equal settings give equal voxels."""

    kind: ClassVar[str] = "tomogram"
    classes: ClassVar[Classes] = TOMOGRAM_CLASSES
    tile: ClassVar[Triple] = (64, 192, 192)

    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (32, 256, 256)
    """Voxels (z, y, x). Growing the shape adds tissue and leaves what was there unchanged."""
    voxel_size_nm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (4.5, 4.5, 4.5)
    """Edge lengths of a voxel (z, y, x). The tissue is laid out in nm: smaller voxels show the same cells in more
    detail."""
    noise: float = Field(default=0.10, ge=0, le=1)
    """Strength of the noise, as a fraction of the range from black to white."""
    tilt_deg: float = Field(default=60.0, ge=20, le=90)
    """The specimen was tilted about y from minus to plus this angle; what lies beyond is the missing wedge."""
    tilt_step_deg: float = Field(default=2.0, ge=0.5, le=10)
    """Angle from one tilt to the next."""
    microtubule_share: float = Field(default=0.002, ge=0.0005, le=0.003)
    """Fraction of the voxels that are microtubules, the rarest structure: 1 in 500."""

    @property
    def tissue(self) -> Tissue:
        """Where the cells are and what they hold."""
        return Tissue(self.seed, _packing(self.microtubule_share))

    def labels_of(self, box: Box) -> np.ndarray:
        """(Z, Y, X) uint8 ids of `TOMOGRAM_CLASSES` of a box."""
        scene = scene_of(self, box)
        labels = _cleft(scene).astype(np.uint8)
        labels[_tubes(scene) < 0] = _IDS["microtubule"]
        for piece in scene.pieces:
            if piece.kind in _IDS and piece.kind != "microtubule":
                stamp(labels, scene, piece, _IDS[piece.kind], _SHAPES.get(piece.kind, chain))
        return labels

    def grey_of(self, box: Box) -> np.ndarray:
        """(Z, Y, X) uint8 grey values of a box; tissue is computed as far around it as the wedge smears."""
        margin = box.grow((REACH_VOX, 0, REACH_VOX))
        grey = _tissue(self, scene_of(self, margin))
        spread = point_spread(self.tilt_deg, self.tilt_step_deg, self.voxel_size_nm[0] / self.voxel_size_nm[2])
        z, y, x = (np.arange(a, b) for a, b in zip(margin.start, margin.stop, strict=True))
        noise = uniform(self.noise_seed(8), (z, y, x))
        noise *= np.float32(self.noise * 3**0.5 / float(np.sqrt((spread.astype(np.float64) ** 2).sum())))
        grey += noise
        return expose(smear(grey, spread))


def _packing(microtubule_share: float) -> Packing:
    return Packing(
        spacing_nm=(1600.0, 1500.0, 2600.0),
        gap_nm=(19.0, 90.0),
        closed=0.35,
        contents=fill_cell,
        rarest_share=microtubule_share,
        size=1.18,
        undulation_nm=70.0,
        shade=(0.52, 0.58),
    )


def _cleft(scene: Scene) -> np.ndarray:
    """Where two cells are so close that the space between them is a synapse."""
    result: np.ndarray = (scene.depth <= 0) & (scene.alone > 0) & (scene.half_gap < np.float32(CLEFT_NM / 2))
    return result


def _tubes(scene: Scene) -> np.ndarray:
    """Distance to the nearest microtubule: pieces of one join without a seam."""
    distance = np.full(scene.depth.shape, FAR, np.float32)
    for piece in scene.pieces:
        if piece.kind == "microtubule":
            where, one = outline(scene, piece)
            np.minimum(distance[where], one, out=distance[where])
    return distance


def _tissue(config: TomogramConfig, scene: Scene) -> np.ndarray:
    """Grey values before the microscope: 0 black to 1 white."""
    grey = _cytoplasm(config, scene)
    tubes = _tubes(scene)
    seeds = (config.noise_seed(9), config.noise_seed(10), config.noise_seed(11))
    reticulum = reticulum_distance(scene, seeds, _RETICULUM)
    for piece in scene.pieces:
        if piece.kind != "microtubule":
            where, distance = outline(scene, piece, _SHAPES.get(piece.kind, chain))
            np.maximum(reticulum[where], np.float32(22) - distance, out=reticulum[where])
    np.maximum(reticulum, np.float32(20) - tubes, out=reticulum)
    cover = step(reticulum, 6)
    grey += cover * (np.float32(0.60) - grey)
    grey -= np.float32(0.40) * band(reticulum, -3.5, 7)
    tube_grey(grey, tubes)
    for piece in scene.pieces:
        if piece.kind != "microtubule":
            paint(grey, scene, piece, _PAINT[piece.kind], _SHAPES.get(piece.kind, chain))
    return grey


def _cytoplasm(config: TomogramConfig, scene: Scene) -> np.ndarray:
    """Medium, cytoplasm with ribosomes, and the membranes of the cells."""
    shades = np.array([*(cell.shade for cell in scene.cells), 0.55], np.float32)
    grey = shades[scene.owner]
    grey += np.float32(0.03) * scene.slow
    fine = value_noise(config.noise_seed(3), scene.axes, (30.0, 30.0, 30.0))
    grey += np.float32(0.10) * fine
    dots = value_noise(config.noise_seed(4), scene.axes, (21.0, 21.0, 21.0))
    grey -= np.float32(0.42) * ((dots - np.float32(0.42)) * np.float32(3.0)).clip(np.float32(0), np.float32(1))
    medium = _OUTSIDE + np.float32(0.05) * fine
    medium -= np.float32(0.16) * _cleft(scene)
    grey -= medium
    grey *= step(-scene.depth, 5)
    grey += medium
    return grey - np.float32(0.50) * band(scene.depth, 3.5, 7)
