"""Focal loss: cross-entropy in which voxels that are right already count less.

Lin et al. (2017), https://arxiv.org/abs/1708.02002, equation 5.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat
from torch import Tensor, where

from cristae.data.classes import Classes
from cristae.losses.cross_entropy import Reduction, reduced
from cristae.losses.term import LossTerm, TermFunction
from cristae.losses.voxels import Voxels


class Focal(LossTerm):
    """-a (1 - p)^g ln p of the true class; a is that of the foreground, and 1 - a that of the background."""

    name: Literal["focal"] = "focal"
    alpha: Annotated[float, Field(ge=0, le=1)] | None = 0.25
    """a; null for 1 everywhere. Classes with `background: false` have no use for it."""
    gamma: NonNegativeFloat = 2.0
    """g; 0 makes it a cross-entropy."""
    reduction: Reduction = "mean"
    """Mean over valid voxels (and overlapping classes), or their sum."""

    def build(self, classes: Classes) -> TermFunction:
        """A function of voxels; defined for all classes."""
        several = _softmax_focal if classes.softmax else _sigmoid_focal
        alpha = self.alpha if classes.background else None

        def term(voxels: Voxels) -> Tensor:
            losses = several(voxels, self.gamma, alpha)
            return reduced(losses, voxels.valid.expand_as(losses), voxels.weight, self.reduction)

        return term


def _sigmoid_focal(voxels: Voxels, gamma: float, alpha: float | None) -> Tensor:
    signed = where(voxels.target, voxels.logits, -voxels.logits)
    # 1 - p as a sigmoid of its own and ln p as a softplus: no digits are lost at either end.
    losses = F.softplus(-signed) * (-signed).sigmoid() ** gamma
    return losses if alpha is None else losses * where(voxels.target, alpha, 1 - alpha)


def _softmax_focal(voxels: Voxels, gamma: float, alpha: float | None) -> Tensor:
    logarithms = (F.log_softmax(voxels.logits, dim=1) * voxels.target).sum(dim=1, keepdim=True)
    wrong = where(voxels.target, 0.0, voxels.logits.softmax(dim=1)).sum(dim=1, keepdim=True)
    losses = -logarithms * wrong**gamma
    return losses if alpha is None else losses * where(voxels.target[:, :1], 1 - alpha, alpha)
