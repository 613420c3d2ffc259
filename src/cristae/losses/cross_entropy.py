"""Cross-entropies: a value for each voxel, averaged or added up over those that count."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cristae.data.classes import Classes
from cristae.losses.reduce import global_mean, global_sum
from cristae.losses.term import LossTerm, TermFunction, refuse_classes
from cristae.losses.voxels import Voxels

Reduction = Literal["mean", "sum"]


class BinaryCrossEntropy(LossTerm):
    """Cross-entropy of independent logits (sigmoid): one foreground class, or overlapping ones."""

    name: Literal["binary_cross_entropy"] = "binary_cross_entropy"
    reduction: Reduction = "mean"
    """Mean over valid voxels and classes, or their sum."""

    def build(self, classes: Classes) -> TermFunction:
        """Raises: RecipeError: There are several exclusive classes, which need a softmax."""
        if classes.softmax:
            raise refuse_classes(self.name, classes, "cross_entropy")
        return partial(binary_cross_entropy, reduction=self.reduction)


class CrossEntropy(LossTerm):
    """Cross-entropy of a softmax over several exclusive classes, the background included."""

    name: Literal["cross_entropy"] = "cross_entropy"
    reduction: Reduction = "mean"
    """Mean over valid voxels, or their sum."""

    def build(self, classes: Classes) -> TermFunction:
        """Raises: RecipeError: There is a single foreground class, or classes overlap."""
        if not classes.softmax:
            raise refuse_classes(self.name, classes, "binary_cross_entropy")
        return partial(cross_entropy, reduction=self.reduction)


def suitable_cross_entropy(
    classes: Classes, *, reduction: Reduction = "mean", weight: float = 1.0
) -> BinaryCrossEntropy | CrossEntropy:
    """The cross-entropy that these classes need: softmax for several exclusive ones, else binary."""
    term = CrossEntropy if classes.softmax else BinaryCrossEntropy
    return term(reduction=reduction, weight=weight)


def binary_cross_entropy(voxels: Voxels, *, reduction: Reduction = "mean") -> Tensor:
    """Mean or sum over valid voxels and classes of max(y, 0) - y t + log(1 + exp(-|y|)), times the weight.

    The mean divides by the number of voxels, not by the sum of weights. Written as softplus(y) where t = 0 and
    softplus(-y) where t = 1, which is the same and loses no digits at either end.
    """
    losses = F.softplus(torch.where(voxels.target, -voxels.logits, voxels.logits))
    return reduced(losses, voxels.valid.expand_as(losses), voxels.weight, reduction)


def cross_entropy(voxels: Voxels, *, reduction: Reduction = "mean") -> Tensor:
    """Mean or sum over valid voxels of minus the log-softmax of the true class, times the weight, not renormalised."""
    losses = -(F.log_softmax(voxels.logits, dim=1) * voxels.target).sum(dim=1, keepdim=True)
    return reduced(losses, voxels.valid, voxels.weight, reduction)


def reduced(losses: Tensor, valid: Tensor, weight: Tensor | None, reduction: Reduction) -> Tensor:
    """Mean over valid voxels, or sum, of losses times their weight; the mean divides by the number of voxels."""
    losses = torch.where(valid, losses, 0.0)
    total = losses.sum() if weight is None else (losses * weight).sum()
    return global_sum(total) if reduction == "sum" else global_mean(total, valid.sum())
