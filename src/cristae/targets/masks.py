"""The classes of a batch of labels as masks, in one layout for exclusive and overlapping ones."""

from __future__ import annotations

import torch
from torch import Tensor

from cristae.data.classes import Classes


def foreground_masks(target: Tensor, valid: Tensor, classes: Classes) -> Tensor:
    """Where each foreground class is: bool (B, F, *T) in the order of `classes.foreground`, nowhere outside `valid`.

    Args:
        target: uint8 ids (B, *T), or masks (B, F, *T) of overlapping classes.
        valid: bool (B, *T).
        classes: What the ids mean.
    """
    inside = valid.unsqueeze(1)
    if target.ndim > valid.ndim:
        return (target != 0) & inside
    ids = torch.tensor(classes.foreground_ids, dtype=target.dtype).to(target.device)
    return (target.unsqueeze(1) == ids.view(1, -1, *[1] * (target.ndim - 1))) & inside
