"""Scores of instances: true and predicted segments matched one to one by their intersection over union (IoU).

Two segments may be matched where their IoU is strictly greater than a threshold. From 0.5 on no segment can then have
two partners (Kirillov et al. 2019, section 4.1); below, the matching with the most pairs is taken, and among those the
one with the largest sum of IoU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cristae.errors import ScoreError
from cristae.metrics.contingency import Contingency
from cristae.metrics.ratio import ratio

THRESHOLDS = tuple(step / 20 for step in range(10, 20))
"""IoU thresholds that AP is averaged over: 0.5, 0.55, ..., 0.95."""


@dataclass(frozen=True, eq=False)
class Matching:
    """Pairs of segments, at most one for each; rows sorted by true id."""

    truth: np.ndarray
    """(N,) int64 ids."""
    prediction: np.ndarray
    """(N,) int64 ids."""
    iou: np.ndarray
    """(N,) float64."""


@dataclass(frozen=True, eq=False)
class InstanceCounts:
    """Matched segments at several thresholds; counts of unrelated slices or volumes add with `+`."""

    thresholds: tuple[float, ...]
    """T thresholds of the IoU."""
    tp: np.ndarray
    """(T,) int64, matched pairs."""
    iou: np.ndarray
    """(T,) float64, sum of the IoU of matched pairs."""
    n_truth: int
    """True segments."""
    n_prediction: int
    """Predicted segments."""

    @classmethod
    def of(cls, overlaps: Contingency, thresholds: tuple[float, ...] = THRESHOLDS) -> InstanceCounts:
        """Match at each threshold, and count.

        Args:
            overlaps: Ids above 0 are segments, each of them wholly in this table: add the tables of all blocks before.
            thresholds: From 0, below 1.
        """
        found = [match_instances(overlaps, threshold).iou for threshold in thresholds]
        return cls(
            thresholds,
            np.array([len(iou) for iou in found], np.int64),
            np.array([iou.sum() for iou in found], np.float64),
            len(overlaps.truth_sizes()[0]),
            len(overlaps.prediction_sizes()[0]),
        )

    @property
    def fp(self) -> np.ndarray:
        """(T,) predicted segments without a partner."""
        left: np.ndarray = self.n_prediction - self.tp
        return left

    @property
    def fn(self) -> np.ndarray:
        """(T,) true segments without a partner."""
        left: np.ndarray = self.n_truth - self.tp
        return left

    def __add__(self, other: InstanceCounts) -> InstanceCounts:
        if self.thresholds != other.thresholds:
            raise ScoreError(f"counts at {self.thresholds} and at {other.thresholds} do not add up")
        return InstanceCounts(
            self.thresholds,
            self.tp + other.tp,
            self.iou + other.iou,
            self.n_truth + other.n_truth,
            self.n_prediction + other.n_prediction,
        )


def match_instances(overlaps: Contingency, threshold: float = 0.5) -> Matching:
    """Match true and predicted segments whose IoU is strictly greater than `threshold`.

    Raises:
        ScoreError: The threshold is not from 0 to below 1.

    Example:
        >>> found = match_instances(Contingency.of([1, 1, 1, 2, 2, 0], [7, 7, 0, 8, 0, 8]))
        >>> found.truth, found.prediction, found.iou.round(3)
        (array([1]), array([7]), array([0.667]))
    """
    if not 0 <= threshold < 1:
        raise ScoreError(f"an IoU threshold lies from 0 to below 1, got {threshold:g}")
    truth, prediction, iou = _ious(overlaps)
    above = iou > threshold
    truth, prediction, iou = truth[above], prediction[above], iou[above]
    if threshold < 0.5:
        best = _assign(truth, prediction, iou)
        truth, prediction, iou = truth[best], prediction[best], iou[best]
    return Matching(truth, prediction, iou)


def instance_ap(counts: InstanceCounts) -> np.ndarray:
    """(T,) AP of instances: TP / (TP + FP + FN) at each threshold; NaN where neither map has a segment.

    This is the score of the 2018 Data Science Bowl and of StarDist, not the ranked average precision of COCO: segments
    have no confidence. Its mean over `THRESHOLDS` is the plain mean of these values.

    References:
        Caicedo et al. (2019), https://doi.org/10.1038/s41592-019-0612-7
        Schmidt et al. (2018), https://doi.org/10.1007/978-3-030-00934-2_30
    """
    return ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def recognition_quality(counts: InstanceCounts) -> np.ndarray:
    """(T,) RQ, also called F1 of instances: 2 TP / (2 TP + FP + FN); NaN where neither map has a segment."""
    return ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def segmentation_quality(counts: InstanceCounts) -> np.ndarray:
    """(T,) SQ: mean IoU of the matched pairs; NaN without one."""
    return ratio(counts.iou, counts.tp)


def panoptic_quality(counts: InstanceCounts) -> np.ndarray:
    """(T,) PQ = SQ * RQ: sum of the IoU of matched pairs over TP + FP / 2 + FN / 2.

    The published score is that at 0.5. It is 0 where there are segments but no match, NaN where neither map has one.

    References:
        Kirillov et al. (2019), https://arxiv.org/abs/1801.00868
    """
    return ratio(2 * counts.iou, 2 * counts.tp + counts.fp + counts.fn)


def _ious(overlaps: Contingency) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True id, predicted id and IoU of each pair of segments that share a voxel."""
    inside = (overlaps.truth != 0) & (overlaps.prediction != 0)
    truth, prediction, shared = overlaps.truth[inside], overlaps.prediction[inside], overlaps.voxels[inside]
    true_ids, true_sizes = overlaps.truth_sizes()
    ids, sizes = overlaps.prediction_sizes()
    union = true_sizes[np.searchsorted(true_ids, truth)] + sizes[np.searchsorted(ids, prediction)] - shared
    return truth, prediction, shared / union


def _assign(truth: np.ndarray, prediction: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """Which of the allowed pairs are matched: groups of segments that compete are solved one by one."""
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(iou):
        return np.zeros(0, np.int64)
    true_ids, rows = np.unique(truth, return_inverse=True)
    ids, columns = np.unique(prediction, return_inverse=True)
    nodes = len(true_ids) + len(ids)
    graph = coo_array((np.ones(len(iou)), (rows, columns + len(true_ids))), shape=(nodes, nodes))
    group = connected_components(graph, directed=False)[1][rows]
    order = np.argsort(group, kind="stable")
    matched = []
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        _, r = np.unique(rows[members], return_inverse=True)
        _, c = np.unique(columns[members], return_inverse=True)
        gain, pair = np.zeros((r.max() + 1, c.max() + 1)), np.full((r.max() + 1, c.max() + 1), -1)
        gain[r, c] = min(gain.shape) + iou[members]  # one pair more weighs more than the IoU of all others
        pair[r, c] = members
        matched.append(pair[linear_sum_assignment(gain, maximize=True)])
    found = np.concatenate(matched)
    return np.sort(found[found >= 0])
