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


def drawn_if(
    draw: Callable[[np.random.Generator], float | np.ndarray], probability: float, generators: Generators
) -> tuple[np.ndarray, np.ndarray]:
    """Which samples are changed, bool (B,), and what was drawn for each, float64 (B, ...), changed or not."""
    applies, values = [], []
    for generator in generators:
        applies.append(generator.random() < probability)
        values.append(draw(generator))
    return np.array(applies, bool), np.array(values, np.float64)


def drawn_values(
    draw: Callable[[np.random.Generator], float], probability: float, generators: Generators, like: Tensor
) -> Tensor:
    """Draw a value for each sample, 0 for those that stay as they are: (B, 1, ...), shaped to broadcast over `like`."""
    values = []
    for generator in generators:
        applies, value = generator.random() < probability, draw(generator)
        values.append(value if applies else 0.0)
    shape = (-1, *[1] * (like.ndim - 1))
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True).view(shape)


def where_chosen(mask: Tensor, changed: Tensor, tensor: Tensor) -> Tensor:
    """Samples of `changed` where `mask` (B,), those of `tensor` elsewhere."""
    return torch.where(mask.view(-1, *[1] * (tensor.ndim - 1)), changed, tensor)
