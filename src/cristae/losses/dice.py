"""Soft Dice losses: one minus twice the overlap of probability and truth over the sum of their sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from cristae.data.classes import Classes
from cristae.errors import RecipeError
from cristae.losses.term import EPS, AveragedClasses, LossTerm, TermFunction, overlap_sums
from cristae.losses.voxels import Voxels


class Dice(LossTerm):
    """Soft Dice loss over the batch, the mean over the classes that occur in it. Voxel weights do not count.

    Milletari, Navab, Ahmadi (2016), https://arxiv.org/abs/1606.04797, section 3, without squares.
    """

    name: Literal["dice"] = "dice"
    counts_weights: ClassVar[bool] = False
    classes: AveragedClasses = "foreground"
    """Whether the background is one of the classes that are averaged; overlapping classes and those with
    `background: false` have none."""

    def build(self, classes: Classes) -> TermFunction:
        """A function of voxels; defined for all classes."""

        def term(voxels: Voxels) -> Tensor:
            return dice_loss(*overlap_sums(voxels, classes, self.classes))

        return term


class WeightedDice(LossTerm):
    """One minus the mean over all classes, the background included, of their soft Dice times its weight.

    A class that is neither in the truth nor predicted has the Dice 1. Weights are not normalised, so that the least
    value is one minus their mean: 0.325 for the weights of Meyer et al. (2021), section 'Loss', which are 0.1, 0.7, 1.0
    and 0.9 for background, mitochondria, cell membrane and endoplasmic reticulum.
    https://github.com/Cyril-Meyer/NeNISt
    """

    name: Literal["weighted_dice"] = "weighted_dice"
    counts_weights: ClassVar[bool] = False
    class_weights: dict[str, NonNegativeFloat] = {}
    """Weight of each class by its name; classes left out have 1."""
    smooth: NonNegativeFloat = 1e-5
    """Added to both sides of the quotient."""

    def build(self, classes: Classes) -> TermFunction:
        """Raises: RecipeError: A weight is for an unknown class, or all are 0."""
        names = classes.names if classes.exclusive else classes.foreground
        factors = weights_of(self.class_weights, names, self.name)

        def term(voxels: Voxels) -> Tensor:
            shared, predicted, true = overlap_sums(voxels, classes, "all")
            dice = (2 * shared + self.smooth) / (predicted + true + self.smooth)
            return 1 - (dice * dice.new_tensor(factors)).mean()

        return term


class PrintedDice(LossTerm):
    """The Dice loss as the EM-stellar paper prints it, -(sum p t + d) / (sum p + sum t + d): without the factor 2.

    Its least value is about -0.5. For comparisons with the paper; `dice` is the loss that others mean by the name.
    Khadangi et al. (2021), https://doi.org/10.1093/bioinformatics/btaa1094
    """

    name: Literal["printed_dice"] = "printed_dice"
    counts_weights: ClassVar[bool] = False
    smooth: NonNegativeFloat = 1.0
    """d; the paper does not give it."""

    def build(self, classes: Classes) -> TermFunction:
        """A function of voxels; defined for all classes."""

        def term(voxels: Voxels) -> Tensor:
            shared, predicted, true = overlap_sums(voxels, classes, "foreground")
            return -((shared + self.smooth) / (predicted + true + self.smooth).clamp(min=EPS)).mean()

        return term


def weights_of(given: Mapping[str, float], names: tuple[str, ...], term: str) -> tuple[float, ...]:
    """The weight of each of `names`, 1 where none is given.

    Raises:
        RecipeError: One is given for an unknown class, or all are 0.
    """
    if unknown := sorted(set(given) - set(names)):
        raise RecipeError(
            f"loss term '{term}' has a weight for the class '{unknown[0]}'; the classes are {', '.join(names)}"
        )
    weights = tuple(given.get(name, 1.0) for name in names)
    if not any(weights):
        raise RecipeError(f"loss term '{term}' has the weight 0 for every class; give at least one class more")
    return weights


def dice_loss(shared: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
    """1 - 2 sum(p t) / (sum p + sum t), the mean over the classes that occur in the truth.

    A class of which the batch has no voxel would only add a constant, so it is left out.

    Args:
        shared: (K,) sums of p t.
        predicted: (K,) sums of p.
        true: (K,) sums of t.
    """
    occurs = true > 0
    losses = torch.where(occurs, 1 - 2 * shared / (predicted + true).clamp(min=EPS), 0.0)
    loss: Tensor = losses.sum() / occurs.sum().clamp(min=1)
    return loss
