"""Minus the logarithm of the soft Jaccard index.

Khadangi et al. (2021), https://doi.org/10.1093/bioinformatics/btaa1094, 'Jaccard log'; sums over the batch.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat
from torch import Tensor

from cristae.data.classes import Classes
from cristae.losses.term import AveragedClasses, LossTerm, TermFunction, overlap_sums
from cristae.losses.voxels import Voxels


class JaccardLog(LossTerm):
    """-ln((sum p t + d) / (sum p + sum t - sum p t + d)) over the batch, the mean over classes."""

    name: Literal["jaccard_log"] = "jaccard_log"
    counts_weights: ClassVar[bool] = False
    classes: AveragedClasses = "foreground"
    """Whether the background is one of the classes that are averaged; overlapping classes and those with
    `background: false` have none."""
    smooth: PositiveFloat = 1.0
    """d; the paper does not give it."""

    def build(self, classes: Classes) -> TermFunction:
        """A function of voxels; defined for all classes."""

        def term(voxels: Voxels) -> Tensor:
            shared, predicted, true = overlap_sums(voxels, classes, self.classes)
            logarithms = ((predicted + true - shared + self.smooth) / (shared + self.smooth)).log()
            mean: Tensor = logarithms.mean()
            return mean

        return term
