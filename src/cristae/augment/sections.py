"""Defects of single sections in a stack: missing, duplicated, out of focus, of other contrast.

They concern patches of several slices: the planes of a volume, or the neighbouring slices that a 2D network sees as
channels. Labels stay, so a network learns to bridge the defect from the slices around it.

References:
    Lee et al. (2017), https://arxiv.org/abs/1706.00120: missing and out-of-focus sections.
    Funke et al. (2019), https://doi.org/10.1109/TPAMI.2018.2835450: missing and low-contrast sections.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor

from cristae.augment.batch import Batch
from cristae.augment.blur import SigmaRange, gaussian_blur
from cristae.augment.draws import change_some, over_slices, patch_mean, plane_mean, slice_count
from cristae.augment.form import Generators, Probability, SectionAugmentation


class MissingSections(SectionAugmentation):
    """Take slices away, as sections that were lost or not imaged: all their voxels get one value."""

    name: Literal["missing_sections"] = "missing_sections"
    sections: PositiveInt = 1
    """At most this many slices of a patch, and never all; how many is drawn evenly from 1."""
    value: Literal["zero", "mean"] = "zero"
    """What they get: `zero`, near black in the normalised image, or the `mean` of the patch."""
    middle: bool = False
    """Whether the middle one of a 2D network's slices, whose labels are the target, can be missing as well."""
    probability: Probability = 0.1
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        eligible = eligible_slices(_slices_of(self, batch), batch.image, self.middle)
        return change_some(
            batch, generators, self.probability, lambda g: drawn_slices(g, eligible, self.sections), self._changed
        )

    def _changed(self, image: Tensor, marks: Tensor) -> Tensor:
        value = patch_mean(image) if self.value == "mean" else torch.zeros_like(image)
        return torch.where(over_slices(marks, image) > 0, value, image)


class DuplicatedSections(SectionAugmentation):
    """Show slices twice: a slice is replaced by the one before or after it, as stacks are often mended."""

    name: Literal["duplicated_sections"] = "duplicated_sections"
    sections: PositiveInt = 1
    """At most this many slices of a patch are replaced, and never all; how many is drawn evenly from 1."""
    middle: bool = False
    """Whether the middle one of a 2D network's slices, whose labels are the target, can be replaced as well."""
    probability: Probability = 0.1
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        eligible = eligible_slices(_slices_of(self, batch), batch.image, self.middle)

        def draw(generator: np.random.Generator) -> np.ndarray:
            side = 1.0 if generator.random() < 0.5 else -1.0
            return replacements(drawn_slices(generator, eligible, self.sections) * side)

        return change_some(batch, generators, self.probability, draw, _duplicated)


class BlurredSections(SectionAugmentation):
    """Blur slices in their plane, as sections that were imaged out of focus."""

    name: Literal["blurred_sections"] = "blurred_sections"
    sections: PositiveInt = 1
    """At most this many slices of a patch, and never all; how many is drawn evenly from 1."""
    sigma_vox: SigmaRange = (1.0, 3.0)
    """The standard deviation of the Gaussian is drawn evenly between these for each slice, in voxels."""
    probability: Probability = 0.1
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        count = _slices_of(self, batch)
        return change_some(batch, generators, self.probability, lambda g: self._drawn(g, count), self._changed)

    def _drawn(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Numbers of slices, and the sigma of each; the sigma is 0 where fewer are drawn."""
        most = min(self.sections, count - 1)
        slices, sigma = generator.permutation(count)[:most], generator.uniform(*self.sigma_vox, most)
        sigma[generator.integers(1, most + 1) :] = 0
        return np.concatenate([slices, sigma])

    def _changed(self, image: Tensor, numbers: Tensor) -> Tensor:
        slices, sigma = (over_slices(half, image) for half in numbers.chunk(2, dim=1))
        index = slices.long().expand(*image.shape[: image.ndim - 3], -1, *image.shape[-2:])
        blurred = gaussian_blur(image.gather(image.ndim - 3, index), sigma, self.sigma_vox[1])
        return image.scatter(image.ndim - 3, index, blurred)


class ContrastJumps(SectionAugmentation):
    """Change contrast and brightness of one slice, or of all from one on, as another staining or setting does."""

    name: Literal["contrast_jumps"] = "contrast_jumps"
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """The factor, about each slice's own mean, is drawn evenly from 1 - contrast to 1 + contrast."""
    brightness: NonNegativeFloat = 0.2
    """The value added is drawn evenly from -brightness to +brightness, in units of the normalised image."""
    extent: Literal["single", "rest", "either"] = "either"
    """`single`: one slice. `rest`: all slices from one on. `either`: one or the other, equally often."""
    probability: Probability = 0.1
    """How often a patch is changed."""

    @model_validator(mode="after")
    def _check(self) -> ContrastJumps:
        if not self.contrast and not self.brightness:
            raise ValueError("contrast and brightness are both 0, so nothing would change")
        return self

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        count = _slices_of(self, batch)
        return change_some(batch, generators, self.probability, lambda g: self._drawn(g, count), self._changed)

    def _drawn(self, generator: np.random.Generator, count: int) -> np.ndarray:
        rest = generator.random() < {"single": 0.0, "either": 0.5, "rest": 1.0}[self.extent]
        single, first = generator.integers(count), generator.integers(1, count)
        marks = np.arange(count) >= first if rest else np.arange(count) == single
        factor = generator.uniform(-self.contrast, self.contrast)
        shift = generator.uniform(-self.brightness, self.brightness)
        return np.concatenate([marks * factor, marks * shift])

    def _changed(self, image: Tensor, numbers: Tensor) -> Tensor:
        excess, shift = (over_slices(half, image) for half in numbers.chunk(2, dim=1))
        return image + excess * (image - plane_mean(image)) + shift


def eligible_slices(count: int, image: Tensor, middle: bool) -> np.ndarray:
    """Which of `count` slices may be lost: all but the middle one of a 2D network's, unless that may be as well."""
    eligible = np.ones(count, bool)
    if image.ndim == 4 and not middle:
        eligible[count // 2] = False
    return eligible


def drawn_slices(generator: np.random.Generator, eligible: np.ndarray, most: int) -> np.ndarray:
    """Draw from 1 to `most` of the eligible slices, leaving at least one of all: (n,) with 1 where a slice is drawn."""
    choices = generator.permutation(np.flatnonzero(eligible))
    most = min(most, len(choices), len(eligible) - 1)
    marks = np.zeros(len(eligible))
    marks[choices[: generator.integers(1, most + 1)]] = 1
    return marks


def replacements(sides: np.ndarray) -> np.ndarray:
    """For each slice (n,) the one that takes its place: itself where `sides` is 0, the nearest such one before (-1) or
    after (1) it elsewhere, and where there is none the nearest on the other side."""
    kept = np.flatnonzero(sides == 0)
    source = np.arange(len(sides))
    for z in np.flatnonzero(sides):
        wanted = kept[kept < z][-1:] if sides[z] < 0 else kept[kept > z][:1]
        source[z] = wanted[0] if len(wanted) else kept[np.argmin(abs(kept - z))]
    return source


def _duplicated(image: Tensor, source: Tensor) -> Tensor:
    return image.gather(image.ndim - 3, over_slices(source.long(), image).expand(image.shape))


def _slices_of(part: SectionAugmentation, batch: Batch) -> int:
    count = slice_count(batch.image)
    part.check_slices(count, flat=batch.image.ndim == 4)
    return count
