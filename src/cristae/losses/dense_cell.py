"""The loss of the 2D-3D networks for dense cells: weighted cross-entropy, and a penalty in three parts.

Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0
The weights of the main and the auxiliary output are those of the network. The paper's squared norms are half the sum
of squares here, as TensorFlow's are, and biases belong to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from pydantic import NonNegativeFloat
from torch import Tensor, nn

from cristae.data.classes import Classes
from cristae.losses.cross_entropy import Reduction, suitable_cross_entropy
from cristae.losses.form import LossConfig
from cristae.losses.term import LossTerm

Parameters = Sequence[nn.Parameter]


class DenseCellLoss(LossConfig):
    """Cross-entropy, added up over voxels and times their weight, + L2 with a factor for each part of the network."""

    name: Literal["dense_cell"] = "dense_cell"
    reduction: Reduction = "sum"
    """Whether the cross-entropy is the sum over the voxels of the batch, as in the paper, or their mean."""
    lambda_2d: NonNegativeFloat = 10**-4.7
    """Factor of half the squared weights and biases of the 2D part. A network without parts is all 2D: its
    convolutions and linear layers, without normalisation."""
    lambda_3d: NonNegativeFloat = 1e-5
    """Factor of half the squared weights and biases of the 3D part."""
    lambda_predictors: NonNegativeFloat = 1e-9
    """Factor of half the squared weights and biases of the layers that give logits, where a network has parts."""

    def as_terms(self, classes: Classes) -> tuple[LossTerm, ...]:
        """The cross-entropy alone."""
        return (suitable_cross_entropy(classes, reduction=self.reduction),)

    def penalty(self, network: nn.Module) -> Tensor:
        """Half the squared weights of each part, times its factor; `l2` comes on top."""
        parts = network.parameter_parts() if isinstance(network, InParts) else (_weights(network), (), ())
        factors = (self.lambda_2d, self.lambda_3d, self.lambda_predictors)
        total = super().penalty(network)
        for factor, part in zip(factors, parts, strict=True):
            if factor:
                total = sum((0.5 * factor * values.square().sum() for values in part), start=total)
        return total


@runtime_checkable
class InParts(Protocol):
    """A network that says which of its parameters are 2D, which are 3D and which belong to layers that give logits."""

    def parameter_parts(self) -> tuple[Parameters, Parameters, Parameters]:
        """All of its parameters, each once: 2D, 3D, predictors."""


def _weights(network: nn.Module) -> list[nn.Parameter]:
    layers = nn.modules.conv._ConvNd, nn.Linear
    return [values for module in network.modules() if isinstance(module, layers) for values in module.parameters()]
