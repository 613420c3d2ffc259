"""Artefacts in the plane of the slices: knife marks, charging, curtains of ion milling, drift of grey levels.

All slices of a patch change alike: a nick in the knife, a curtain and a charging object stay for many sections.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt, field_validator
from torch import Tensor

from cristae.augment.batch import Batch
from cristae.augment.draws import PositiveRange, change_some, over_planes
from cristae.augment.form import AugmentationConfig, Generators, Probability
from cristae.augment.smooth_field import drawn_nodes, grid_of_nodes, smooth_field
from cristae.errors import RecipeError

Axis = Literal["y", "x"]


class KnifeMarks(AugmentationConfig):
    """Draw thin parallel lines, bright or dark, across the slices, as a nick in the knife scratches them."""

    name: Literal["knife_marks"] = "knife_marks"
    marks: PositiveInt = 3
    """At most this many lines in a patch; how many is drawn evenly from 1."""
    amount: PositiveFloat = 0.4
    """No line is brighter or darker than its surroundings by more than this, in units of the normalised image."""
    width_vox: PositiveRange = (0.6, 1.8)
    """The standard deviation of a line's profile is drawn evenly between these, in voxels."""
    probability: Probability = 0.1
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        return change_some(batch, generators, self.probability, self._drawn, self._changed)

    def _drawn(self, generator: np.random.Generator) -> np.ndarray:
        angle = generator.uniform(0, math.pi)
        places = generator.uniform(-0.45, 0.45, self.marks)
        widths = generator.uniform(*self.width_vox, self.marks)
        heights = generator.uniform(0.3, 1, self.marks) * generator.choice([-1, 1], self.marks) * self.amount
        heights[generator.integers(1, self.marks + 1) :] = 0
        phases = generator.uniform(0, 2 * math.pi, self.marks)
        return np.concatenate([[angle], places, widths, heights, phases])

    def _changed(self, image: Tensor, numbers: Tensor) -> Tensor:
        rows, columns = image.shape[-2:]
        angle = numbers[:, 0].view(-1, 1, 1)
        places, widths, heights, phases = (half.view(-1, self.marks, 1, 1) for half in numbers[:, 1:].chunk(4, dim=1))
        y, x = _centred(rows, image).view(-1, 1), _centred(columns, image)
        across, along = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
        extent = columns * angle.cos().abs() + rows * angle.sin().abs()
        plane = torch.zeros_like(across)
        for i in range(self.marks):  # a few lines, each over all samples
            profile = torch.exp(-0.5 * ((across - places[:, i] * extent) / widths[:, i]) ** 2)
            fading = 0.7 + 0.3 * torch.cos(along * (4 * math.pi / extent) + phases[:, i])
            plane += heights[:, i] * fading * profile
        return image + over_planes(plane, image)


class Charging(AugmentationConfig):
    """Draw bright or dark streaks that begin at a place and fade along the scan direction, with lines that differ from
    each other, as charge that the electron beam leaves does."""

    name: Literal["charging"] = "charging"
    streaks: PositiveInt = 3
    """At most this many places in a patch; how many is drawn evenly from 1."""
    amount: PositiveFloat = 0.5
    """No streak changes a voxel by more than this, in units of the normalised image."""
    width_vox: PositiveRange = (2.0, 8.0)
    """The standard deviation of a streak's profile is drawn evenly between these, in voxels."""
    length_vox: PositiveRange = (30.0, 150.0)
    """After a length that is drawn evenly between these, in voxels, a streak has faded to 37 %."""
    axis: Axis = "x"
    """The scan direction."""
    probability: Probability = 0.1
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        lines = batch.image.shape[-2 if self.axis == "x" else -1]
        return change_some(batch, generators, self.probability, lambda g: self._drawn(g, lines), self._changed)

    def _drawn(self, generator: np.random.Generator, lines: int) -> np.ndarray:
        places = generator.uniform(-0.5, 0.5, 2 * self.streaks)
        widths = generator.uniform(*self.width_vox, self.streaks)
        lengths = generator.uniform(*self.length_vox, self.streaks) * generator.choice([-1, 1])
        heights = generator.uniform(0.4, 1, self.streaks) * generator.choice([-1, 1], self.streaks) * self.amount
        heights[generator.integers(1, self.streaks + 1) :] = 0
        return np.concatenate([places, widths, lengths, heights, generator.uniform(0.6, 1, lines)])

    def _changed(self, image: Tensor, numbers: Tensor) -> Tensor:
        turned = image if self.axis == "x" else image.transpose(-2, -1)
        rows, columns = turned.shape[-2:]
        drawn, lines = torch.split(numbers, [5 * self.streaks, rows], dim=1)
        tops, starts, widths, lengths, heights = (part.view(-1, self.streaks, 1, 1) for part in drawn.chunk(5, dim=1))
        y, x = _centred(rows, image).view(-1, 1), _centred(columns, image)
        plane = image.new_zeros(len(image), rows, columns)
        for i in range(self.streaks):  # a few places, each over all samples
            profile = torch.exp(-0.5 * ((y - tops[:, i] * rows) / widths[:, i]) ** 2)
            behind = (x - starts[:, i] * columns) * lengths[:, i].sign()
            # Unlike `sigmoid`, sums of exponentials do not depend on how voxels are shared out among threads.
            tail = torch.exp(-behind.clamp(min=0) / lengths[:, i].abs()) / (1 + torch.exp(-behind / 2))
            plane += heights[:, i] * profile * tail
        changed = turned + over_planes((plane * lines.unsqueeze(2)).clamp(-self.amount, self.amount), turned)
        return changed if self.axis == "x" else changed.transpose(-2, -1)


