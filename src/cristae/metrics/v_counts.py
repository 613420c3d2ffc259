"""Counting in machine code which labels of one plane share pixels, without copies of the plane."""

from __future__ import annotations

import numpy as np
from numba import njit

from cristae.metrics.overlaps import Overlaps
from cristae.metrics.pairs import _add

_START = 1 << 10  # rows of the first table; a power of two


def overlaps_of_plane(truth: np.ndarray, labels: np.ndarray, *, lowest: int = 1) -> Overlaps:
    """Pixels shared by true and predicted segments.

    Args:
        truth: (A, B) int32 ids, contiguous; negative where a pixel does not count.
        labels: (A + 2, B + 2) int32 in a frame, as in `thinning`; 0 and less is no segment.
        lowest: True ids below are left out: 1 counts inside true segments only, 0 everywhere.
    """
    table = _count(truth, labels, lowest, np.zeros((_START, 3), np.int64))
    rows = table[table[:, 2] > 0]
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    return Overlaps(rows[:, 0], rows[:, 1], rows[:, 2])


@njit(cache=True, nogil=True)
def _count(truth: np.ndarray, labels: np.ndarray, lowest: int, table: np.ndarray) -> np.ndarray:
    """The table of pairs, filled run by run."""
    used = 0
    for row in range(truth.shape[0]):
        trues, found = truth[row], labels[row + 1, 1:]
        begin = _first_from(trues, 0, lowest)
        while begin < trues.size:
            end = _end_of_run(trues, found, begin)
            table, used = _add(table, used, np.int64(trues[begin]), np.int64(max(found[begin], 0)), end - begin)
            begin = _first_from(trues, end, lowest)
    return table


# loops of their own, since the table that is replaced in the loop above would slow them down
@njit(cache=True, nogil=True)
def _first_from(truth: np.ndarray, begin: int, lowest: int) -> int:
    while begin < truth.size and truth[begin] < lowest:
        begin += 1
    return begin


@njit(cache=True, nogil=True)
def _end_of_run(truth: np.ndarray, labels: np.ndarray, begin: int) -> int:
    end = begin + 1
    while end < truth.size and truth[end] == truth[begin] and labels[end] == labels[begin]:
        end += 1
    return end
