"""Losses that look at borders: the boundary loss, and a cross-entropy in which voxels near borders count more.

The boundary loss: Kervadec et al. (2019), https://arxiv.org/abs/1812.07032, section 2.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat
from torch import Tensor

from cristae.data.classes import Classes
from cristae.losses.cross_entropy import Reduction, suitable_cross_entropy
from cristae.losses.reduce import global_mean
from cristae.losses.term import LossTerm, TermFunction, class_regions
from cristae.losses.voxels import Voxels


class Boundary(LossTerm):
    """Mean over valid voxels and foreground classes of the probability times the signed distance to the true border.

    It grows with how far a wrong voxel is from the border, and is below 0 where everything is right. Add it to a loss
    of regions such as `dice`: the paper begins with a weight of 0.01. Voxel weights do not count.
    """

    name: Literal["boundary"] = "boundary"
    counts_weights: ClassVar[bool] = False
    reads: ClassVar[str | None] = "distances"

    def build(self, classes: Classes) -> TermFunction:
        """A function of voxels; defined for all classes."""

        def term(voxels: Voxels) -> Tensor:
            probability, _ = class_regions(voxels, classes, "foreground")
            product = probability * voxels.further["distances"] * voxels.valid
            return global_mean(product.sum(), voxels.valid.sum() * product.shape[1])

        return term


class BoundaryAware(LossTerm):
    """Cross-entropy in which voxels near a border between classes count `emphasis` times as much as others.

    Softmax or sigmoid, as the classes need. Voxel weights multiply it.
    """

    name: Literal["boundary_aware"] = "boundary_aware"
    reads: ClassVar[str | None] = "boundaries"
    emphasis: PositiveFloat = 5.0
    """The factor of voxels near a border; the target `boundaries` says how near."""
    reduction: Reduction = "mean"
    """Mean over valid voxels (and overlapping classes), or their sum."""

    def build(self, classes: Classes) -> TermFunction:
        """A function of voxels; defined for all classes."""
        cross_entropy = suitable_cross_entropy(classes, reduction=self.reduction).build(classes)

        def term(voxels: Voxels) -> Tensor:
            factors = 1 + (self.emphasis - 1) * voxels.further["boundaries"]
            return cross_entropy(voxels._replace(weight=factors if voxels.weight is None else factors * voxels.weight))

        return term
