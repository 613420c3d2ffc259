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

Weight = Annotated[float, Field(ge=1e-6, le=1e6)]


class Rule(Config):
    """A weighted mean of one term for each member; rules differ in the terms and the weights."""

    def fuse(self, found: Iterable[tuple[int, Tensor]], *, softmax: bool, threshold: float) -> Tensor:
        """Combine members that predict the same classes.

        Args:
            found: For each member its place in the ensemble and its probabilities, float32 (K, Z, Y, X), which are
                overwritten. At least one.
            softmax: Whether the channels are background and classes that add up to 1.
            threshold: Of the recipe; only votes depend on it.

        Returns:
            float32 (K, Z, Y, X).
        """
        total: Tensor | None = None
        weights: float = 0
        for place, probabilities in found:
            term = self._term(place, probabilities, softmax, threshold)
            total = term if total is None else total.add_(term)
            weights += self.weight(place)
            del term, probabilities  # the next member is computed when this one's memory is free again
        assert total is not None, "an ensemble has members"
        return total if weights == 1 else total.div_(weights)

    def check(self, n_members: int) -> None:
        """Raise RunError when the rule does not suit an ensemble of this size."""

    def label_threshold(self, threshold: float) -> float:
        """The value above which a fused probability makes a voxel foreground, from the recipe's threshold."""
        return threshold

    def bytes_per_vox(self, *, softmax: bool) -> int:
        """Memory for each voxel of a block beyond the sum and the probabilities of one member."""
        return 0

    def _term(self, place: int, probabilities: Tensor, softmax: bool, threshold: float) -> Tensor:
        """What a member adds to the sum, in place of its probabilities."""
        return probabilities

    def weight(self, place: int) -> float:
        """How much a member counts."""
        return 1


class Average(Rule):
    """Mean of the members' probabilities."""

    name: Literal["average"] = "average"


class Majority(Rule):
    """Fraction of the members that vote for a class; the class with most votes wins.

    A member votes by its own labels: for its most probable class with softmax (of equals the lower id), else for each
    class whose probability is strictly above the recipe's threshold. Sigmoid classes need more than half of the votes,
    so that a tie is background; with softmax a tie goes to the lower id.
    """

    name: Literal["majority"] = "majority"

    def label_threshold(self, threshold: float) -> float:
        """More than half of the votes."""
        return 0.5

    def bytes_per_vox(self, *, softmax: bool) -> int:
        """The int64 index of the most probable class."""
        return 8 if softmax else 0

    def _term(self, place: int, probabilities: Tensor, softmax: bool, threshold: float) -> Tensor:
        if not softmax:
            return probabilities.gt_(threshold)
        best = probabilities.argmax(0, keepdim=True)
        return probabilities.zero_().scatter_(0, best, 1.0)


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

    def _term(self, place: int, probabilities: Tensor, softmax: bool, threshold: float) -> Tensor:
        return probabilities.mul_(self.weights[place])

    def weight(self, place: int) -> float:
        """As given."""
        return self.weights[place]


Fusion = Annotated[Average | Majority | Weighted, Field(discriminator="name")]
"""Any of the rules."""
