"""The form of augmentations that move voxels. All those of a recipe become one map, and patches are resampled once."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from cristae.augment.batch import Batch
from cristae.augment.form import AugmentationConfig, Generators
from cristae.augment.mapping import Affine, Places, Step
from cristae.augment.resample import Interpolation, permuted, resampled
from cristae.errors import RecipeError

Axis = Literal["z", "y", "x"]
Axes = Annotated[tuple[Axis, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Reach:
    """A region around a patch's centre, in voxels: a box, in y and x also inside a circle."""

    z: float
    y: float
    x: float
    radius: float

    @classmethod
    def of_size(cls, size: Sequence[int]) -> Reach:
        """The voxels of a patch (*S)."""
        z, y, x = ((side - 1) / 2 for side in (*(1,) * (3 - len(size)), *size))
        return cls(z, y, x, math.hypot(y, x))

    def grown(self, z: float = 0, y: float = 0, x: float = 0) -> Reach:
        """With so many voxels more on both sides of each axis."""
        return Reach(self.z + z, self.y + y, self.x + x, self.radius + math.hypot(y, x))


class GeometricAugmentation(AugmentationConfig):
    """A random change that moves voxels: of image, target, valid and weight alike.

    It only says where voxels come from. Targets and weights that depend on the patch are computed afterwards, from what
    it leaves of the patch.
    """

    def reach(self, reach: Reach, size: Sequence[int]) -> Reach:
        """Where the voxels of `reach` may come from: for what only mirrors, from there.

        Args:
            reach: Of what this augmentation gives.
            size: The patch (*S) that the network sees.
        """
        return reach

    @property
    def draws_for_epoch(self) -> bool:
        """Whether something is drawn once for all patches of an epoch (see `epoch_generator`)."""
        return False

    @abstractmethod
    def draw(self, batch: Batch, generators: Generators) -> Step:
        """What happens to each sample."""

    def __call__(self, batch: Batch, generators: Generators) -> Batch:
        return move([self], batch, generators)


def move(
    augmentations: Sequence[GeometricAugmentation],
    batch: Batch,
    generators: Generators,
    interpolation: Interpolation = "linear",
) -> Batch:
    """Apply augmentations that move voxels, composed into one resampling; the margin ends here.

    A sample whose voxels only change places keeps their values exactly, whatever the others do.

    Args:
        augmentations: In the order of the recipe.
        batch: With its margin.
        generators: One for each sample, consumed.
        interpolation: Of the image; labels, validity and weights are those of the nearest voxel.

    Raises:
        RecipeError: Patches of this size cannot be augmented so.
    """
    for one in augmentations:
        for size in (batch.size, batch.target_size):
            one.check(size)
    before = accumulate((one.draws_for_epoch for one in augmentations), initial=0)
    steps = [
        one.draw(replace(batch, epoch_draws=draws), generators)
        for one, draws in zip(augmentations, before, strict=False)
    ]
    exact = np.logical_and.reduce([step.exact for step in steps] or [np.ones(len(batch), bool)])
    if not exact.any():
        return _resampled(batch, steps, interpolation)
    still = Affine.identity(len(batch))
    result = permuted(batch.cropped(), reduce(Affine.then, (one for one in steps if isinstance(one, Affine)), still))
    if exact.all():
        return result
    others = np.flatnonzero(~exact)
    moved = _resampled(batch.of(others.tolist()), [step.of(others) for step in steps], interpolation)
    return result.with_samples(others.tolist(), moved)


def _resampled(batch: Batch, steps: Sequence[Step], interpolation: Interpolation) -> Batch:
    size = [max(pair) for pair in zip(batch.size, batch.framed_size, strict=True)]
    n_slices = batch.n_slices if batch.flat else size[0]
    places = Places.of_output(len(batch), n_slices, size[-2:], batch.image.device)
    for step in reversed(steps):
        places = step.before(places)
    boxes = batch.cropped_boxes()
    return replace(resampled(batch, places, interpolation), boxes=boxes)


def required_margin(
    augmentations: Sequence[AugmentationConfig],
    size: Sequence[int],
    interpolation: Interpolation = "linear",
    *,
    target_size: Sequence[int] = (),
) -> tuple[int, ...]:
    """Voxels around image and target, on both sides of each axis, that augmentations in this order draw from.

    Args:
        augmentations: In the order of the recipe.
        size: Of the image (*S) that the network sees.
        interpolation: Of the image.
        target_size: Of the target with its frame, where that may be larger.
    """
    start = reach = Reach.of_size([max(pair) for pair in zip(size, target_size or size, strict=True)])
    for augmentation in reversed(augmentations):
        if isinstance(augmentation, GeometricAugmentation):
            reach = augmentation.reach(reach, size)
    further = [getattr(reach, axis) - getattr(start, axis) for axis in "zyx"[-len(size) :]]
    beyond = int(interpolation == "cubic")
    return tuple(math.ceil(voxels) + beyond if voxels > 1e-6 else 0 for voxels in further)


def distinct(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The same axes. Raises: ValueError: one is named twice."""
    if len(set(axes)) != len(axes):
        raise ValueError("an axis is named twice; name each once")
    return axes


def require_axes(name: str, axes: Sequence[Axis], patch_size: Sequence[int]) -> None:
    """Make sure that patches have the axes that an augmentation moves along.

    Raises:
        RecipeError: Patches of this size (*S) have no z axis.
    """
    if "z" in axes and len(patch_size) < 3:
        raise RecipeError(f"augmentation '{name}': axis z needs 3D patches, but the network takes (y, x); leave z out")
