"""Flips and quarter turns: exact permutations of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import field_validator

from cristae.augment.batch import Batch
from cristae.augment.form import Generators, Probability, drawn_if
from cristae.augment.geometric import Axes, GeometricAugmentation, Reach, distinct, require_axes
from cristae.augment.mapping import Affine
from cristae.errors import RecipeError

QUARTERS = np.array([[[1, 0], [0, 1]], [[0, 1], [-1, 0]], [[-1, 0], [0, -1]], [[0, -1], [1, 0]]], np.float64)
"""Source (y, x) from the output's, for turns by 0 to 3 quarters from y to x."""


class Flip(GeometricAugmentation):
    """Mirror along each of the axes, independently."""

    name: Literal["flip"] = "flip"
    axes: Axes = ("y", "x")
    """Axes to mirror along; z only for 3D networks."""
    probability: Probability = 0.5
    """How often a patch is mirrored, for each axis."""

    _distinct = field_validator("axes")(distinct)

    def check(self, patch_size: Sequence[int]) -> None:
        """Raises: RecipeError: patches have no z axis to flip along."""
        require_axes(self.name, self.axes, patch_size)

    def draw(self, batch: Batch, generators: Generators) -> Affine:
        step = Affine.identity(len(batch))
        for axis in self.axes:
            mirrored = np.array([generator.random() < self.probability for generator in generators])
            scale = step.along_z[:, 0] if axis == "z" else step.plane[:, "yx".index(axis), "yx".index(axis)]
            scale[mirrored] = -1
        return step


class Rotate90(GeometricAugmentation):
    """Turn by 90, 180 or 270 degrees in the y-x plane, each as often as the others."""

    name: Literal["rotate90"] = "rotate90"
    probability: Probability = 0.75
    """How often a patch is turned at all; at 0.75 the four directions are equally frequent."""

    def check(self, patch_size: Sequence[int]) -> None:
        """Raises: RecipeError: patches are not square in y and x."""
        y, x = patch_size[-2:]
        if y != x:
            raise RecipeError(f"augmentation 'rotate90' needs square patches (y = x), got y = {y} and x = {x}")

    def reach(self, reach: Reach, size: Sequence[int]) -> Reach:
        """The box, turned or not."""
        side = max(reach.y, reach.x)
        return replace(reach, y=side, x=side)

    def draw(self, batch: Batch, generators: Generators) -> Affine:
        applies, turns = drawn_if(lambda g: int(g.integers(1, 4)), self.probability, generators)
        step = Affine.identity(len(batch), aligned=False)
        step.plane[:, :, :2] = QUARTERS[np.where(applies, turns, 0).astype(int)]
        return step
