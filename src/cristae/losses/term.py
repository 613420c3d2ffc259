"""The form of every term of a loss, and their weighted sum."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cristae.config import Config
from cristae.data.classes import Classes
from cristae.errors import RecipeError
from cristae.losses.reduce import global_sum
from cristae.losses.voxels import Voxels, align

EPS = 1e-7
AveragedClasses = Literal["foreground", "all"]
TermFunction = Callable[[Voxels], Tensor]


class LossTerm(Config):
    """One term of a loss. A new term is one file with a subclass, and its name in the union of `losses/sum.py`."""

    weight: Annotated[float, Field(gt=0)] = 1.0
    """Factor of the term in the sum."""
    reads: ClassVar[str | None] = None
    """The further target that the term finds in `Voxels.further` by this name; recipes whose `targets` do not compute
    it are refused."""

    counts_weights: ClassVar[bool] = True
    """Whether voxel weights may count in it; recipes whose `targets` weigh for no term are refused."""

    @abstractmethod
    def build(self, classes: Classes) -> TermFunction:
        """A function of `Voxels`, which all terms of a loss share, that returns a scalar, `weight` not included.

        Sums and means run over the global batch: `losses.reduce`.

        Raises:
            RecipeError: The term is not defined for these classes; names one that is.
        """


class SumOfTerms(nn.Module):
    """Called as every loss is (see `LossConfig.build`): the terms times their weights, added in order."""

    def __init__(self, terms: Sequence[LossTerm], classes: Classes) -> None:
        super().__init__()
        self._terms = [(term.weight, term.build(classes)) for term in terms]

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        valid: Tensor,
        weight: Tensor | None,
        further: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        voxels = align(logits, target, valid, weight, further)
        (factor, function), *others = self._terms
        total = factor * function(voxels)
        for factor, function in others:
            total = total + factor * function(voxels)
        return total


def refuse_classes(term: str, classes: Classes, instead: str) -> RecipeError:
    """The error of a term that is not defined for these classes; `instead` names the term to use."""
    if classes.softmax:
        return RecipeError(
            f"loss term '{term}' needs one independent logit for each class (sigmoid), but these are "
            f"{len(classes.names)} exclusive classes (softmax); use '{instead}', or set classes.exclusive to false"
        )
    found = "one foreground class" if classes.exclusive else "overlapping classes"
    return RecipeError(
        f"loss term '{term}' needs several exclusive classes (softmax), but the data has {found} (sigmoid); use "
        f"'{instead}'"
    )


def class_regions(voxels: Voxels, classes: Classes, averaged: AveragedClasses) -> tuple[Tensor, Tensor]:
    """Probabilities and masks (B, K', *S) of the classes that an overlap averages.

    Args:
        voxels: Logits and truth.
        classes: Whether probabilities are a softmax.
        averaged: With or without the background of exclusive classes; overlapping classes and those with
            `background: false` have none, and are all averaged.
    """
    with_background = averaged == "all" and classes.exclusive
    if classes.softmax:
        first = 0 if with_background else classes.foreground_ids[0]
        return voxels.logits.softmax(dim=1)[:, first:], voxels.target[:, first:]
    probability, masks = voxels.logits.sigmoid(), voxels.target
    if with_background:
        return torch.cat([1 - probability, probability], dim=1), torch.cat([~masks, masks], dim=1)
    return probability, masks


def overlap_sums(voxels: Voxels, classes: Classes, averaged: AveragedClasses) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over all valid voxels of the global batch of p t, p and t, each (K',) for the classes of `class_regions`."""
    probability, masks = class_regions(voxels, classes, averaged)
    p, t = probability * voxels.valid, masks * voxels.valid
    shared, predicted, true = global_sum(torch.stack([sum_voxels(part).sum(0) for part in (p * t, p, t)]))
    return shared, predicted, true


def sum_voxels(values: Tensor) -> Tensor:
    """Sums (B, K) over the voxels of (B, K, *S)."""
    return values.flatten(2).sum(2)
