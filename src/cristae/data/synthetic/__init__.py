"""Synthetic volumes with exact labels: platelets, an electron tomogram of T cells, and HeLa cells in FIB-SEM.

They are made for demonstrations and tests, need no download, and can be of any size: each box is computed when it is
read, and equals that part of the whole bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cristae.data.box import Box
from cristae.data.image import Image
from cristae.data.synthetic.base import TissueConfig
from cristae.data.synthetic.fibsem import FIBSEM_CLASSES, FibSemConfig
from cristae.data.synthetic.platelets import PLATELET_CLASSES, SyntheticConfig
from cristae.data.synthetic.tomogram import TOMOGRAM_CLASSES, TomogramConfig
from cristae.data.volume import Volume
from cristae.readahead import read_ahead

__all__ = [
    "FIBSEM_CLASSES",
    "PLATELET_CLASSES",
    "TOMOGRAM_CLASSES",
    "FibSemConfig",
    "SyntheticConfig",
    "TissueConfig",
    "TomogramConfig",
    "synthetic_volume",
]

_THREADS = max(1, min(8, os.cpu_count() or 1))


def synthetic_volume(config: TissueConfig) -> Volume:
    """A volume whose image (uint8) and labels (uint8, ids of `config.classes`) are computed when they are read.

    Args:
        config: Kind of tissue, size, seed and strength of the defects.

    Returns:
        A volume named 'synthetic-SEED', or 'synthetic-KIND-SEED' of tissue other than platelets. Reading is
        thread-safe; beside the box it needs memory for a few tiles alone.

    Example:
        >>> volume = synthetic_volume(SyntheticConfig(shape=(2, 64, 64)))
        >>> volume.image.read(Box((0, 0, 0), (1, 32, 64))).shape
        (1, 32, 64)
    """
    name = f"synthetic-{config.seed}" if config.kind == "platelet" else f"synthetic-{config.kind}-{config.seed}"
    return Volume(
        name=name,
        image=_image(config, f"{name}-image", config.grey_of),
        labels=(_image(config, f"{name}-labels", config.labels_of),),
        voxel_size_nm=config.voxel_size_nm,
    )


def _image(config: TissueConfig, name: str, compute: Callable[[Box], np.ndarray]) -> Image:
    def reader(box: Box) -> np.ndarray:
        out = np.empty(box.shape, np.uint8)
        tiles = list(box.blocks(config.tile))
        threads = min(_THREADS, len(tiles))
        for tile, voxels in zip(tiles, read_ahead(compute, tiles, threads=threads, ahead=threads), strict=True):
            out[tile.relative_to(box.start).slices] = voxels
        return out

    z, y, x = (min(n, t) for n, t in zip(config.shape, config.tile, strict=True))
    return Image(
        path=Path(name),
        format="synthetic",
        shape=config.shape,
        dtype=np.dtype(np.uint8),
        reader=reader,
        chunks=(z, y, x),
        voxel_size_nm=config.voxel_size_nm,
    )
