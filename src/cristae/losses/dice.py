"""The soft Dice loss: one minus twice the overlap of probability and truth over the sum of their sizes.

Milletari, Navab, Ahmadi (2016), https://arxiv.org/abs/1606.04797, section 3, without squares.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cristae.data.classes import Classes
from cristae.losses.reduce import global_sum
from cristae.losses.term import EPS, AveragedClasses, LossTerm, TermFunction, class_regions, sum_voxels
from cristae.losses.voxels import Voxels


class Dice(LossTerm):
    """Soft Dice loss over the batch, the mean over the classes that occur in it. Voxel weights do not count."""

    name: Literal["dice"] = "dice"
    classes: AveragedClasses = "foreground"
    """Whether the background is one of the classes that are averaged; overlapping classes and those with
    `background: false` have none."""

    def build(self, classes: Classes) -> TermFunction:
        """A function of voxels; defined for all classes."""

        def term(voxels: Voxels) -> Tensor:
            probability, masks = class_regions(voxels, classes, self.classes)
            return dice_loss(probability, masks, voxels.valid)

        return term


def dice_loss(probability: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """1 - 2 sum(p t) / (sum p + sum t), with sums over the whole batch; the mean over the classes that occur in it.

    A class of which the batch has no voxel would only add a constant, so it is left out.

    Args:
        probability: (B, K, *S) from 0 to 1.
        target: (B, K, *S) masks.
        valid: bool (B, 1, *S).
    """
    probability, target = probability * valid, target * valid
    sums = torch.stack([sum_voxels(part).sum(0) for part in (probability * target, probability, target)])
    shared, predicted, true = global_sum(sums)
    occurs = true > 0
    losses = torch.where(occurs, 1 - 2 * shared / (predicted + true).clamp(min=EPS), 0.0)
    loss: Tensor = losses.sum() / occurs.sum().clamp(min=1)
    return loss
