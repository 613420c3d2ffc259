"""One loss for all heads that a network has while training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cristae.errors import RecipeError


def with_heads(loss: nn.Module, own: Sequence[float], chosen: Sequence[float] | None = None) -> nn.Module:
    """A loss that also takes a tuple of logits: the sum of each head's loss, times its weight.

    Each head is compared with the truth at its own size. A coarser head's truth is the nearest voxel: for each coarse
    voxel the one that its centre lies in, and on the border between two, as for a factor of 2, the far one. Logits
    that are a plain tensor, which networks give when they are not training, have the loss as it is.

    Args:
        loss: Called as `loss(logits, target, valid, weight)`.
        own: The network's `head_weights`, main head first.
        chosen: Weights to use instead; None takes the network's.

    Returns:
        A module that is called as the loss is, with logits (B, K, *S) or a tuple of (B, K, *S_i).

    Raises:
        RecipeError: The weights that were chosen are more or fewer than the network has heads.
    """
    require_head_weights(own, chosen)
    return _LossOfHeads(loss, own if chosen is None else chosen)


def require_head_weights(own: Sequence[float], chosen: Sequence[float] | None) -> None:
    """Make sure that the weights that were chosen, if any, are as many as the network's own.

    Raises:
        RecipeError: They are not.
    """
    if chosen is not None and len(chosen) != len(own):
        heads = "one head" if len(own) == 1 else f"{len(own)} heads"
        raise RecipeError(
            f"loss.head_weights: {list(chosen)} does not fit, because the network has {heads} while training; "
            f"give as many weights, main head first, or null for its own, {list(own)}"
        )


class _LossOfHeads(nn.Module):
    def __init__(self, loss: nn.Module, weights: Sequence[float]) -> None:
        super().__init__()
        self.loss = loss
        self.weights = tuple(weights)

    def forward(
        self, logits: Tensor | tuple[Tensor, ...], target: Tensor, valid: Tensor, weight: Tensor | None
    ) -> Tensor:
        if isinstance(logits, Tensor):
            plain: Tensor = self.loss(logits, target, valid, weight)
            return plain
        if len(logits) != len(self.weights):
            raise RecipeError(
                f"the network gives {len(logits)} heads while training, but there are {len(self.weights)} "
                "loss.head_weights; give one weight for each head, main head first"
            )
        losses = [
            factor * self.loss(head, *(_at_size(truth, head.shape[2:]) for truth in (target, valid, weight)))
            for head, factor in zip(logits, self.weights, strict=True)
            if factor
        ]
        return torch.stack(losses).sum()


def _at_size(truth: Tensor | None, size: torch.Size) -> Tensor | None:
    """Truth (..., *T) at another `size` S of its last axes."""
    if truth is None:
        return None
    first = truth.ndim - len(size)
    for axis, side in enumerate(size, start=first):
        whole = truth.shape[axis]
        if whole != side:
            # Integers, because the centre (i + 1/2) * whole / side must not be rounded to a neighbour.
            nearest = (2 * torch.arange(side, device=truth.device) + 1) * whole // (2 * side)
            truth = truth.index_select(axis, nearest)
    return truth
