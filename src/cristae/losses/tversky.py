"""Soft Tversky loss: false positives and false negatives count differently.

Salehi, Erdogmus, Gholipour (2017), https://arxiv.org/abs/1706.05721, equation 3; the exponent of Abraham and Khan
(2019), https://arxiv.org/abs/1810.07842, equation 4, makes it the focal Tversky loss.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor

from cristae.data.classes import Classes
from cristae.losses.term import EPS, AveragedClasses, LossTerm, TermFunction, overlap_sums
from cristae.losses.voxels import Voxels


class Tversky(LossTerm):
    """(1 - TP / (TP + a FP + b FN)) ** (1 / g) over the batch, the mean over the classes that occur in it."""

    name: Literal["tversky"] = "tversky"
    counts_weights: ClassVar[bool] = False
    classes: AveragedClasses = "foreground"
    """Whether the background is one of the classes that are averaged; overlapping classes and those with
    `background: false` have none."""
    false_positives: PositiveFloat = 0.3
    """a. With a = b = 0.5 this is the Dice loss."""
    false_negatives: PositiveFloat = 0.7
    """b; above a, missed voxels cost more than wrong ones."""
    gamma: PositiveFloat = 1.0
    """g; 4/3 in the focal Tversky loss."""

    def build(self, classes: Classes) -> TermFunction:
        """A function of voxels; defined for all classes."""

        def term(voxels: Voxels) -> Tensor:
            shared, predicted, true = overlap_sums(voxels, classes, self.classes)
            errors = self.false_positives * (predicted - shared) + self.false_negatives * (true - shared)
            occurs = true > 0
            # The power has no derivative at 0, where nothing is left to learn.
            losses = (errors / (shared + errors).clamp(min=EPS)).clamp(min=EPS)
            if self.gamma != 1:
                losses = losses ** (1 / self.gamma)
            mean: Tensor = torch.where(occurs, losses, 0.0).sum() / occurs.sum().clamp(min=1)
            return mean

        return term
