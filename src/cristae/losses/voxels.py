"""The voxels that count: logits and truth in one layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Voxels(NamedTuple):
    """Logits and truth in one layout; logits, weight and further targets are 0 where nothing is valid, so that they
    stay finite."""

    logits: Tensor
    """(B, K, *S) float32, or float64 if the network's were."""
    target: Tensor
    """bool (B, K, *S): the masks of the classes that have a logit; anything where nothing is valid."""
    valid: Tensor
    """bool (B, 1, *S)."""
    weight: Tensor | None
    """(B, 1, *S) or (B, K, *S), in the type of the logits."""
    further: Mapping[str, Tensor] = {}
    """Further target channels (B, C, *S) by name, in the type of the logits."""


def align(
    logits: Tensor, target: Tensor, valid: Tensor, weight: Tensor | None, further: Mapping[str, Tensor] | None = None
) -> Voxels:
    """Bring the arguments of a loss into one layout and blank out what is not valid.

    Blanking comes first, so that even NaN in logits, or ids of no class, do not matter where nothing is valid.
    """
    valid = valid.unsqueeze(1)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    logits = torch.where(valid, logits, 0.0)
    if weight is not None:
        weight = weight if weight.ndim == logits.ndim else weight.unsqueeze(1)
        weight = torch.where(valid, weight, 0.0).to(logits.dtype)
    channels = {name: torch.where(valid, one, 0.0).to(logits.dtype) for name, one in (further or {}).items()}
    return Voxels(logits, _masks(target, logits.shape[1], logits.ndim), valid, weight, channels)


def _masks(target: Tensor, n_logits: int, ndim: int) -> Tensor:
    if target.ndim == ndim:
        return target != 0
    if n_logits == 1:
        return (target != 0).unsqueeze(1)
    ids = torch.arange(n_logits, device=target.device).view(1, -1, *[1] * (target.ndim - 1))
    return target.unsqueeze(1) == ids
