"""Turns, shears, zooms and shifts, by the conventions of Keras.

Each draws a matrix from the output's (y, x), counted from the centre of the patch, to where its voxels come from.
`rotate`, `shift`, `shear`, `zoom`, `flip` in this order are the product that Keras' ImageDataGenerator applies; what
comes in at the borders is the image around the patch, where Keras mirrors the patch itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveFloat, field_validator, model_validator

from cristae.augment.batch import Batch
from cristae.augment.form import Generators, Probability, drawn_if
from cristae.augment.geometric import Axes, GeometricAugmentation, Reach, distinct, require_axes
from cristae.augment.mapping import Affine


class Rotate(GeometricAugmentation):
    """Turn by any angle in the y-x plane. Voxels are taken as square in y and x."""

    name: Literal["rotate"] = "rotate"
    degrees: Annotated[float, Field(gt=0, le=180)] = 15
    """The angle is drawn evenly from -degrees to +degrees; 180 gives all directions."""
    probability: Probability = 0.5
    """How often a patch is turned."""

    def reach(self, reach: Reach, size: Sequence[int]) -> Reach:
        """The box in all its directions, at most the circle."""
        most = math.radians(self.degrees)
        y, x = (
            min(reach.radius, math.hypot(a, b) if math.atan2(b, a) <= most else a * math.cos(most) + b * math.sin(most))
            for a, b in ((reach.y, reach.x), (reach.x, reach.y))
        )
        return replace(reach, y=y, x=x)

    def draw(self, batch: Batch, generators: Generators) -> Affine:
        angle = np.deg2rad(_drawn_even(self.degrees, self.probability, generators))
        step = Affine.identity(len(batch), aligned=False)
        step.plane[:, 0, 0] = step.plane[:, 1, 1] = np.cos(angle)
        step.plane[:, 0, 1], step.plane[:, 1, 0] = -np.sin(angle), np.sin(angle)
        return step


class Shear(GeometricAugmentation):
    """Slant y by x."""

    name: Literal["shear"] = "shear"
    degrees: Annotated[float, Field(gt=0, le=60)] = 5
    """The angle is drawn evenly from -degrees to +degrees."""
    probability: Probability = 0.5
    """How often a patch is slanted."""

    def reach(self, reach: Reach, size: Sequence[int]) -> Reach:
        """The box slanted."""
        y = reach.y + math.sin(math.radians(self.degrees)) * reach.x
        return replace(reach, y=y, radius=math.hypot(y, reach.x))

    def draw(self, batch: Batch, generators: Generators) -> Affine:
        angle = np.deg2rad(_drawn_even(self.degrees, self.probability, generators))
        step = Affine.identity(len(batch), aligned=False)
        step.plane[:, 0, 1], step.plane[:, 1, 1] = -np.sin(angle), np.cos(angle)
        return step


class Zoom(GeometricAugmentation):
    """Show more or less of the surroundings, at the same number of voxels."""

    name: Literal["zoom"] = "zoom"
    factors: tuple[Annotated[float, Field(ge=0.25, le=4)], Annotated[float, Field(ge=0.25, le=4)]] = (0.8, 1.2)
    """The factor is drawn evenly between these two. It multiplies the length of image that a patch shows, so structures
    become smaller above 1 and larger below."""
    per: Literal["axis", "patch"] = "axis"
    """Whether each axis gets a factor of its own, or a patch one for all."""
    axes: Axes = ("y", "x")
    """Axes to zoom along; z only for 3D networks."""
    probability: Probability = 0.5
    """How often a patch is changed."""

    _distinct = field_validator("axes")(distinct)

    @model_validator(mode="after")
    def _ascending(self) -> Zoom:
        least, most = self.factors
        if least > most or least == most == 1:
            raise ValueError(f"factors {list(self.factors)} must ascend and not both be 1, for instance [0.8, 1.2]")
        return self

    def check(self, patch_size: Sequence[int]) -> None:
        """Raises: RecipeError: patches have no z axis to zoom along."""
        require_axes(self.name, self.axes, patch_size)

    def reach(self, reach: Reach, size: Sequence[int]) -> Reach:
        """The box at the largest factor."""
        most = self.factors[1] if self.probability == 1 else max(1.0, self.factors[1])
        z, y, x = (getattr(reach, axis) * (most if axis in self.axes else 1) for axis in "zyx")
        return Reach(z, y, x, min(reach.radius * most, math.hypot(y, x)))

    def draw(self, batch: Batch, generators: Generators) -> Affine:
        count = len(self.axes) if self.per == "axis" else 1
        applies, factors = drawn_if(lambda g: g.uniform(*self.factors, count), self.probability, generators)
        factors = np.where(applies[:, None], factors, 1)
        step = Affine.identity(len(batch))
        for number, axis in enumerate(self.axes):
            scale = step.along_z[:, 0] if axis == "z" else step.plane[:, "yx".index(axis), "yx".index(axis)]
            scale[:] = factors[:, number % count]
        return step


class Shift(GeometricAugmentation):
    """Move the patch within the image around it."""

    name: Literal["shift"] = "shift"
    amount: PositiveFloat = 0.1
    """The shift along each axis is drawn evenly from -amount to +amount."""
    unit: Literal["side", "voxels"] = "side"
    """What `amount` counts: sides of the patch that the network sees, or voxels."""
    axes: Axes = ("y", "x")
    """Axes to move along; z only for 3D networks."""
    probability: Probability = 0.5
    """How often a patch is moved."""

    _distinct = field_validator("axes")(distinct)

    @model_validator(mode="after")
    def _less_than_a_patch(self) -> Shift:
        if self.unit == "side" and self.amount > 1:
            raise ValueError(f"amount {self.amount} is more than a whole patch; write at most 1, or set unit: voxels")
        return self

    def check(self, patch_size: Sequence[int]) -> None:
        """Raises: RecipeError: patches have no z axis to move along."""
        require_axes(self.name, self.axes, patch_size)

    def reach(self, reach: Reach, size: Sequence[int]) -> Reach:
        """The box with the largest shift on all sides."""
        return reach.grown(**self._most(size))

    def _most(self, size: Sequence[int]) -> dict[str, float]:
        sides = dict(zip("zyx"[-len(size) :], size, strict=True))
        return {axis: self.amount * (sides[axis] if self.unit == "side" else 1) for axis in self.axes}

    def draw(self, batch: Batch, generators: Generators) -> Affine:
        applies, shifts = drawn_if(lambda g: g.uniform(-1, 1, len(self.axes)), self.probability, generators)
        step = Affine.identity(len(batch))
        for number, (axis, most) in enumerate(self._most(batch.size).items()):
            offset = step.along_z[:, 1] if axis == "z" else step.plane[:, "yx".index(axis), 2]
            offset[:] = np.where(applies, shifts[:, number] * most, 0)
        return step


def _drawn_even(most: float, probability: float, generators: Generators) -> np.ndarray:
    """Values (B,) from -most to +most, 0 for samples that stay as they are."""
    applies, values = drawn_if(lambda g: g.uniform(-most, most), probability, generators)
    return np.where(applies, values, 0.0)