class Curtaining(AugmentationConfig):
    """Lay bright and dark stripes over the slices, as an ion beam does that mills some materials faster than others."""

    name: Literal["curtaining"] = "curtaining"
    amount: PositiveFloat = 0.2
    """Nowhere is more than this added or taken away, in units of the normalised image; most voxels change by less than
    a third of it."""
    width_vox: Annotated[float, Field(ge=1)] = 2.0
    """About how wide the thin stripes are, in voxels; wider ones, of four times this, lie below them."""
    length_vox: Annotated[float, Field(ge=4)] = 200.0
    """About how far a stripe goes before it changes, in voxels."""
    axis: Axis = "y"
    """The direction of the ion beam, along which the stripes run."""
    probability: Probability = 0.1
    """How often a patch is changed."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        size = self._size(batch.image)

        def draw(generator: np.random.Generator) -> np.ndarray:
            return np.concatenate([drawn_nodes(generator, size, scale) for scale in self._scales()])

        return change_some(batch, generators, self.probability, draw, self._changed)

    def _size(self, image: Tensor) -> tuple[int, int]:
        """Voxels along the stripes and across them."""
        rows, columns = image.shape[-2:]
        return (rows, columns) if self.axis == "y" else (columns, rows)

    def _scales(self) -> tuple[tuple[float, float], ...]:
        return (self.length_vox, self.width_vox), (self.length_vox, 4 * self.width_vox)

    def _changed(self, image: Tensor, nodes: Tensor) -> Tensor:
        size = self._size(image)
        counts = [math.prod(grid_of_nodes(size, scale)) for scale in self._scales()]
        parts = zip(torch.split(nodes, counts, dim=1), self._scales(), strict=True)
        fine, coarse = (smooth_field(numbers, size, scale) for numbers, scale in parts)
        plane = self.amount * (0.65 * fine + 0.35 * coarse)
        return image + over_planes(plane if self.axis == "y" else plane.transpose(-2, -1), image)


class Drift(AugmentationConfig):
    """Let the grey level rise or fall evenly along axes, as a beam current or a detector that drifts does."""

    name: Literal["drift"] = "drift"
    amount: PositiveFloat = 0.2
    """The difference between both ends of an axis is drawn evenly from -amount to +amount, in units of the normalised
    image; the middle of the patch stays as it is."""
    axes: Annotated[tuple[Literal["z", "y", "x"], ...], Field(min_length=1)] = ("y", "x")
    """Axes to drift along, each with a difference of its own; z only for 3D networks."""
    probability: Probability = 0.2
    """How often a patch is changed."""

    @field_validator("axes")
    @classmethod
    def _distinct(cls, axes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(axes)) != len(axes):
            raise ValueError("an axis is named twice")
        return axes

    def check(self, patch_size: Sequence[int]) -> None:
        """Raises: RecipeError: patches have no extent along z to drift over."""
        if "z" in self.axes and (len(patch_size) < 3 or patch_size[0] < 2):
            raise RecipeError(
                "augmentation 'drift': axis z needs 3D patches of several slices, got "
                f"{' x '.join(map(str, patch_size))} voxels; leave z out"
            )

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        self.check(batch.image.shape[2:])
        count = len(self.axes)
        return change_some(
            batch, generators, self.probability, lambda g: g.uniform(-self.amount, self.amount, count), self._changed
        )

    def _changed(self, image: Tensor, differences: Tensor) -> Tensor:
        for number, axis in enumerate(self.axes):
            place = {"z": 2, "y": 1, "x": 0}[axis]
            size = image.shape[-1 - place]
            ramp = _centred(size, image).view(-1, *[1] * place) / max(size - 1, 1)
            image = image + differences[:, number].view(-1, *[1] * (image.ndim - 1)) * ramp
        return image


def _centred(size: int, like: Tensor) -> Tensor:
    """Places of voxels along an axis, counted from its middle: (size,)."""
    return torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
