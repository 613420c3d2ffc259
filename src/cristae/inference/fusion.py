"""How the members of an ensemble are combined: the rule `predict.fusion` of a recipe.

A rule is a running reduction: it takes the members' probabilities one after the other, while a block is on the device,
and keeps one sum, so that memory does not grow with the number of members.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cristae.config import Config
from cristae.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

Found = Iterable[tuple[int, "Tensor"]]
"""Members that predict the same classes: the place of each in the ensemble, and its probabilities, float32
(K, Z, Y, X), which may be overwritten."""
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Rule(Config):
    """What all rules share."""

    def check(self, n_members: int) -> None:
        """Raise RunError when the rule does not suit an ensemble of this size."""

    def label_threshold(self, threshold: float) -> float:
        """The value above which a fused probability makes a voxel foreground, from the recipe's threshold."""
        return threshold

    def bytes_per_vox(self, *, softmax: bool) -> int:
        """Memory for each voxel of a block beyond the sum and the probabilities of one member."""
        return 0


class Average(Rule):
    """Mean of the members' probabilities."""

    name: Literal["average"] = "average"

    def fuse(self, found: Found, *, softmax: bool, threshold: float) -> Tensor:
        """Probabilities (K, Z, Y, X) of the ensemble.

        Args:
            found: At least one member's probabilities, taken one by one.
            softmax: Whether the channels are background and classes that add up to 1.
            threshold: Of the recipe; only votes depend on it.
        """
        return _mean(probabilities for _, probabilities in found)


class Majority(Rule):
    """Fraction of the members that vote for a class; the class with most votes wins.

    A member votes by its own labels: for its most probable class with softmax (of equals the lower id), else for each
    class whose probability is strictly above the recipe's threshold. Ties go to the background in sigmoid classes,
    which need more than half of the votes, and to the lower id in softmax classes.
    """

    name: Literal["majority"] = "majority"

    def fuse(self, found: Found, *, softmax: bool, threshold: float) -> Tensor:
        """Fractions of votes (K, Z, Y, X); arguments as in `Average.fuse`."""
        return _mean(_vote(probabilities, softmax, threshold) for _, probabilities in found)

    def label_threshold(self, threshold: float) -> float:
        """More than half of the votes."""
        return 0.5

    def bytes_per_vox(self, *, softmax: bool) -> int:
        """The int64 index of the most probable class."""
        return 8 if softmax else 0


class Weighted(Rule):
    """Mean of the members' probabilities with given weights."""

    name: Literal["weighted"] = "weighted"
    weights: Annotated[tuple[Weight, ...], Field(min_length=1)]
    """One for each run, in the order in which they are given to `predict`; only their ratios matter."""

    def check(self, n_members: int) -> None:
        """Raise RunError when there is not one weight for each member."""
        if len(self.weights) != n_members:
            raise RunError(
                f"predict.fusion.weights: there are {len(self.weights)} weights for {n_members} "
                f"run{'' if n_members == 1 else 's'}; give one for each run, in the order of the runs, or choose "
                "another rule"
            )

    def fuse(self, found: Found, *, softmax: bool, threshold: float) -> Tensor:
        """Weighted mean (K, Z, Y, X); arguments as in `Average.fuse`."""
        used: list[float] = []

        def weighted() -> Iterable[Tensor]:
            for place, probabilities in found:
                used.append(self.weights[place])
                yield probabilities.mul_(used[-1])

        total, _ = _sum(weighted())
        return total.div_(sum(used))


Fusion = Annotated[Average | Majority | Weighted, Field(discriminator="name")]
"""Any of the rules."""


def _vote(probabilities: Tensor, softmax: bool, threshold: float) -> Tensor:
    """1 for the classes that a member votes for and 0 for the others, in place."""
    if not softmax:
        return probabilities.gt_(threshold)
    best = probabilities.argmax(0, keepdim=True)
    return probabilities.zero_().scatter_(0, best, 1.0)


def _mean(terms: Iterable[Tensor]) -> Tensor:
    total, count = _sum(terms)
    return total if count == 1 else total.div_(count)


def _sum(terms: Iterable[Tensor]) -> tuple[Tensor, int]:
    """The sum, which overwrites the first term, and the number of terms."""
    total: Tensor | None = None
    count = 0
    for term in terms:
        total = term if total is None else total.add_(term)
        count += 1
        del term  # the next member's probabilities come while this one's memory is free again
    assert total is not None, "an ensemble has members"
    return total, count
