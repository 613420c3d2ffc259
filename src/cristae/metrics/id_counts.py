"""The compiled loop under `Confusion`: a thousand million voxels take about a second."""

from __future__ import annotations

import numpy as np

from cristae.compiled import compiled


@compiled
def count_ids(rows: np.ndarray, columns: np.ndarray, valid: np.ndarray, n: int) -> np.ndarray:
    """(n + 1, n + 1) int64 counts of pairs; ids of n and above share the last row and column.

    Args:
        rows: uint8 ids.
        columns: uint8 ids, as many.
        valid: uint8, 0 where a pair does not count; empty when all do.
        n: Ids below this are counted one by one.
    """
    table = np.zeros((n + 1, n + 1), np.int64)
    every = valid.size == 0
    for i in range(rows.size):
        if every or valid[i] != 0:
            table[min(rows[i], n), min(columns[i], n)] += 1
    return table
