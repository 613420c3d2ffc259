"""What is kept of a tile of correlations: each value is looked at once, by several threads."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np

from cristae.compiled import compiled

BINS = 200
"""Of equal width between -1 and 1."""
_PARTS = 8
"""Runs of rows that threads take; their number never changes, so that sums do not depend on that of the threads."""


@dataclass(frozen=True, eq=False)
class TileSums:
    """What a tile adds."""

    histogram: np.ndarray
    """(BINS,) int64."""
    sums: np.ndarray
    """(2,) float64: of r, and of |r|."""
    best_of_rows: np.ndarray
    """(R,) float32: the largest |r| of each row; -1 where it has none."""
    best_of_columns: np.ndarray
    cells: np.ndarray
    """Sums of |r| over the cells of the picture that the tile touches."""


def reduce_tile(
    tile: np.ndarray,
    alive: tuple[np.ndarray, np.ndarray],
    cells: tuple[np.ndarray, np.ndarray],
    *,
    diagonal: bool,
    pool: Executor,
) -> TileSums:
    """Histogram, sums, largest values and cells of a tile.

    Args:
        tile: (R, C) float32 correlations; those beyond -1 and 1 by rounding are taken for these.
        alive: Which rows and columns have correlations.
        cells: The cell of the picture that each row and column is in, from 0, rising.
        diagonal: Whether rows and columns are the same channels: then each pair of two counts once.
        pool: Threads.
    """
    edges = np.linspace(0, len(tile), min(_PARTS, len(tile)) + 1).astype(int)
    work = partial(_reduce_part, tile, alive, cells, diagonal)
    parts = list(pool.map(work, edges[:-1], edges[1:]))
    columns = np.maximum.reduce([part.best_of_columns for part in parts])
    rows = np.concatenate([part.best_of_rows for part in parts])
    if diagonal:  # only half of the values were looked at
        rows = columns = np.maximum(rows, columns)
    return TileSums(
        np.sum([part.histogram for part in parts], axis=0),
        np.sum([part.sums for part in parts], axis=0),
        rows,
        columns,
        np.sum([part.cells for part in parts], axis=0),
    )


def _reduce_part(
    tile: np.ndarray,
    alive: tuple[np.ndarray, np.ndarray],
    cells: tuple[np.ndarray, np.ndarray],
    diagonal: bool,
    first: int,
    last: int,
) -> TileSums:
    part = TileSums(
        np.zeros(BINS, np.int64),
        np.zeros(2),
        np.full(last - first, -1, np.float32),
        np.full(tile.shape[1], -1, np.float32),
        np.zeros((int(cells[0][-1]) + 1, int(cells[1][-1]) + 1)),
    )
    found = part.histogram, part.sums, part.best_of_rows, part.best_of_columns, part.cells
    _look(tile, *alive, *cells, int(first), int(last), diagonal, *found)
    return part


@compiled
def _look(
    tile: np.ndarray,
    alive_rows: np.ndarray,
    alive_columns: np.ndarray,
    cell_of_row: np.ndarray,
    cell_of_column: np.ndarray,
    first: int,
    last: int,
    diagonal: bool,
    histogram: np.ndarray,
    sums: np.ndarray,
    best_of_rows: np.ndarray,
    best_of_columns: np.ndarray,
    cells: np.ndarray,
) -> None:
    for row in range(first, last):
        if not alive_rows[row]:
            continue
        best, total, sizes = np.float32(-1), 0.0, 0.0
        for column in range(row + 1 if diagonal else 0, tile.shape[1]):
            if not alive_columns[column]:
                continue
            value = min(max(tile[row, column], np.float32(-1)), np.float32(1))
            size = abs(value)
            histogram[min(int((np.float64(value) + 1) * (BINS / 2)), BINS - 1)] += 1
            total += value
            sizes += size
            best = max(best, size)
            best_of_columns[column] = max(best_of_columns[column], size)
            cells[cell_of_row[row], cell_of_column[column]] += size
        best_of_rows[row - first] = best
        sums[0] += total
        sums[1] += sizes
