"""Counting in machine code which labels of one plane share pixels, without copies of the plane."""

from __future__ import annotations

import numpy as np

from cristae.compiled import compiled
from cristae.metrics.contingency import Contingency

_START = 1 << 12  # rows of the first table; a power of two


def overlaps_of_plane(truth: np.ndarray, labels: np.ndarray, *, lowest: int = 1) -> Contingency:
    """Pixels shared by true and predicted segments.

    Args:
        truth: (A, B) int32 ids, contiguous; negative where a pixel does not count.
        labels: (A + 2, B + 2) int32 in a frame, as in `thinning`; 0 and less is no segment.
        lowest: True ids below are left out: 1 counts inside true segments only, 0 everywhere.
    """
    table = np.zeros((_START, 2), np.int64)
    while not _count(truth, labels, lowest, table):
        table = np.zeros((4 * len(table), 2), np.int64)
    rows = table[table[:, 1] > 0]
    rows = rows[np.argsort(rows[:, 0])]
    return Contingency(rows[:, 0] >> 32, rows[:, 0] & 0xFFFFFFFF, rows[:, 1])


@compiled
def _count(truth: np.ndarray, labels: np.ndarray, lowest: int, table: np.ndarray) -> bool:
    """Fill rows of (truth << 32 | prediction, pixels), run by run; False when the table is too small."""
    last, used = np.uint64(len(table) - 1), 0
    for line in range(truth.shape[0]):
        trues, found = truth[line], labels[line + 1, 1:]
        begin = _first_from(trues, 0, lowest)
        while begin < trues.size:
            end = _end_of_run(trues, found, begin)
            pair = np.int64(trues[begin]) << 32 | np.int64(max(found[begin], 0))
            mixed = np.uint64(pair) * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: the upper half is well mixed
            row = (mixed >> np.uint64(32)) & last
            while table[row, 1] != 0 and table[row, 0] != pair:
                row = (row + np.uint64(1)) & last
            if table[row, 1] == 0:
                used += 1
                if 2 * used > len(table):
                    return False
            table[row, 0] = pair
            table[row, 1] += end - begin
            begin = _first_from(trues, end, lowest)
    return True


@compiled
def _first_from(truth: np.ndarray, begin: int, lowest: int) -> int:
    while begin < truth.size and truth[begin] < lowest:
        begin += 1
    return begin


@compiled
def _end_of_run(truth: np.ndarray, labels: np.ndarray, begin: int) -> int:
    end = begin + 1
    while end < truth.size and truth[end] == truth[begin] and labels[end] == labels[begin]:
        end += 1
    return end
