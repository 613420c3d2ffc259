"""Augmentations: random changes of whole batches on the device that trains, one generator for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from cristae.augment.affine import Rotate, Shear, Shift, Zoom
from cristae.augment.artefacts import Charging, Curtaining, Drift, KnifeMarks
from cristae.augment.batch import Batch
from cristae.augment.blur import Blur, Sharpen
from cristae.augment.elastic import Elastic
from cristae.augment.form import AugmentationConfig, Generators, SectionAugmentation
from cristae.augment.geometric import GeometricAugmentation, move, required_margin
from cristae.augment.geometry import Flip, Rotate90
from cristae.augment.intensity import Brightness, Contrast, Gamma, Noise, ShotNoise
from cristae.augment.local_contrast import LocalContrast
from cristae.augment.presets import PRESETS, PresetOrList, PresetOrPart
from cristae.augment.resample import Interpolation
from cristae.augment.sections import BlurredSections, ContrastJumps, DuplicatedSections, MissingSections
from cristae.augment.sections_shifted import ShiftedSections

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
    | Elastic
    | Flip
    | Gamma
    | KnifeMarks
    | LocalContrast
    | MissingSections
    | Noise
    | Rotate
    | Rotate90
    | Sharpen
    | Shear
    | Shift
    | ShiftedSections
    | ShotNoise
    | Zoom,
    Field(discriminator="name"),
]
"""Any augmentation, discriminated by `name`."""

Augmentations = Annotated[tuple[Annotated[Augmentation, PresetOrPart()], ...], PresetOrList()]
"""Augmentations in order; names of presets are replaced by their parts when it is validated."""


def apply(
    augmentations: Sequence[AugmentationConfig],
    batch: Batch,
    generators: Generators,
    interpolation: Interpolation = "linear",
) -> Batch:
    """Apply augmentations: first all that move voxels, as one, then those of grey values one after the other.

    Args:
        augmentations: In the order of the recipe.
        batch: On any device; it is not changed.
        generators: One for each sample, consumed.
        interpolation: Of the image where voxels move.
    """
    if len(generators) != len(batch):
        raise ValueError(f"{len(batch)} samples need as many generators, got {len(generators)}")
    geometry, grey_values = split_by_geometry(augmentations)
    if geometry:
        batch = move(geometry, batch, generators, interpolation)
    for augmentation in grey_values:
        batch = augmentation(batch, generators)
    return batch


def split_by_geometry(
    augmentations: Sequence[AugmentationConfig],
) -> tuple[list[GeometricAugmentation], list[AugmentationConfig]]:
    """The augmentations that move voxels and those that change grey values, each in their order.

    Between the two a batch loses its margin and gets its targets.
    """
    geometry = [one for one in augmentations if isinstance(one, GeometricAugmentation)]
    return geometry, [one for one in augmentations if not isinstance(one, GeometricAugmentation)]


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
    "Elastic",
    "Flip",
    "Gamma",
    "Generators",
    "GeometricAugmentation",
    "Interpolation",
    "KnifeMarks",
    "LocalContrast",
    "MissingSections",
    "Noise",
    "Rotate",
    "Rotate90",
    "SectionAugmentation",
    "Sharpen",
    "Shear",
    "Shift",
    "ShiftedSections",
    "ShotNoise",
    "Zoom",
    "apply",
    "move",
    "required_margin",
    "split_by_geometry",
]
