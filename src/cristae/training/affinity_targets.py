"""Object ids of moved patches turned into the affinities that a network learns."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from cristae.augment import Batch
from cristae.augment.batch import margin_zyx
from cristae.data.affinities import UNKNOWN_ID, Affinities


def with_affinities(batch: Batch, affinities: Affinities) -> Batch:
    """The batch with the masks of its classes in place of ids, and without the frame in which partners lie.

    A voxel counts where it did and all its partners are known. They lie at the offsets in the patch as it is now,
    turned or bent, for that is what the network sees.
    """
    masks, counts = affinities.compare(batch.target, batch.target != UNKNOWN_ID, frame=batch.frame)
    inner = (..., *(slice(around, -around or None) for around in batch.frame))
    valid: Tensor = batch.valid[inner] & counts
    return replace(
        batch,
        target=(torch.stack(masks, dim=1) & valid.unsqueeze(1)).byte(),
        valid=valid,
        weight=None if batch.weight is None else batch.weight[inner],
        boxes=tuple(box.grow([-around for around in margin_zyx(batch.frame)]) for box in batch.boxes),
        frame=(),
    )
