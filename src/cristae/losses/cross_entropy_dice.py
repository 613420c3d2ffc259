"""Cross-entropy plus soft Dice: the everyday loss for one class, several, or overlapping ones.

Isensee et al. (2021), https://doi.org/10.1038/s41592-020-01008-z
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import NonNegativeFloat, model_validator
from torch import Tensor, nn

from cristae.data.classes import Classes
from cristae.losses.form import LossConfig, Voxels, align
from cristae.losses.overlap import dice_loss
from cristae.losses.pixelwise import binary_cross_entropy, cross_entropy


class CrossEntropyDice(LossConfig):
    """Cross-entropy (softmax for several exclusive classes, else binary) + soft Dice over the batch."""

    name: Literal["cross_entropy_dice"] = "cross_entropy_dice"
    cross_entropy_weight: NonNegativeFloat = 1.0
    """Factor of the cross-entropy, the only term that voxel weights count in; 0 leaves it out."""
    dice_weight: NonNegativeFloat = 1.0
    """Factor of the Dice loss; 0 leaves it out."""
    dice_classes: Literal["foreground", "all"] = "foreground"
    """Whether the background is one of the classes that the Dice loss averages; overlapping classes have none, nor
    have classes with `background: false`, which are all averaged."""

    @model_validator(mode="after")
    def _check(self) -> CrossEntropyDice:
        if self.cross_entropy_weight == self.dice_weight == 0:
            raise ValueError("cross_entropy_weight and dice_weight are both 0: nothing would be learnt")
        return self

    def build(self, classes: Classes) -> nn.Module:
        """The module for these classes."""
        return _CrossEntropyDice(self, classes)


class _CrossEntropyDice(nn.Module):
    def __init__(self, config: CrossEntropyDice, classes: Classes) -> None:
        super().__init__()
        self.config = config
        self.softmax = classes.softmax
        self.with_background = config.dice_classes == "all" and classes.exclusive
        self.first = 0 if self.with_background else classes.foreground_ids[0]

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor, weight: Tensor | None) -> Tensor:
        voxels = align(logits, target, valid, weight)
        loss = voxels.logits.new_zeros(())
        if self.config.cross_entropy_weight:
            pixelwise = cross_entropy(voxels) if self.softmax else binary_cross_entropy(voxels)
            loss = loss + self.config.cross_entropy_weight * pixelwise
        if self.config.dice_weight:
            probability, masks = self._regions(voxels)
            loss = loss + self.config.dice_weight * dice_loss(probability, masks, voxels.valid)
        return loss

    def _regions(self, voxels: Voxels) -> tuple[Tensor, Tensor]:
        """Probabilities and masks (B, K', *S) of the classes that the Dice loss averages."""
        if self.softmax:
            return voxels.logits.softmax(dim=1)[:, self.first :], voxels.target[:, self.first :]
        probability, masks = voxels.logits.sigmoid(), voxels.target
        if self.with_background:
            return torch.cat([1 - probability, probability], dim=1), torch.cat([~masks, masks], dim=1)
        return probability, masks
