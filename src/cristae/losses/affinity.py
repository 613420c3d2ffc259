"""Affinities as a loss: whether two voxels some steps apart have the same class, from the probabilities of both.

Turaga et al. (2010), https://doi.org/10.1162/neco.2009.10-08-881, predict affinities of objects by their own outputs.
Here they are those of classes and follow from their probabilities, as in the affinity fields of Ke et al. (2018),
https://arxiv.org/abs/1803.10335, section 3, so that any network is trained with them and predicts as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from cristae.data.classes import Classes
from cristae.losses.reduce import global_mean
from cristae.losses.term import EPS, LossTerm, TermFunction
from cristae.losses.voxels import Voxels


class Affinity(LossTerm):
    """Binary cross-entropy of "these two voxels have the same class", the mean over all pairs of valid voxels.

    Pairs of different classes lie at borders, so a wrong voxel of a thin structure costs in most of its pairs. It knows
    no objects: those of one class that touch are the same. Add it to a loss of voxels. Voxel weights do not count.
    """

    name: Literal["affinity"] = "affinity"
    counts_weights: ClassVar[bool] = False
    steps_vox: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 3, 9)
    """How far apart the voxels of a pair are, along each axis by itself; steps that a patch has no room for count
    nothing."""

    def build(self, classes: Classes) -> TermFunction:
        """A function of voxels; defined for all classes. Each class of its own, where they overlap."""

        def term(voxels: Voxels) -> Tensor:
            probability = voxels.logits.softmax(dim=1) if classes.softmax else voxels.logits.sigmoid()
            target = voxels.target.to(probability.dtype)
            total, count = probability.sum() * 0, voxels.valid.sum() * 0
            for one, other in _pairs(voxels.logits.shape[2:], self.steps_vox):
                same = _same(probability[one], probability[other], softmax=classes.softmax).clamp(EPS, 1 - EPS)
                truly = _same(target[one], target[other], softmax=classes.softmax)
                both = voxels.valid[one] & voxels.valid[other]
                losses = -torch.where(truly > 0, same.log(), (1 - same).log())
                total = total + torch.where(both, losses, 0.0).sum()
                count = count + both.sum() * losses.shape[1]
            return global_mean(total, count)

        return term


def _same(one: Tensor, other: Tensor, *, softmax: bool) -> Tensor:
    """How likely two voxels have the same class: (B, 1, *S) of exclusive ones, (B, K, *S) of independent ones."""
    if softmax:
        return (one * other).sum(dim=1, keepdim=True)
    return one * other + (1 - one) * (1 - other)


def _pairs(size: torch.Size, steps: tuple[int, ...]) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Both ends of all pairs of voxels, for each step along each axis of (B, K, *S)."""
    everything = (slice(None),) * (2 + len(size))
    for axis, side in enumerate(size, start=2):
        for step in steps:
            if step < side:
                before, after = list(everything), list(everything)
                before[axis], after[axis] = slice(None, -step), slice(step, None)
                yield tuple(before), tuple(after)
