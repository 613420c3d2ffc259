"""One loss for all outputs that a network has while training: the main one and auxiliary ones (deep supervision)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from cristae.errors import RecipeError


def with_auxiliary_outputs(loss: nn.Module, own: Sequence[float], chosen: Sequence[float] | None = None) -> nn.Module:
    """A loss that also takes a tuple of logits: the sum of each output's loss, times its weight.

    Each output is compared with the truth at its own size. The truth of a coarser output is the nearest voxel: for
    each coarse voxel the one that its centre lies in, and on the border between two, as for a factor of 2, the far
    one. Logits that are a plain tensor, which networks give when they are not training, have the loss as it is.

    Args:
        loss: Called as `loss(logits, target, valid, weight, further)`.
        own: The network's `auxiliary_weights`, main output first.
        chosen: Weights to use instead; None takes the network's.

    Returns:
        A module that is called as the loss is, with logits (B, K, *S) or a tuple of (B, K, *S_i).

    Raises:
        RecipeError: There are more or fewer chosen weights than the network has outputs.
    """
    require_auxiliary_weights(own, chosen)
    return _LossOfOutputs(loss, own if chosen is None else chosen)


def require_auxiliary_weights(own: Sequence[float], chosen: Sequence[float] | None) -> None:
    """Make sure that the chosen weights, if any, are as many as the network's own.

    Raises:
        RecipeError: They are not.
    """
    if chosen is not None and len(chosen) != len(own):
        outputs = "one output" if len(own) == 1 else f"{len(own)} outputs"
        raise RecipeError(
            f"loss.auxiliary_weights: {list(chosen)} does not fit, because the network has {outputs} while training; "
            f"give as many weights, main output first, or null for its own, {list(own)}"
        )


class _LossOfOutputs(nn.Module):
    def __init__(self, loss: nn.Module, weights: Sequence[float]) -> None:
        super().__init__()
        self.loss = loss
        self.weights = tuple(weights)

    def forward(
        self,
        logits: Tensor | tuple[Tensor, ...],
        target: Tensor,
        valid: Tensor,
        weight: Tensor | None,
        further: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        if isinstance(logits, Tensor):
            plain: Tensor = self.loss(logits, target, valid, weight, further)
            return plain
        if len(logits) != len(self.weights):
            raise RecipeError(
                f"the network gives {len(logits)} outputs while training, but there are {len(self.weights)} "
                "loss.auxiliary_weights; give one weight for each output, main output first"
            )
        losses = []
        for output, factor in zip(logits, self.weights, strict=True):
            if factor:
                size = output.shape[2:]
                coarse = (_at_size(truth, size) for truth in (target, valid, weight))
                channels = {name: _at_size(one, size) for name, one in (further or {}).items()}
                losses.append(factor * self.loss(output, *coarse, channels))
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
