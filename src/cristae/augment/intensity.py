"""Changes of grey values, on normalised images whose values lie mostly between 0 and 1. Nothing is clipped."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveFloat

from cristae.augment.batch import Batch
from cristae.augment.form import AugmentationConfig, Generators, Probability, drawn_values


class Brightness(AugmentationConfig):
    """Add the same value to all voxels of a patch, its neighbouring slices included."""

    name: Literal["brightness"] = "brightness"
    amount: PositiveFloat = 0.1
    """The value is drawn evenly from -amount to +amount, in units of the normalised image."""
    probability: Probability = 0.5
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        shift = drawn_values(lambda g: g.uniform(-self.amount, self.amount), self.probability, generators, batch.image)
        return replace(batch, image=batch.image + shift)


class Contrast(AugmentationConfig):
    """Stretch the grey values of a patch, with its neighbouring slices, about their mean."""

    name: Literal["contrast"] = "contrast"
    amount: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The factor is drawn evenly from 1 - amount to 1 + amount."""
    probability: Probability = 0.5
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        image = batch.image
        excess = drawn_values(lambda g: g.uniform(-self.amount, self.amount), self.probability, generators, image)
        mean = image.mean(dim=tuple(range(1, image.ndim)), keepdim=True)
        return replace(batch, image=image + excess * (image - mean))


class Gamma(AugmentationConfig):
    """Raise grey values to a power, which darkens or lightens mid-tones; values below 0 keep their sign."""

    name: Literal["gamma"] = "gamma"
    amount: PositiveFloat = 0.2
    """The exponent is e^u, with u drawn evenly from -amount to +amount."""
    probability: Probability = 0.5
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        image = batch.image
        logarithm = drawn_values(lambda g: g.uniform(-self.amount, self.amount), self.probability, generators, image)
        return replace(batch, image=image.sign() * image.abs() ** logarithm.exp())


class Noise(AugmentationConfig):
    """Add independent Gaussian noise to every voxel."""

    name: Literal["noise"] = "noise"
    amount: PositiveFloat = 0.05
    """The standard deviation is drawn evenly from 0 to amount, in units of the normalised image."""
    probability: Probability = 0.5
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        image = batch.image
        deviation = drawn_values(lambda g: g.uniform(0, self.amount), self.probability, generators, image)
        device = torch.Generator(image.device)
        noise = torch.empty_like(image)
        for sample, generator in zip(noise, generators, strict=True):
            sample.normal_(generator=device.manual_seed(int(generator.integers(2**63))))
        return replace(batch, image=image + deviation * noise)
