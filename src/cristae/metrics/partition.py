"""Partition scores: how well the pieces of a prediction are those of the truth, whatever their numbers.

The scores look at the voxels with a true segment; n is their number. t_i is the share of them in true segment i,
s_j that in predicted segment j, p_ij that in both. Each of the z voxels that the prediction leaves without a segment
(id 0: background or a border) is a segment of its own, of probability 1/n. With

    A = sum p_ij^2 + z/n^2        H(S,T) = - sum p_ij log p_ij + (z/n) log n
    T = sum t_i^2                 H(T)   = - sum t_i log t_i
    S = sum s_j^2 + z/n^2         H(S)   = - sum s_j log s_j   + (z/n) log n        I = H(S) + H(T) - H(S,T)

the scores are V_rand = A / (alpha S + (1 - alpha) T) and V_info = I / ((1 - alpha) H(S) + alpha H(T)); with alpha 0.5
both are the harmonic mean of a split part (A/T, I/H(S): falls when true objects are cut up) and a merge part (A/S,
I/H(T): falls when true objects are joined).

References:
    Arganda-Carreras et al. (2015), https://doi.org/10.3389/fnana.2015.00142, section "Metrics": V_rand and V_info
    Meila (2007), https://doi.org/10.1016/j.jmva.2006.11.013: variation of information
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cristae.errors import ScoreError
from cristae.metrics.contingency import Contingency
from cristae.metrics.ratio import ratio

Rules = Literal["project", "fiji"]
"""What happens where a score is undefined. `project`: it is NaN. `fiji`, as in the trainable-segmentation scores of
Fiji: without true objects it is 0, parts included, and V_info is 0 wherever an entropy is."""

SUMS = ("n", "A", "S", "T", "I", "H(S)", "H(T)")
"""What `partition_sums` gives, in this order; entropies in nats, all but n of proportions."""

_NO_ENTROPY = 1e-12
"""Entropies below are rounding errors of sums that are 0."""


@dataclass(frozen=True)
class Parts:
    """A partition score and what splits and merges of true objects do to it."""

    value: float
    split: float
    merge: float


@dataclass(frozen=True)
class AdaptedRand:
    """The adapted Rand error; `precision` and `recall` are of pairs of voxels that the prediction puts together."""

    error: float
    precision: float
    """Share of the pairs together in the prediction that are together in the truth: falls with merges."""
    recall: float
    """Share of the pairs together in the truth that are together in the prediction: falls with splits."""


def v_rand(overlaps: Contingency, *, alpha: float = 0.5, rules: Rules = "project") -> Parts:
    """Rand score of the voxels with a true segment; pairs of a voxel with itself count.

    Args:
        overlaps: Voxels shared by true and predicted segments.
        alpha: From 0 (the split part alone) to 1 (the merge part alone).
        rules: Without true objects the score is NaN (`project`) or 0 (`fiji`).

    Raises:
        ScoreError: `alpha` is out of range.

    Example:
        >>> v_rand(Contingency.of([1, 1, 2, 2], [1, 1, 1, 1]))
        Parts(value=0.6666666666666666, split=1.0, merge=0.5)
    """
    return Parts(*rand_parts(partition_sums(overlaps), alpha=alpha, rules=rules).tolist())


def v_info(overlaps: Contingency, *, alpha: float = 0.5, rules: Rules = "project") -> Parts:
    """Information score of the voxels with a true segment.

    Args:
        overlaps: Voxels shared by true and predicted segments.
        alpha: From 0 (the split part alone) to 1 (the merge part alone).
        rules: With one true object nothing can be merged: NaN (`project`) or 0 (`fiji`).

    Raises:
        ScoreError: `alpha` is out of range.
    """
    return Parts(*info_parts(partition_sums(overlaps), alpha=alpha, rules=rules).tolist())


def partition_sums(overlaps: Contingency, *, foreground: bool = True) -> np.ndarray:
    """The sums named by `SUMS`: float64 (7,), all of them 0 where no voxel counts.

    Args:
        overlaps: Voxels shared by true and predicted segments.
        foreground: True: only voxels with a true segment count, as in the formulas above. False: all voxels do, and
            id 0 is an ordinary segment in both maps.
    """
    inside = (overlaps.truth > 0) | (not foreground)
    truth, prediction = overlaps.truth[inside], overlaps.prediction[inside]
    voxels = overlaps.voxels[inside].astype(np.float64)
    n = float(voxels.sum())
    if n == 0:
        return np.zeros(len(SUMS))
    found = (prediction > 0) | (not foreground)
    alone = float(voxels[~found].sum()) / n  # z/n
    shared = voxels[found] / n
    true, predicted = _grouped(truth, voxels) / n, _grouped(prediction[found], voxels[found]) / n
    entropy_of_truth = _entropy(true)
    entropy_of_prediction = _entropy(predicted) + alone * math.log(n)
    joint = _entropy(shared) + alone * math.log(n)
    information = entropy_of_prediction + entropy_of_truth - joint
    squares = [float(np.square(shares).sum()) for shares in (shared, predicted, true)]
    entropies = [information, entropy_of_prediction, entropy_of_truth]
    entropies = [0.0 if value < _NO_ENTROPY else value for value in entropies]
    return np.array([n, squares[0] + alone / n, squares[1] + alone / n, squares[2], *entropies])


def rand_parts(sums: np.ndarray, *, alpha: float = 0.5, rules: Rules = "project") -> np.ndarray:
    """V_rand and its parts, (..., 3), of sums (..., 7)."""
    _require_share(alpha)
    n, a, s, t = (sums[..., place] for place in range(4))
    parts = np.stack([ratio(a, alpha * s + (1 - alpha) * t), ratio(a, t), ratio(a, s)], axis=-1)
    if rules == "fiji":
        parts[n == 0] = 0
    return parts


def info_parts(sums: np.ndarray, *, alpha: float = 0.5, rules: Rules = "project") -> np.ndarray:
    """V_info and its parts, (..., 3), of sums (..., 7)."""
    _require_share(alpha)
    n, information, predicted, true = (sums[..., place] for place in (0, 4, 5, 6))
    value = ratio(information, (1 - alpha) * predicted + alpha * true)
    parts = np.stack([value, ratio(information, predicted), ratio(information, true)], axis=-1)
    one_piece, one_object = (n > 0) & (predicted == 0) & (true > 0), (n > 0) & (true == 0)
    if rules == "fiji":
        parts[one_piece] = 0, 0, 1
        parts[one_object] = 0, 1, 0
        parts[n == 0] = 0
    else:
        parts[one_piece] = 0, 1, 0  # nothing can be split
        parts[one_object] = np.nan
    return parts


def variation_of_information(overlaps: Contingency, *, foreground: bool = False) -> Parts:
    """Variation of information, H(S|T) + H(T|S), in bits: 0 for equal partitions, without an upper limit of 1.

    Args:
        overlaps: Voxels shared by true and predicted segments.
        foreground: False: all voxels, background being an ordinary segment in both (VI). True: only voxels with a
            true segment, each that the prediction leaves without a segment being one of its own (VI_fg).

    Returns:
        The sum, H(S|T) as `split` (too many pieces) and H(T|S) as `merge` (too few); NaN where no voxel counts.

    Example:
        >>> variation_of_information(Contingency.of([1, 1, 2, 2], [1, 1, 1, 1]))
        Parts(value=1.0, split=0.0, merge=1.0)
    """
    n, _, _, _, information, predicted, true = partition_sums(overlaps, foreground=foreground).tolist()
    if n == 0:
        return Parts(math.nan, math.nan, math.nan)
    split, merge = (_bits(entropy - information) for entropy in (predicted, true))
    return Parts(split + merge, split, merge)


def adapted_rand_error(overlaps: Contingency) -> AdaptedRand:
    """1 - F of the pairs of distinct voxels that are together, among those with a true segment (SNEMI3D's error).

    Unlike in `v_rand`, predicted id 0 is one ordinary segment, and a voxel is not paired with itself. Scikit-image's
    `adapted_rand_error` gives the same error; its second value is `recall` here and its third `precision`. Without
    any pair to divide by a value is NaN.

    Example:
        >>> adapted_rand_error(Contingency.of([1, 1, 2, 2], [1, 1, 1, 1]))
        AdaptedRand(error=0.5, precision=0.3333333333333333, recall=1.0)
    """
    inside = overlaps.truth > 0
    voxels = overlaps.voxels[inside].astype(np.float64)
    shared = _pairs(voxels)
    true = _pairs(_grouped(overlaps.truth[inside], voxels))
    predicted = _pairs(_grouped(overlaps.prediction[inside], voxels))
    recall, precision = (shared / pairs if pairs else math.nan for pairs in (true, predicted))
    error = 1 - 2 * shared / (true + predicted) if true + predicted else math.nan
    return AdaptedRand(error, precision, recall)


def _grouped(ids: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Voxels of each id, by rising id."""
    _, group = np.unique(ids, return_inverse=True)
    return np.bincount(group, weights=voxels)


def _entropy(shares: np.ndarray) -> float:
    """Entropy in nats of shares above 0."""
    return -float((shares * np.log(shares)).sum())


def _pairs(voxels: np.ndarray) -> float:
    return float((voxels * (voxels - 1)).sum())


def _bits(nats: float) -> float:
    return 0.0 if nats < _NO_ENTROPY else nats / math.log(2)


def _require_share(alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise ScoreError(f"alpha weighs the merge part and lies between 0 and 1, got {alpha:g}")
