"""Augmentations: random changes of whole batches on the device that trains, one generator for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from cristae.augment.batch import Batch
from cristae.augment.form import AugmentationConfig, Generators, GeometricAugmentation, required_margin
from cristae.augment.geometry import Flip, Rotate90
from cristae.augment.intensity import Brightness, Contrast, Gamma, Noise

Augmentation = Annotated[Brightness | Contrast | Flip | Gamma | Noise | Rotate90, Field(discriminator="name")]
"""Any augmentation, discriminated by `name`."""


def apply(augmentations: Sequence[AugmentationConfig], batch: Batch, generators: Generators) -> Batch:
    """Apply augmentations one after the other.

    Args:
        augmentations: In this order.
        batch: On any device; it is not changed.
        generators: One for each sample, consumed.
    """
    if len(generators) != len(batch):
        raise ValueError(f"{len(batch)} samples need as many generators, got {len(generators)}")
    for augmentation in augmentations:
        batch = augmentation(batch, generators)
    return batch


def split_by_geometry(
    augmentations: Sequence[AugmentationConfig],
) -> tuple[Sequence[AugmentationConfig], Sequence[AugmentationConfig]]:
    """The augmentations up to the last one that moves voxels, and those after it.

    Between the two a batch loses its margin and gets its targets.
    """
    after = max((i + 1 for i, one in enumerate(augmentations) if isinstance(one, GeometricAugmentation)), default=0)
    return augmentations[:after], augmentations[after:]


__all__ = [
    "Augmentation",
    "AugmentationConfig",
    "Batch",
    "Brightness",
    "Contrast",
    "Flip",
    "Gamma",
    "Generators",
    "GeometricAugmentation",
    "Noise",
    "Rotate90",
    "apply",
    "required_margin",
    "split_by_geometry",
]
