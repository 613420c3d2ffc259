"""A loss that is written out in the recipe as a weighted sum of named terms."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cristae.data.classes import Classes
from cristae.errors import RecipeError
from cristae.losses.affinity import Affinity
from cristae.losses.boundary import Boundary, BoundaryAware
from cristae.losses.cl_dice import ClDice
from cristae.losses.cross_entropy import BinaryCrossEntropy, CrossEntropy
from cristae.losses.dice import Dice, PrintedDice, WeightedDice
from cristae.losses.error import AbsoluteError, SquaredError
from cristae.losses.focal import Focal
from cristae.losses.form import LossConfig
from cristae.losses.jaccard_distance import JaccardDistance
from cristae.losses.jaccard_log import JaccardLog
from cristae.losses.term import LossTerm
from cristae.losses.tversky import Tversky

Term = Annotated[
    AbsoluteError
    | Affinity
    | BinaryCrossEntropy
    | Boundary
    | BoundaryAware
    | ClDice
    | CrossEntropy
    | Dice
    | Focal
    | JaccardDistance
    | JaccardLog
    | PrintedDice
    | SquaredError
    | Tversky
    | WeightedDice,
    Field(discriminator="name"),
]
"""Any term, discriminated by `name`."""


class SumLoss(LossConfig):
    """A weighted sum of terms."""

    name: Literal["sum"] = "sum"
    terms: Annotated[tuple[Term, ...], Field(min_length=1)]
    """The terms, each with its `weight`; added in this order."""

    def as_terms(self, classes: Classes) -> tuple[LossTerm, ...]:
        """The terms as written.

        Raises:
            RecipeError: A term is not defined for these classes.
        """
        for number, term in enumerate(self.terms):
            try:
                term.build(classes)
            except RecipeError as error:
                raise RecipeError(f"terms.{number}: {error}") from None
        return self.terms
