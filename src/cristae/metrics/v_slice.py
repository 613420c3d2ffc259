"""One slice at many thresholds: everything that V_rand, V_info and their kin are made of.

For each threshold truth and prediction are cut into foreground and background, their components with 4 neighbours are
the segments, and the prediction is counted twice: as it is, and with its borders thinned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import Literal

import numpy as np

from cristae.errors import ScoreError
from cristae.metrics.partition import (
    SUMS,
    adapted_rand_error,
    partition_sums,
    variation_of_information,
)

THRESHOLDS: tuple[float, ...] = tuple(accumulate(repeat(0.1, 10), initial=0.0))
"""Tenths by repeated addition: the sixth is exactly 0.5, the last a little less than 1, so that only 1 is above it."""
COLUMNS = (*SUMS, "true objects", "predicted objects")
"""What is kept of each slice, threshold and form."""
MAP_METRICS = ("VI", "VI_split", "VI_merge", "VI_fg", "adapted_rand_error")
"""What is kept of each slice at the fixed threshold; the first four in bits."""

Truth = Literal["grey", "mask", "instances"]
"""`grey`: a map, cut at the prediction's threshold. `mask`: foreground where not 0. `instances`: ids of segments."""


def plan_thresholds(*others: float) -> tuple[float, ...]:
    """The eleven thresholds and some others, rising."""
    return tuple(sorted({*THRESHOLDS, *others}))


@dataclass(frozen=True, eq=False)
class SliceV:
    """What one slice adds to a `VTable`. All values of proportions, entropies in nats."""

    z: int
    voxels: int
    """How many voxels count."""
    thin: np.ndarray
    """(K, 9) float64: `COLUMNS` at each threshold, borders thinned."""
    raw: np.ndarray
    """The same of the prediction's components as they are."""
    maps: np.ndarray
    """(5,) float64: `MAP_METRICS` of the components as they are, at the fixed threshold."""


def slice_v(
    truth: np.ndarray,
    prediction: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    z: int = 0,
    truth_is: Truth = "mask",
    thresholds: Sequence[float] = THRESHOLDS,
    fixed: float = 0.5,
    highest: Literal[1, 255] = 255,
) -> SliceV:
    """Score one slice at every threshold; segments are components with 4 neighbours.

    A voxel is foreground where its probability is strictly greater than the threshold. Integers are divided by 255 in
    32-bit and compared in 64-bit floats. Thresholds that cut the slice alike are computed once.

    Args:
        truth: (Y, X), as `truth_is` says.
        prediction: (Y, X) probabilities: integers 0 to 255, booleans, or floats 0 to 1.
        valid: (Y, X), 0 where the truth does not count; the prediction is thinned as a whole.
        z: Which slice it is.
        truth_is: What `truth` holds; integers of a grey map are divided by 255.
        thresholds: Rising, from 0 to 1.
        fixed: One of them.
        highest: The integer in `prediction` that is a probability of 1: 255, or 1 where the whole stack holds 0 and 1.

    Raises:
        ScoreError: Shapes differ, or probabilities, ids or thresholds are out of range.
    """
    _check(truth, prediction, valid, thresholds, fixed)
    # x first from here on, which is the order in which borders are thinned
    keep = np.ones(truth.shape[::-1], bool) if valid is None else np.ascontiguousarray((valid != 0).T)
    levels = _levels(prediction, thresholds, highest, "prediction")
    if truth_is == "grey":
        true_levels = _levels(truth, thresholds, 255, "truth") * keep
    else:
        true_levels = ((truth.T != 0) & keep) * np.uint8(len(thresholds))
    segments = _instances(truth, keep) if truth_is == "instances" else np.empty(0)
    thin, raw = np.empty((len(thresholds), len(COLUMNS))), np.empty((len(thresholds), len(COLUMNS)))
    before, maps = (-1, -1), np.empty(0)
    for place, cut in enumerate(
        zip(_foreground(true_levels, thresholds), _foreground(levels, thresholds), strict=True)
    ):
        if cut == before:
            thin[place], raw[place] = thin[place - 1], raw[place - 1]
        else:
            if cut[0] != before[0] and truth_is != "instances":
                segments = np.where(keep, _components(true_levels, place)[0][1:-1, 1:-1], np.int32(-1))
            thin[place], raw[place] = _score_cut(segments, levels, place)
            before = cut
        if thresholds[place] == fixed:
            maps = _map_values(segments, levels, place)
    return SliceV(z, int(np.count_nonzero(keep)), thin, raw, maps)


