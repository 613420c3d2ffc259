"""Cross-entropy plus soft Dice: the everyday loss for one class, several, or overlapping ones.

Isensee et al. (2021), https://doi.org/10.1038/s41592-020-01008-z
"""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, model_validator

from cristae.data.classes import Classes
from cristae.losses.cross_entropy import suitable_cross_entropy
from cristae.losses.dice import Dice
from cristae.losses.form import LossConfig
from cristae.losses.term import AveragedClasses, LossTerm


class CrossEntropyDice(LossConfig):
    """Cross-entropy (softmax for several exclusive classes, else binary) + soft Dice over the batch."""

    name: Literal["cross_entropy_dice"] = "cross_entropy_dice"
    cross_entropy_weight: NonNegativeFloat = 1.0
    """Factor of the cross-entropy, the only term that voxel weights count in; 0 leaves it out."""
    dice_weight: NonNegativeFloat = 1.0
    """Factor of the Dice loss; 0 leaves it out."""
    dice_classes: AveragedClasses = "foreground"
    """Whether the background is one of the classes that the Dice loss averages; overlapping classes have none, nor
    have classes with `background: false`, which are all averaged."""

    @model_validator(mode="after")
    def _check(self) -> CrossEntropyDice:
        if self.cross_entropy_weight == self.dice_weight == 0:
            raise ValueError("cross_entropy_weight and dice_weight are both 0: nothing would be learnt")
        return self

    def as_terms(self, classes: Classes) -> tuple[LossTerm, ...]:
        """The terms whose weight is not 0."""
        terms: list[LossTerm] = []
        if self.cross_entropy_weight:
            terms.append(suitable_cross_entropy(classes, weight=self.cross_entropy_weight))
        if self.dice_weight:
            terms.append(Dice(classes=self.dice_classes, weight=self.dice_weight))
        return tuple(terms)
