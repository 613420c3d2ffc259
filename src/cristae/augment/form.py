"""The form of every augmentation: a config that is called with a batch and one generator for each of its samples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from cristae.augment.batch import Batch
from cristae.config import Config
from cristae.errors import RecipeError

Generators = Sequence[np.random.Generator]
Probability = Annotated[float, Field(ge=0, le=1)]


class AugmentationConfig(Config):
    """A random change of training patches; those that move voxels are `GeometricAugmentation`s.

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


class SectionAugmentation(AugmentationConfig):
    """A change of some slices of a patch, which needs several: planes of a volume, or channels of a 2D network."""

    def check(self, patch_size: Sequence[int]) -> None:
        """Raises: RecipeError: patches are 3D and have one slice only."""
        if len(patch_size) == 3:
            self.check_slices(patch_size[0], flat=False)

    def check_slices(self, count: int, *, flat: bool) -> None:
        """Whether patches of `count` slices can be augmented; `flat` where they are the channels of a 2D network.

        Raises:
            RecipeError: One slice has no neighbours.
        """
        if count < 2:
            name = type(self).model_fields["name"].default
            cure = "set model.slices to 3 or more, or take a 3D network" if flat else "make them 2 or more along z"
            raise RecipeError(f"augmentation '{name}' needs patches of several slices, got 1; {cure}")


def drawn_if(
    draw: Callable[[np.random.Generator], float | np.ndarray], probability: float, generators: Generators
) -> tuple[np.ndarray, np.ndarray]:
    """Which samples are changed, bool (B,), and what was drawn for each, float64 (B, ...), changed or not."""
    applies, values = [], []
    for generator in generators:
        applies.append(generator.random() < probability)
        values.append(draw(generator))
    return np.array(applies, bool), np.array(values, np.float64)


def where_chosen(mask: Tensor, changed: Tensor, tensor: Tensor) -> Tensor:
    """Samples of `changed` where `mask` (B,), those of `tensor` elsewhere."""
    return torch.where(mask.view(-1, *[1] * (tensor.ndim - 1)), changed, tensor)