def _levels(probabilities: np.ndarray, thresholds: Sequence[float], highest: int, what: str) -> np.ndarray:
    """(X, Y) uint8, how many thresholds each probability of (Y, X) exceeds: it is foreground at the first so many."""
    columns = np.ascontiguousarray(probabilities.T)
    if columns.dtype.kind not in "buif":
        raise ScoreError(f"the {what} must hold probabilities, got {probabilities.dtype}")
    if columns.dtype == bool:
        columns, highest = columns.view(np.uint8), 1
    top = 1 if columns.dtype.kind == "f" else highest
    if columns.size and not (columns.min() >= 0 and columns.max() <= top):  # a NaN fails both
        raise ScoreError(
            f"the {what} holds {columns.min()} to {columns.max()}; probabilities are integers from 0 to {highest} or "
            "floats from 0 to 1"
        )
    edges = np.asarray(thresholds, np.float64)
    if columns.dtype.kind == "f":
        return np.searchsorted(edges, columns.astype(np.float64), side="left").astype(np.uint8)
    values = np.arange(highest + 1, dtype=np.float32) / np.float32(highest)
    table = (values.astype(np.float64)[:, None] > edges).sum(axis=1).astype(np.uint8)
    found: np.ndarray = table[columns]
    return found


def _foreground(levels: np.ndarray, thresholds: Sequence[float]) -> list[int]:
    """How many pixels are foreground at each threshold. Where two have as many, these are the same pixels."""
    counts = np.bincount(levels.reshape(-1), minlength=len(thresholds) + 1)
    return [int(n) for n in levels.size - np.cumsum(counts)[:-1]]


def _components(levels: np.ndarray, cut: int) -> tuple[np.ndarray, int]:
    """Framed labels (X + 2, Y + 2) of what is foreground at one threshold, and how many there are."""
    from cristae.metrics.thinning import frame, label_plane

    labels = frame(levels.shape)
    return labels, label_plane(levels, cut, labels)


def _instances(truth: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """(X, Y) int32 ids of true segments, 0 in the background, -1 where nothing counts."""
    if truth.dtype.kind not in "bui":
        raise ScoreError(f"the truth must hold ids of segments (integers), got {truth.dtype}")
    counted = np.where(keep, truth.T, np.zeros((), truth.dtype))
    if counted.size and counted.min() < 0:
        raise ScoreError(f"the truth holds {counted.min()}; ids of segments are 0 (background) and above")
    if counted.size and counted.max() > np.iinfo(np.int32).max:
        values, counted = np.unique(counted, return_inverse=True)
        counted = counted + (values[0] != 0)
    return np.where(keep, counted.astype(np.int32), np.int32(-1))


def _score_cut(truth: np.ndarray, levels: np.ndarray, cut: int) -> tuple[np.ndarray, np.ndarray]:
    """The `COLUMNS` of the thinned and of the raw prediction."""
    from cristae.metrics.thinning import grow_labels
    from cristae.metrics.v_counts import overlaps_of_plane

    labels, n = _components(levels, cut)
    raw = overlaps_of_plane(truth, labels)
    grow_labels(labels, n)
    thin = overlaps_of_plane(truth, labels)
    true = raw.truth_sizes()[0].size
    return np.append(partition_sums(thin), (true, max(n, 1))), np.append(partition_sums(raw), (true, n))


def _map_values(truth: np.ndarray, levels: np.ndarray, cut: int) -> np.ndarray:
    """`MAP_METRICS` of the components as they are."""
    from cristae.metrics.v_counts import overlaps_of_plane

    found = overlaps_of_plane(truth, _components(levels, cut)[0], lowest=0)
    everywhere, inside = variation_of_information(found), variation_of_information(found, foreground=True)
    return np.array(
        [everywhere.value, everywhere.split, everywhere.merge, inside.value, adapted_rand_error(found).error]
    )


def _check(
    truth: np.ndarray, prediction: np.ndarray, valid: np.ndarray | None, thresholds: Sequence[float], fixed: float
) -> None:
    for what, array in (("prediction", prediction), ("valid mask", valid)):
        if array is not None and (array.shape != truth.shape or array.ndim != 2):
            raise ScoreError(f"truth has shape {truth.shape}, {what} {array.shape}; expected one plane (Y, X)")
    if list(thresholds) != sorted(set(thresholds)) or not all(0 <= t <= 1 for t in thresholds):
        raise ScoreError(f"thresholds rise from 0 to 1, got {', '.join(map(str, thresholds))}")
    if fixed not in thresholds:
        raise ScoreError(f"the fixed threshold {fixed} is none of {', '.join(map(str, thresholds))}")
