"""Soft clDice: whether the centre lines of thin structures lie in each other, which keeps them connected.

Shit et al. (2021), https://arxiv.org/abs/2003.07311, algorithms 1 and 2.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, stack

from cristae.data.classes import Classes
from cristae.losses.reduce import global_sum
from cristae.losses.term import AveragedClasses, LossTerm, TermFunction, class_regions, sum_voxels
from cristae.losses.voxels import Voxels


class ClDice(LossTerm):
    """One minus the harmonic mean of topology precision and sensitivity over the batch, the mean over classes.

    It looks at shape alone: add it to a loss of voxels, such as `dice`, as the paper does with a weight of up to 0.5.
    """

    name: Literal["cl_dice"] = "cl_dice"
    counts_weights: ClassVar[bool] = False
    classes: AveragedClasses = "foreground"
    """Whether the background is one of the classes that are averaged; overlapping classes and those with
    `background: false` have none."""
    iterations: PositiveInt = 5
    """Erosions of the soft skeleton: at least half the width in voxels of the widest structure that has to be thin."""

    def build(self, classes: Classes) -> TermFunction:
        """A function of voxels; defined for all classes."""

        def term(voxels: Voxels) -> Tensor:
            probability, masks = class_regions(voxels, classes, self.classes)
            predicted, true = probability * voxels.valid, (masks & voxels.valid).to(probability.dtype)
            thin, thin_true = soft_skeleton(predicted, self.iterations), soft_skeleton(true, self.iterations)
            parts = (thin * true, thin, thin_true * predicted, thin_true)
            inside, line, covered, true_line = global_sum(stack([sum_voxels(part).sum(0) for part in parts]))
            precision, sensitivity = (inside + 1) / (line + 1), (covered + 1) / (true_line + 1)
            mean: Tensor = (1 - 2 * precision * sensitivity / (precision + sensitivity)).mean()
            return mean

        return term


def soft_skeleton(values: Tensor, iterations: int) -> Tensor:
    """What successive openings of (B, K, *S) values from 0 to 1 remove; outside the patch everything is 0."""
    skeleton = F.relu(values - _open(values))
    for _ in range(iterations):
        values = _erode(values)
        rest = F.relu(values - _open(values))
        skeleton = skeleton + F.relu(rest - skeleton * rest)
    return skeleton


def _open(values: Tensor) -> Tensor:
    return _dilate(_erode(values))


def _erode(values: Tensor) -> Tensor:
    """The least value of each voxel and its face neighbours."""
    least = values
    for axis in range(2, values.ndim):
        beside = F.pad(values, [0, 0] * (values.ndim - 1 - axis) + [1, 1])
        size = values.shape[axis]
        least = least.minimum(beside.narrow(axis, 0, size)).minimum(beside.narrow(axis, 2, size))
    return least


def _dilate(values: Tensor) -> Tensor:
    spatial = values.ndim - 2
    return _POOLS[spatial](F.pad(values, (1, 1) * spatial), 3, 1)


_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
