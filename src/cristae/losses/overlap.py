"""Losses that compare the regions of a class as wholes: soft Jaccard distance and soft Dice loss."""

from __future__ import annotations

import torch
from torch import Tensor

from cristae.losses.reduce import global_mean, global_sum

EPS = 1e-7


def jaccard_distance(probability: Tensor, target: Tensor, weight: Tensor, *, per_sample: bool = False) -> Tensor:
    """1 - J, J = sum(p t) / (sum p + sum t - sum(p t)), with sums over the whole batch; the mean over classes.

    An empty target with p -> 0 gives 0.

    Args:
        probability: (B, K, *S) from 0 to 1.
        target: (B, K, *S) masks.
        weight: (B, 1, *S) or (B, K, *S) how much each voxel counts in the sums; 0 for those that are not valid.
        per_sample: Take J of each sample instead, then the mean over samples that have voxels.

    References:
        Zhang et al. (2018), https://arxiv.org/abs/1811.11729
    """
    shared = _sum_voxels(probability * target * weight)
    either = _sum_voxels((probability + target) * weight) - shared
    if not per_sample:
        shared, either = global_sum(torch.stack([shared.sum(0), either.sum(0)]))
        distance: Tensor = (1 - (shared + EPS) / (either + EPS)).mean()
        return distance
    counts = (weight > 0).flatten(1).any(1).to(shared.dtype)
    distances = (1 - (shared + EPS) / (either + EPS)).mean(1) * counts
    return global_mean(distances.sum(), counts.sum())


def dice_loss(probability: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """1 - 2 sum(p t) / (sum p + sum t), with sums over the whole batch; the mean over the classes that occur in it.

    A class of which the batch has no voxel would only add a constant, so it is left out.

    Args:
        probability: (B, K, *S) from 0 to 1.
        target: (B, K, *S) masks.
        valid: bool (B, 1, *S).

    References:
        Milletari, Navab, Ahmadi (2016), https://arxiv.org/abs/1606.04797, section 3, without squares
    """
    probability, target = probability * valid, target * valid
    sums = torch.stack([_sum_voxels(part).sum(0) for part in (probability * target, probability, target)])
    shared, predicted, true = global_sum(sums)
    occurs = true > 0
    losses = torch.where(occurs, 1 - 2 * shared / (predicted + true).clamp(min=EPS), 0.0)
    loss: Tensor = losses.sum() / occurs.sum().clamp(min=1)
    return loss


def _sum_voxels(values: Tensor) -> Tensor:
    return values.flatten(2).sum(2)
