"""Errors of probabilities as numbers: squared and absolute.

Khadangi et al. (2021), https://doi.org/10.1093/bioinformatics/btaa1094, in the public notebook.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from cristae.data.classes import Classes
from cristae.losses.cross_entropy import reduced
from cristae.losses.term import LossTerm, TermFunction
from cristae.losses.voxels import Voxels


class SquaredError(LossTerm):
    """Mean over valid voxels and classes of (p - t)^2, of a softmax the background included."""

    name: Literal["squared_error"] = "squared_error"

    def build(self, classes: Classes) -> TermFunction:
        """A function of voxels; defined for all classes."""
        return lambda voxels: _mean(voxels, _difference(voxels, classes).square())


class AbsoluteError(LossTerm):
    """Mean over valid voxels and classes of |p - t|, of a softmax the background included."""

    name: Literal["absolute_error"] = "absolute_error"

    def build(self, classes: Classes) -> TermFunction:
        """A function of voxels; defined for all classes."""
        return lambda voxels: _mean(voxels, _difference(voxels, classes).abs())


def _difference(voxels: Voxels, classes: Classes) -> Tensor:
    logits = voxels.logits
    probability = logits.softmax(dim=1) if classes.softmax else logits.sigmoid()
    return probability - voxels.target.to(probability.dtype)


def _mean(voxels: Voxels, errors: Tensor) -> Tensor:
    return reduced(errors, voxels.valid.expand_as(errors), voxels.weight, "mean")
