"""How much members disagree about a voxel, and whether the ensemble errs there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cristae.errors import ScoreError
from cristae.evaluation.ensembles.member_maps import MapBlock, MemberMaps
from cristae.metrics.ensembling.selective_risk import DoubtCounts


def disagreement(probabilities: np.ndarray, weights: Sequence[int] | np.ndarray, *, softmax: bool) -> np.ndarray:
    """Mutual information of the label and the member: the entropy of the mean minus the mean of the entropies.

    Args:
        probabilities: (M, C, n) from 0 to 1; classes that add up to 1, or one of each overlapping or only class.
        weights: (M,) how often each member counts; at least two are above 0.
        softmax: Whether the C classes exclude each other.

    Returns:
        0, where all say the same, to 1: (1, n) of exclusive classes, else (C, n). The information is divided by the
        largest there can be, the logarithm of the number of labels (2 of a single mask) or of members, the smaller.

    References:
        Smith and Gal (2018), https://arxiv.org/abs/1803.08533, section 2.2; Lakshminarayanan et al. (2017),
        https://arxiv.org/abs/1612.01474
    """
    share = np.asarray(weights, np.float64)
    members, share = int((share > 0).sum()), share / share.sum()
    if members < 2:
        raise ScoreError("one member has nobody to disagree with")
    mean = np.tensordot(share, probabilities, 1)
    labels = probabilities.shape[1] if softmax else 2
    information = _entropy(mean, softmax) - np.tensordot(share, _entropy(probabilities, softmax), 1)
    found: np.ndarray = (information / np.log(min(labels, members))).clip(0, 1)
    return found


def _entropy(p: np.ndarray, softmax: bool) -> np.ndarray:
    """(..., C, n) to (..., 1, n) of exclusive classes, else (..., C, n), in nats."""
    from scipy.special import entr

    if softmax:
        return np.asarray(entr(p).sum(-2, keepdims=True))
    return np.asarray(entr(p) + entr(1 - p))


def count_doubts(maps: MemberMaps, weights: Sequence[int]) -> DoubtCounts:
    """Disagreement of the members and errors of their weighted average, over all voxels.

    Of overlapping classes each class's voxel counts by itself.

    Args:
        maps: What the members say.
        weights: (M,) how often each counts; those of 0 are left out.

    Raises:
        ScoreError: There are fewer than two members.
    """
    chosen = np.flatnonzero(weights)
    if len(chosen) < 2:
        raise ScoreError("one member has nobody to disagree with; choose an ensemble of at least two")
    total, softmax, counts = sum(weights), maps.classes.softmax, DoubtCounts.empty()
    kept = np.asarray(weights)[chosen]
    for block in maps.blocks():
        wrong = maps.labels(block.fused(weights), total) != block.truth
        counts += DoubtCounts.of(_doubt(block, chosen, kept, softmax).ravel(), wrong.ravel())
    return counts


def _doubt(block: MapBlock, chosen: np.ndarray, weights: np.ndarray, softmax: bool) -> np.ndarray:
    """(T, n); 8-bit probabilities of exclusive classes add up to 1 again."""
    p = block.maps[chosen].astype(np.float64)
    return disagreement(p / np.maximum(p.sum(1, keepdims=True), 1) if softmax else p / 255, weights, softmax=softmax)
