"""Voxels by truth and probability, counted on the device where the probabilities are: what AUC-ROC is read from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

BINS = 4096
"""Of equal width in log-odds, ln(p / (1 - p)), between -16 and 16. So the order of probabilities near 0 and 1, where
those of trained networks lie, is kept as well as elsewhere: two that share a bin differ by less than a hundredth of
the odds. What lies outside, as far as float32 can tell it from 0 and 1 at all, is in the outermost bins."""
_REACH = 16.0
_AT_ONCE = 1 << 22


def rank_counts(truth: Tensor, probability: Tensor, valid: Tensor | None = None) -> np.ndarray:
    """Count voxels by truth and probability, for `metrics.ranking.auc_roc_of`.

    Voxels that share a bin count as equal there, which changes AUC-ROC by at most half the share of pairs of a
    foreground and a background voxel in one bin.

    Args:
        truth: bool, or 0 and 1, of any shape.
        probability: float of the same shape and device; NaN counts as 0.
        valid: bool of the same shape, False where a voxel does not count.

    Returns:
        (2, BINS) int64: background and foreground by rising probability.
    """
    total = torch.zeros(2 * BINS + 1, dtype=torch.int64, device=probability.device)
    flat = [None if one is None else one.reshape(-1) for one in (truth, probability, valid)]
    for first in range(0, probability.numel(), _AT_ONCE):
        true, value, keep = (None if one is None else one[first : first + _AT_ONCE] for one in flat)
        assert true is not None
        assert value is not None
        odds = torch.nan_to_num(torch.logit(value.float()), nan=-_REACH, posinf=_REACH, neginf=-_REACH)
        places = ((odds + _REACH) * (BINS / (2 * _REACH))).clamp_(0, BINS - 1).long()
        places += true.bool() * BINS
        if keep is not None:
            places.masked_fill_(~keep.bool(), 2 * BINS)
        total += torch.bincount(places, minlength=2 * BINS + 1)
    return total[: 2 * BINS].cpu().numpy().reshape(2, BINS)
