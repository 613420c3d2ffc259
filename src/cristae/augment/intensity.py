"""Changes of grey values, on normalised images whose values lie mostly between 0 and 1. Nothing is clipped.

An amount of 0.1 is a tenth of the range that the normalisation maps to 0 and 1, nearly the whole range of the grey
values of the training data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor

from cristae.augment.batch import Batch
from cristae.augment.draws import change_some, over_slices, patch_mean, plane_mean, slice_count
from cristae.augment.form import AugmentationConfig, Generators, Probability


class Brightness(AugmentationConfig):
    """Add the same value to all voxels of a patch, its neighbouring slices included."""

    name: Literal["brightness"] = "brightness"
    amount: PositiveFloat = 0.1
    """The value is drawn evenly from -amount to +amount, in units of the normalised image."""
    per_slice: bool = False
    """Draw anew for each slice of a patch, as serial sections differ, instead of once for all."""
    probability: Probability = 0.5
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        return _change_evenly(self, batch, generators, lambda image, shift: image + shift)


class Contrast(AugmentationConfig):
    """Stretch the grey values of a patch, with its neighbouring slices, about their mean or about zero."""

    name: Literal["contrast"] = "contrast"
    amount: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The factor is drawn evenly from 1 - amount to 1 + amount."""
    about: Literal["mean", "zero"] = "mean"
    """What stays as it is: the `mean` of the patch (of each slice with `per_slice`), or `zero`, near black in the
    normalised image, so that values are multiplied."""
    per_slice: bool = False
    """Draw anew for each slice of a patch, as serial sections differ, instead of once for all."""
    probability: Probability = 0.5
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        return _change_evenly(self, batch, generators, self._stretched)

    def _stretched(self, image: Tensor, excess: Tensor) -> Tensor:
        if self.about == "zero":
            return image + excess * image
        return image + excess * (image - (plane_mean(image) if self.per_slice else patch_mean(image)))


class Gamma(AugmentationConfig):
    """Raise grey values to a power, which darkens or lightens mid-tones; values below 0 keep their sign."""

    name: Literal["gamma"] = "gamma"
    amount: PositiveFloat = 0.2
    """The exponent is e^u, with u drawn evenly from -amount to +amount."""
    per_slice: bool = False
    """Draw anew for each slice of a patch, as serial sections differ, instead of once for all."""
    probability: Probability = 0.5
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        return _change_evenly(self, batch, generators, _bent)


class Noise(AugmentationConfig):
    """Add independent Gaussian noise to every voxel."""

    name: Literal["noise"] = "noise"
    amount: PositiveFloat = 0.05
    """The standard deviation is drawn evenly from 0 to amount, in units of the normalised image."""
    probability: Probability = 0.5
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        return _add_noise(self, batch, generators)


class ShotNoise(AugmentationConfig):
    """Add independent noise whose variance grows with the grey value, as that of counted electrons does."""

    name: Literal["shot_noise"] = "shot_noise"
    amount: PositiveFloat = 0.1
    """The standard deviation at grey value 1 is drawn evenly from 0 to amount, in units of the normalised image; at
    0.25 it is half as large, and at 0 and below there is none."""
    probability: Probability = 0.3
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        return _add_noise(self, batch, generators)


def _change_evenly(
    part: Brightness | Contrast | Gamma,
    batch: Batch,
    generators: Generators,
    change: Callable[[Tensor, Tensor], Tensor],
) -> Batch:
    """Change images by a number from -amount to +amount, one for each patch or for each slice."""
    count = slice_count(batch.image) if part.per_slice else 1
    return change_some(
        batch,
        generators,
        part.probability,
        lambda g: g.uniform(-part.amount, part.amount, count),
        lambda image, numbers: change(image, over_slices(numbers, image)),
    )


def _bent(image: Tensor, u: Tensor) -> Tensor:
    """A power by logarithm and exponential, whose last bits, unlike those of `pow`, do not depend on how voxels are
    shared out among threads."""
    return image.sign() * (u.exp() * image.abs().log()).exp()


def _add_noise(part: Noise | ShotNoise, batch: Batch, generators: Generators) -> Batch:
    """Add normal numbers, made on the device from a seed for each sample, times the deviation that is drawn."""
    image, source, index, noise = batch.image, torch.Generator(batch.image.device), [], []
    for i, generator in enumerate(generators):
        applies, deviation = generator.random() < part.probability, generator.uniform(0, part.amount)
        seed = int(generator.integers(2**63))
        if applies:
            index.append(i)
            noise.append(torch.empty_like(image[i]).normal_(generator=source.manual_seed(seed)).mul_(deviation))
    if not index:
        return batch
    where = torch.tensor(index).to(image.device, non_blocking=True)
    some, added = image.index_select(0, where), torch.stack(noise)
    changed = some + (added * some.clamp(min=0).sqrt() if isinstance(part, ShotNoise) else added)
    return replace(batch, image=image.index_copy(0, where, changed))
