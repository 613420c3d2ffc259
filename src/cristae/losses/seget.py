"""The loss of SegET: binary cross-entropy, Jaccard distance and an L2 penalty on kernels.

Zhang et al. (2018), https://arxiv.org/abs/1811.11729
Where the paper is silent: means and sums run over the whole batch, the Jaccard distance is that of probabilities
(of raw logits it would leave 0 to 1), and the factor of the penalty is 1e-4.
"""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat

from cristae.data.classes import Classes
from cristae.errors import RecipeError
from cristae.losses.cross_entropy import BinaryCrossEntropy
from cristae.losses.form import LossConfig
from cristae.losses.jaccard_distance import JaccardDistance
from cristae.losses.term import LossTerm


class SegETLoss(LossConfig):
    """Binary cross-entropy + Jaccard distance + L2, for one foreground class or overlapping ones."""

    name: Literal["seget"] = "seget"
    l2: NonNegativeFloat = 1e-4
    """Factor of the sum of squared convolution kernels, which training adds to the loss. Fully connected layers,
    such as those of transformers, are not counted."""
    jaccard: Literal["batch", "sample"] = "batch"
    """Whether the Jaccard distance is that of the whole batch, or the mean of each sample's."""
    weights: Literal["cross_entropy", "both"] = "cross_entropy"
    """Whether voxel weights count in the cross-entropy alone, or in the sums of the Jaccard distance as well."""

    def as_terms(self, classes: Classes) -> tuple[LossTerm, ...]:
        """Both terms, with weight 1.

        Raises:
            RecipeError: There are several exclusive classes, which need a softmax.
        """
        if classes.softmax:
            raise RecipeError(
                f"loss 'seget' is for one foreground class or for overlapping classes, but these are "
                f"{len(classes.names)} exclusive ones; use 'cross_entropy_dice', or set classes.exclusive to false"
            )
        return BinaryCrossEntropy(), JaccardDistance(over=self.jaccard, voxel_weights=self.weights == "both")
