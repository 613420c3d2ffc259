"""A synthetic volume: platelets as a serial block-face microscope shows them, with exact labels.

It is made for demonstrations and tests, needs no download, and can be of any size: each box is computed when it is
read, and equals that part of the whole bit for bit. Looks and class shares follow the platelets of Guay et al. (2021),
Scientific Reports 11:2561, https://doi.org/10.1038/s41598-021-81590-0
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from cristae.config import Config
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.image import Image
from cristae.data.synthetic_drawing import Look, grey_of, labels_of
from cristae.data.volume import Volume

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

_TILE: Triple = (8, 192, 192)


class SyntheticConfig(Config):
    """A platelet-like volume; equal settings give equal voxels."""

    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = (24, 256, 256)
    """Voxels (z, y, x). Growing the shape adds tissue and leaves what was there unchanged."""
    voxel_size_nm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (40.0, 10.0, 10.0)
    """Edge lengths of a voxel (z, y, x). The tissue is laid out in nm: smaller voxels show the same cells in more
    detail."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Which piece of tissue."""
    noise: float = Field(default=0.07, ge=0, le=1)
    """Strength of the detector noise, as a fraction of the range from black to white."""
    drift: float = Field(default=0.04, ge=0, le=0.5)
    """How much brightness and contrast differ between sections, as a fraction of the range."""
    blur: float = Field(default=1.0, ge=0, le=1)
    """Blur of the electron beam, from 0 (none) to 1 (about one voxel); it differs a little between sections."""


def synthetic_volume(config: SyntheticConfig) -> Volume:
    """A volume whose image (uint8) and labels (uint8, ids of `PLATELET_CLASSES`) are computed when they are read.

    Args:
        config: Size, seed and strength of the defects.

    Returns:
        A volume named 'synthetic-SEED'. Reading is thread-safe and needs memory for the box alone.

    Example:
        >>> volume = synthetic_volume(SyntheticConfig(shape=(2, 64, 64)))
        >>> volume.image.read(Box((0, 0, 0), (1, 32, 64))).shape
        (1, 32, 64)
    """
    look = Look(config.seed, config.voxel_size_nm, config.noise, config.drift, config.blur)
    name = f"synthetic-{config.seed}"
    return Volume(
        name=name,
        image=_image(config, f"{name}-image", lambda tile: grey_of(look, tile)),
        labels=(_image(config, f"{name}-labels", lambda tile: labels_of(look, tile)),),
        voxel_size_nm=config.voxel_size_nm,
    )


def _image(config: SyntheticConfig, name: str, compute: Callable[[Box], np.ndarray]) -> Image:
    def reader(box: Box) -> np.ndarray:
        out = np.empty(box.shape, np.uint8)
        for tile in box.blocks(_TILE):
            out[tile.relative_to(box.start).slices] = compute(tile)
        return out

    z, y, x = (min(n, t) for n, t in zip(config.shape, _TILE, strict=True))
    return Image(
        path=Path(name),
        format="synthetic",
        shape=config.shape,
        dtype=np.dtype(np.uint8),
        reader=reader,
        chunks=(z, y, x),
        voxel_size_nm=config.voxel_size_nm,
    )
