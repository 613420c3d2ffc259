"""The soft Jaccard distance: one minus the overlap of probability and truth over their union.

Zhang et al. (2018), https://arxiv.org/abs/1811.11729
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cristae.data.classes import Classes
from cristae.losses.reduce import global_mean, global_sum
from cristae.losses.term import EPS, AveragedClasses, LossTerm, TermFunction, class_regions, sum_voxels
from cristae.losses.voxels import Voxels


class JaccardDistance(LossTerm):
    """Soft Jaccard distance of probabilities, the mean over classes."""

    name: Literal["jaccard_distance"] = "jaccard_distance"
    over: Literal["batch", "sample"] = "batch"
    """Whether the distance is that of the whole batch, or the mean of each sample's."""
    classes: AveragedClasses = "foreground"
    """Whether the background is one of the classes that are averaged; overlapping classes and those with
    `background: false` have none."""
    voxel_weights: bool = False
    """Whether voxel weights count in its sums."""

    def build(self, classes: Classes) -> TermFunction:
        """A function of voxels; defined for all classes."""

        def term(voxels: Voxels) -> Tensor:
            counts = voxels.valid.to(voxels.logits.dtype)
            if self.voxel_weights and voxels.weight is not None:
                counts = voxels.weight
            probability, masks = class_regions(voxels, classes, self.classes)
            return jaccard_distance(probability, masks, counts, per_sample=self.over == "sample")

        return term


def jaccard_distance(probability: Tensor, target: Tensor, weight: Tensor, *, per_sample: bool = False) -> Tensor:
    """1 - J, J = sum(p t) / (sum p + sum t - sum(p t)), with sums over the whole batch; the mean over classes.

    An empty target with p -> 0 gives 0.

    Args:
        probability: (B, K, *S) from 0 to 1.
        target: (B, K, *S) masks.
        weight: (B, 1, *S) or (B, K, *S) how much each voxel counts in the sums; 0 for those that are not valid.
        per_sample: Take J of each sample instead, then the mean over samples that have voxels.
    """
    shared = sum_voxels(probability * target * weight)
    either = sum_voxels((probability + target) * weight) - shared
    if not per_sample:
        shared, either = global_sum(torch.stack([shared.sum(0), either.sum(0)]))
        distance: Tensor = (1 - (shared + EPS) / (either + EPS)).mean()
        return distance
    counts = (weight > 0).flatten(1).any(1).to(shared.dtype)
    distances = (1 - (shared + EPS) / (either + EPS)).mean(1) * counts
    return global_mean(distances.sum(), counts.sum())
