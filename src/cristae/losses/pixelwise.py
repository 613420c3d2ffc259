"""Cross-entropies: a value for each voxel, averaged or added up over those that count."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cristae.losses.form import Voxels
from cristae.losses.reduce import global_mean, global_sum

Reduction = Literal["mean", "sum"]


def binary_cross_entropy(voxels: Voxels, *, reduction: Reduction = "mean") -> Tensor:
    """Mean or sum over valid voxels and classes of max(y, 0) - y t + log(1 + exp(-|y|)), times the weight.

    The mean divides by the number of voxels, not by the sum of weights. Written as softplus(y) where t = 0 and
    softplus(-y) where t = 1, which is the same and loses no digits at either end.
    """
    logits, target, valid, weight = voxels
    losses = F.softplus(torch.where(target, -logits, logits))
    return _reduce(losses, valid.expand_as(losses), weight, reduction)


def cross_entropy(voxels: Voxels, *, reduction: Reduction = "mean") -> Tensor:
    """Mean or sum over valid voxels of minus the log-softmax of the true class, times the weight, not renormalised."""
    logits, target, valid, weight = voxels
    losses = -(F.log_softmax(logits, dim=1) * target).sum(dim=1, keepdim=True)
    return _reduce(losses, valid, weight, reduction)


def _reduce(losses: Tensor, valid: Tensor, weight: Tensor | None, reduction: Reduction) -> Tensor:
    losses = torch.where(valid, losses, 0.0)
    total = losses.sum() if weight is None else (losses * weight).sum()
    return global_sum(total) if reduction == "sum" else global_mean(total, valid.sum())
