"""Flips and quarter turns: exact permutations of voxels, of image, target, valid and weight alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from cristae.augment.batch import Batch
from cristae.augment.form import Generators, GeometricAugmentation, Probability, chosen, where_chosen
from cristae.errors import RecipeError

Axis = Literal["z", "y", "x"]
DIMENSION = {"x": -1, "y": -2, "z": -3}


class Flip(GeometricAugmentation):
    """Mirror along each of the axes, independently."""

    name: Literal["flip"] = "flip"
    axes: Annotated[tuple[Axis, ...], Field(min_length=1)] = ("y", "x")
    """Axes to mirror along; z only for 3D networks."""
    probability: Probability = 0.5
    """How often a patch is mirrored, for each axis."""

    @field_validator("axes")
    @classmethod
    def _distinct(cls, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
        if len(set(axes)) != len(axes):
            raise ValueError("an axis is named twice, which would mirror and mirror back")
        return axes

    def check(self, patch_size: Sequence[int]) -> None:
        """Raises: RecipeError: patches have no z axis to flip along."""
        if "z" in self.axes and len(patch_size) < 3:
            raise RecipeError("augmentation 'flip': axis z needs 3D patches, but the network takes (y, x); leave z out")

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        self.check(batch.valid.shape[1:])
        for axis in self.axes:
            mask = chosen(self.probability, generators, batch.image)
            batch = batch.map(partial(_flip_chosen, mask, DIMENSION[axis]))
        return batch


def _flip_chosen(mask: Tensor, dimension: int, tensor: Tensor) -> Tensor:
    return where_chosen(mask, tensor.flip(dimension), tensor)


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

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        self.check(batch.image.shape[2:])
        self.check(batch.valid.shape[1:])
        turns = []
        for generator in generators:
            applies, turn = generator.random() < self.probability, int(generator.integers(1, 4))
            turns.append(turn if applies else 0)
        quarters = torch.tensor(turns).to(batch.image.device, non_blocking=True)
        odd, half = quarters % 2 == 1, quarters >= 2
        batch = batch.map(lambda tensor: where_chosen(odd, tensor.rot90(1, (-2, -1)), tensor))
        return batch.map(lambda tensor: where_chosen(half, tensor.flip(-2, -1), tensor))
