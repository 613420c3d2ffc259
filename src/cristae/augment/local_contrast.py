"""Contrast and brightness that vary smoothly over a patch, as uneven staining, thickness and illumination do."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, model_validator
from torch import Tensor

from cristae.augment.batch import Batch
from cristae.augment.draws import change_some, over_planes, patch_mean
from cristae.augment.form import AugmentationConfig, Generators, Probability
from cristae.augment.smooth_field import drawn_nodes, smooth_field


class LocalContrast(AugmentationConfig):
    """Let contrast and brightness vary smoothly over the plane of a patch, alike in all its slices."""

    name: Literal["local_contrast"] = "local_contrast"
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Nowhere is the factor, about the patch's mean, below 1 - contrast or above 1 + contrast."""
    brightness: NonNegativeFloat = 0.2
    """Nowhere is more than this added or taken away, in units of the normalised image."""
    scale_vox: Annotated[float, Field(ge=4)] = 96
    """Distance of the nodes of the field, in voxels: bright and dark areas are about as large."""
    probability: Probability = 0.2
    """How often a patch is changed."""

    @model_validator(mode="after")
    def _check(self) -> LocalContrast:
        if not self.contrast and not self.brightness:
            raise ValueError("contrast and brightness are both 0, so nothing would change")
        return self

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        size = batch.image.shape[-2:]
        return change_some(batch, generators, self.probability, lambda g: self._drawn(g, size), self._changed)

    def _drawn(self, generator: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        scale = (self.scale_vox, self.scale_vox)
        return np.concatenate([drawn_nodes(generator, size, scale) for _ in range(2)])

    def _changed(self, image: Tensor, nodes: Tensor) -> Tensor:
        size, scale = image.shape[-2:], (self.scale_vox, self.scale_vox)
        gain, offset = (over_planes(smooth_field(half, size, scale), image) for half in nodes.chunk(2, dim=1))
        return image + self.contrast * gain * (image - patch_mean(image)) + self.brightness * offset
