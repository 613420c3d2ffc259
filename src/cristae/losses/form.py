"""The form of every loss: a config that builds a module, and the voxels that count."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, NamedTuple

import torch
from pydantic import AfterValidator, Field, NonNegativeFloat
from torch import Tensor, nn

from cristae.config import Config
from cristae.data.classes import Classes
from cristae.losses.kernel_l2 import kernel_l2


def _not_all_zero(weights: tuple[float, ...]) -> tuple[float, ...]:
    if not any(weights):
        raise ValueError("are all 0: nothing would be learnt")
    return weights


HeadWeights = Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1), AfterValidator(_not_all_zero)]


class LossConfig(Config):
    """What a recipe says about a loss. The classes come from the data."""

    l2: NonNegativeFloat = 0.0
    """Factor of the sum of squared convolution kernels, which training adds to the loss. Fully connected layers,
    such as those of transformers, are not counted."""
    head_weights: HeadWeights | None = None
    """Factor of the loss of each head that the network has while training, main head first; 0 leaves a head out.
    null takes the network's own."""

    @abstractmethod
    def build(self, classes: Classes) -> nn.Module:
        """A module that is called as `loss(logits, target, valid, weight)` and gives a scalar.

        Its arguments:
            logits: (B, K, *S), K = `classes.n_logits`.
            target: uint8 or long; (B, *S) ids of exclusive classes, (B, K, *S) masks of overlapping ones.
            valid: bool (B, *S); where False, nothing has any influence, whatever stands there.
            weight: float (B, *S) or (B, K, *S), or None for 1; multiplies pixelwise terms.
        """

    def penalty(self, network: nn.Module) -> Tensor:
        """A scalar that training adds to the loss for the size of the weights alone; 0 when there is none."""
        return self.l2 * kernel_l2(network) if self.l2 else torch.zeros(())


class Voxels(NamedTuple):
    """Logits and truth in one layout; logits and weight are 0 where nothing is valid, so that they stay finite."""

    logits: Tensor
    """(B, K, *S) float32, or float64 if the network's were."""
    target: Tensor
    """bool (B, K, *S): the masks of the classes that have a logit; anything where nothing is valid."""
    valid: Tensor
    """bool (B, 1, *S)."""
    weight: Tensor | None
    """(B, 1, *S) or (B, K, *S), in the type of the logits."""


def align(logits: Tensor, target: Tensor, valid: Tensor, weight: Tensor | None) -> Voxels:
    """Bring the arguments of a loss into one layout and blank out what is not valid.

    Blanking comes first, so that even NaN in logits, or ids of no class, do not matter where nothing is valid.
    """
    valid = valid.unsqueeze(1)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    logits = torch.where(valid, logits, 0.0)
    if weight is not None:
        weight = weight if weight.ndim == logits.ndim else weight.unsqueeze(1)
        weight = torch.where(valid, weight, 0.0).to(logits.dtype)
    return Voxels(logits, _masks(target, logits.shape[1], logits.ndim), valid, weight)


def _masks(target: Tensor, n_logits: int, ndim: int) -> Tensor:
    if target.ndim == ndim:
        return target != 0
    if n_logits == 1:
        return (target != 0).unsqueeze(1)
    ids = torch.arange(n_logits, device=target.device).view(1, -1, *[1] * (target.ndim - 1))
    return target.unsqueeze(1) == ids
