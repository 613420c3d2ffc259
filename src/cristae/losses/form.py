"""The form of every loss: a config that builds a module, the weighted sum of its terms."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import torch
from pydantic import AfterValidator, Field, NonNegativeFloat
from torch import Tensor, nn

from cristae.config import Config
from cristae.data.classes import Classes
from cristae.losses.kernel_l2 import kernel_l2
from cristae.losses.term import LossTerm, SumOfTerms


def _not_all_zero(weights: tuple[float, ...]) -> tuple[float, ...]:
    if not any(weights):
        raise ValueError("are all 0: nothing would be learnt")
    return weights


AuxiliaryWeights = Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1), AfterValidator(_not_all_zero)]


class LossConfig(Config):
    """A loss in a recipe: a weighted sum of terms of the logits, plus penalties on the network's weights."""

    l2: NonNegativeFloat = 0.0
    """Factor of the sum of squared convolution kernels, which training adds to the loss. Fully connected layers,
    such as those of transformers, are not counted."""
    auxiliary_weights: AuxiliaryWeights | None = None
    """Factor of the loss of each output that the network has in training: the main output first, then its auxiliary
    outputs (deep supervision). 0 leaves an output out; null takes the network's own."""

    @abstractmethod
    def as_terms(self, classes: Classes) -> tuple[LossTerm, ...]:
        """The terms that it is the sum of, in this order, for these classes.

        Raises:
            RecipeError: The loss is not defined for these classes; names one that is.
        """

    def build(self, classes: Classes) -> nn.Module:
        """A module that is called as `loss(logits, target, valid, weight, further)` and returns a scalar.

        Its arguments:
            logits: (B, K, *S), K = `classes.n_logits`.
            target: uint8 or long; (B, *S) ids of exclusive classes, (B, K, *S) masks of overlapping ones.
            valid: bool (B, *S); where False, nothing has any influence, whatever stands there.
            weight: float (B, *S) or (B, K, *S), or None for 1; multiplies pixelwise terms.
            further: Further target channels by name, each float (B, C, *S): distances, boundaries, affinities, as the
                recipe's `targets` compute them. Optional; terms that need one read it from `Voxels.further`.

        Raises:
            RecipeError: A term is not defined for these classes; names one that is.
        """
        return SumOfTerms(self.as_terms(classes), classes)

    def penalty(self, network: nn.Module) -> Tensor:
        """A scalar that training adds to the loss for the size of the weights alone; 0 when there is none."""
        return self.l2 * kernel_l2(network) if self.l2 else torch.zeros(())
