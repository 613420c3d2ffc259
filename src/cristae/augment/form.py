"""The form of every augmentation: a config that is called with a batch and one generator for each of its samples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from cristae.augment.batch import Batch
from cristae.config import Config

Generators = Sequence[np.random.Generator]
Probability = Annotated[float, Field(ge=0, le=1)]


class AugmentationConfig(Config):
    """A random change of training patches; a subclass that moves voxels is a `GeometricAugmentation`.

    Each sample draws from its own generator, and as many numbers whatever comes out, so what happens to a patch
    depends neither on its neighbours in the batch nor on what the augmentations before it did.
    """

    def check(self, patch_size: Sequence[int]) -> None:
        """Whether patches of this size (*S) in voxels can be augmented.

        Raises:
            RecipeError: They cannot.
        """

    @abstractmethod
    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        """The changed batch; the given one stays as it is."""


class GeometricAugmentation(AugmentationConfig):
    """A random change that moves voxels: of image, target, valid and weight alike, margin included.

    Targets and weights that depend on the patch are computed afterwards, from what it leaves inside the margin.
    """

    def margin(self, size: Sequence[int]) -> tuple[int, ...]:
        """Voxels around patches of `size` (*S), on both sides of each axis, that may end up inside; 0 for flips and
        quarter turns."""
        return (0,) * len(size)


def required_margin(augmentations: Sequence[AugmentationConfig], size: Sequence[int]) -> tuple[int, ...]:
    """Voxels around an image of `size` (*S), on both sides of each axis, that augmentations in this order need."""
    total = (0,) * len(size)
    for augmentation in reversed(augmentations):
        if isinstance(augmentation, GeometricAugmentation):
            grown = [side + 2 * around for side, around in zip(size, total, strict=True)]
            total = tuple(a + b for a, b in zip(total, augmentation.margin(grown), strict=True))
    return total


def chosen(probability: float, generators: Generators, like: Tensor) -> Tensor:
    """Draw which samples are changed: bool (B,), on the device of `like`."""
    drawn = [bool(generator.random() < probability) for generator in generators]
    return torch.tensor(drawn).to(like.device, non_blocking=True)


def where_chosen(mask: Tensor, changed: Tensor, tensor: Tensor) -> Tensor:
    """Samples of `changed` where `mask` (B,), those of `tensor` elsewhere."""
    return torch.where(mask.view(-1, *[1] * (tensor.ndim - 1)), changed, tensor)
