"""Augmentations: random changes of whole batches on the device that trains, one generator for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from cristae.augment.artefacts import Charging, Curtaining, Drift, KnifeMarks
from cristae.augment.batch import Batch
from cristae.augment.blur import Blur, Sharpen
from cristae.augment.form import AugmentationConfig, Generators, GeometricAugmentation, required_margin
from cristae.augment.geometry import Flip, Rotate90
from cristae.augment.intensity import Brightness, Contrast, Gamma, Noise, ShotNoise
from cristae.augment.local_contrast import LocalContrast
from cristae.augment.presets import PRESETS, PresetOrList, PresetOrPart
from cristae.augment.sections import (
    BlurredSections,
    ContrastJumps,
    DuplicatedSections,
    MissingSections,
    SectionAugmentation,
)

Augmentation = Annotated[
    Blur
    | BlurredSections
    | Brightness
    | Charging
    | Contrast
    | ContrastJumps
    | Curtaining
    | Drift
    | DuplicatedSections
    | Flip
    | Gamma
    | KnifeMarks
    | LocalContrast
    | MissingSections
    | Noise
    | Rotate90
    | Sharpen
    | ShotNoise,
    Field(discriminator="name"),
]
"""Any augmentation, discriminated by `name`."""

Augmentations = Annotated[tuple[Annotated[Augmentation, PresetOrPart()], ...], PresetOrList()]
"""Augmentations in order; names of presets are replaced by their parts when it is validated."""


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
    "PRESETS",
    "Augmentation",
    "AugmentationConfig",
    "Augmentations",
    "Batch",
    "Blur",
    "BlurredSections",
    "Brightness",
    "Charging",
    "Contrast",
    "ContrastJumps",
    "Curtaining",
    "Drift",
    "DuplicatedSections",
    "Flip",
    "Gamma",
    "Generators",
    "GeometricAugmentation",
    "KnifeMarks",
    "LocalContrast",
    "MissingSections",
    "Noise",
    "Rotate90",
    "SectionAugmentation",
    "Sharpen",
    "ShotNoise",
    "apply",
    "required_margin",
    "split_by_geometry",
]
