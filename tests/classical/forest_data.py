"""Small labelled volumes in memory that a forest can learn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cristae.classical.config import FeaturesConfig, RandomForestConfig
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.preprocess.normalize import Normalizer

DISC = Classes(names=("background", "disc"))
SIZE = (20.0, 5.0, 5.0)
FEW = FeaturesConfig(gaussian=(1.0, 3.0), gradient=(1.0,), structure=(), hessian=(1.0,))
IDENTITY = Normalizer(0.0, 1.0, clip=(-5.0, 5.0))


def quick(**options: object) -> RandomForestConfig:
    """A small forest."""
    return RandomForestConfig.model_validate(
        {"features": FEW, "trees": 10, "max_depth": 8, "max_samples_per_class": 400} | options
    )


def discs(shape: tuple[int, int, int], *, seed: int = 0, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Grey values float32 and ids: bright discs, 1, on a noisy ground."""
    rng = np.random.default_rng(seed)
    z, y, x = shape
    ids = np.zeros(shape, np.uint8)
    rows, columns = np.mgrid[:y, :x]
    for slab in range(z):
        for _ in range(y * x // 500):
            cy, cx, r = rng.integers(0, y), rng.integers(0, x), rng.integers(4, 8)
            ids[slab][(rows - cy) ** 2 + (columns - cx) ** 2 < r * r] = 1
    return (ids + rng.normal(0, noise, shape)).astype(np.float32), ids


def volume_of(
    grey: np.ndarray,
    *labels: np.ndarray,
    valid: np.ndarray | None = None,
    slices: tuple[int, ...] | None = None,
    size: tuple[float, float, float] | None = SIZE,
    name: str = "stack",
) -> Volume:
    return Volume(
        name,
        image_of_array(grey, voxel_size_nm=size, name=name),
        tuple(image_of_array(label) for label in labels),
        None if valid is None else image_of_array(valid),
        voxel_size_nm=size,
        labelled_slices=slices,
    )


def part_of(volume: Volume, box: str = ":,:,:") -> Part:
    return Part(volume, Box.parse(box, volume.image.shape))


def normalizers_of(*volumes: Volume) -> Mapping[str, Normalizer]:
    return {volume.name: IDENTITY for volume in volumes}
