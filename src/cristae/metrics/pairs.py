"""Counting pairs of ids in machine code: runs of equal pairs at once, with tables of each thread's own."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cristae.compiled import compiled, usable_cores
from cristae.errors import ScoreError
from cristae.metrics.parallel import in_parallel

_PIECE = 1 << 17
"""Voxels taken at once, so that a copy of other type or order stays in the processor's cache."""
_SIDE = 1 << 10
"""Pairs of ids below this are counted in a dense table, all others in a hashed one."""
_ROOM = 1 << 10
"""Pairs that a hashed table has room for at first; a power of two."""

Index = tuple[int | slice, ...]
Columns = tuple[np.ndarray, np.ndarray, np.ndarray]


def count_pairs(truth: np.ndarray, prediction: np.ndarray, valid: np.ndarray | None) -> Columns:
    """Ids of truth and of prediction, and how many voxels have both: three int64 columns, pairs in no order.

    Args:
        truth: Integers of any shape.
        prediction: Integers of the same shape.
        valid: Same shape, 0 where a voxel does not count; None where all do.

    Raises:
        ScoreError: An id is negative or above 2^63 - 1.
    """
    pieces = list(_pieces(truth.shape))
    threads = min(usable_cores(), 1 + len(pieces) // 8)
    parts = [pieces[first::threads] for first in range(threads)]
    side = max(1, min(_SIDE, math.isqrt(truth.size // threads) // 2))  # filling tables must not outlast the counting
    tables = in_parallel(lambda part: _count(part, truth, prediction, valid, side), parts)
    dense = sum((dense for dense, _, _ in tables), np.zeros(side * side, np.int64))
    fullest = max(range(threads), key=lambda number: tables[number][2])
    _, table, used = tables[fullest]
    for number, (_, other, _) in enumerate(tables):
        if number != fullest:
            table, used = _merge(other, table, used)
    low, high = np.flatnonzero(dense), table[table[:, 2] > 0]
    return (
        np.concatenate([low // side, high[:, 0]]),
        np.concatenate([low % side, high[:, 1]]),
        np.concatenate([dense[low], high[:, 2]]),
    )


def _count(
    pieces: list[Index], truth: np.ndarray, prediction: np.ndarray, valid: np.ndarray | None, side: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """A dense and a hashed table of some pieces, and how many rows of the second are taken."""
    small = np.can_cast(truth.dtype, np.int32) and np.can_cast(prediction.dtype, np.int32)
    dense, table, used = np.zeros(side * side, np.int64), np.zeros((_ROOM, 3), np.int64), 0
    for piece in pieces:
        true, predicted = _line(truth[piece], small), _line(prediction[piece], small)
        if valid is not None:  # voxels that do not count are taken as background in both, and taken off again
            keep = (valid[piece] != 0).reshape(-1)
            true, predicted = true * keep, predicted * keep
            dense[0] -= keep.size - np.count_nonzero(keep)
        table, used, wrong = _add_runs(true, predicted, dense, side, table, used)
        if wrong >= 0:
            _refuse(truth[piece], prediction[piece], wrong)
    return dense, table, used


def _pieces(shape: tuple[int, ...]) -> Iterator[Index]:
    """Disjoint parts of at most `_PIECE` voxels that cover an array; the slowest axis is cut first."""
    size = int(np.prod(shape, dtype=np.int64))
    if size <= _PIECE:
        yield ()
    elif size // shape[0] > _PIECE:
        for place in range(shape[0]):
            for rest in _pieces(shape[1:]):
                yield (place, *rest)
    else:
        step = _PIECE * shape[0] // size
        for start in range(0, shape[0], step):
            yield (slice(start, start + step),)


def _line(ids: np.ndarray, small: bool) -> np.ndarray:
    """A flat copy (or view) as int32 or int64; unsigned ids beyond int64 turn negative."""
    if ids.dtype.kind == "u" and ids.dtype.itemsize == 8:
        return np.ascontiguousarray(ids, np.uint64).reshape(-1).view(np.int64)
    return np.ascontiguousarray(ids, np.int32 if small else np.int64).reshape(-1)


def _refuse(truth: np.ndarray, prediction: np.ndarray, place: np.int64) -> None:
    for what, ids in (("truth", truth), ("prediction", prediction)):
        found = int(ids.reshape(-1)[place])
        if not 0 <= found < 2**63:
            raise ScoreError(f"{what} holds {found}; ids of segments are 0 (background) to 2^63 - 1")


@compiled
def _add_runs(
    truth: np.ndarray, prediction: np.ndarray, dense: np.ndarray, side: int, table: np.ndarray, used: int
) -> tuple[np.ndarray, int, np.int64]:
    """Count a line of voxels; gives the hashed table, its taken rows and the place of a negative id, or -1."""
    one, size, i = np.uint64(1), np.uint64(truth.size), np.uint64(0)  # unsigned places need no look at their sign
    while i < size:
        true, predicted, begin = truth[i], prediction[i], i
        if true < 0 or predicted < 0:
            return table, used, np.int64(i)
        i += one
        while i < size and truth[i] == true and prediction[i] == predicted:
            i += one
        if true < side and predicted < side:
            dense[np.uint64(true * side + predicted)] += np.int64(i - begin)
        else:
            table, used = _add(table, used, np.int64(true), np.int64(predicted), np.int64(i - begin))
    return table, used, np.int64(-1)


@compiled
def _merge(source: np.ndarray, table: np.ndarray, used: int) -> tuple[np.ndarray, int]:
    """Add the rows of one table to another."""
    for row in range(len(source)):
        if source[row, 2] > 0:
            table, used = _add(table, used, source[row, 0], source[row, 1], source[row, 2])
    return table, used


@compiled
def _add(
    table: np.ndarray, used: int, truth: np.int64, prediction: np.int64, voxels: np.int64
) -> tuple[np.ndarray, int]:
    """Add voxels to a pair's row; a table that is half full moves to one four times as large."""
    row = _row(table, truth, prediction)
    if table[row, 2] == 0:
        if 2 * used >= len(table):
            larger = np.zeros((4 * len(table), 3), np.int64)
            for old in range(len(table)):
                if table[old, 2] > 0:
                    larger[_row(larger, table[old, 0], table[old, 1])] = table[old]
            table = larger
            row = _row(table, truth, prediction)
        table[row, 0], table[row, 1] = truth, prediction
        used += 1
    table[row, 2] += voxels
    return table, used


@compiled
def _row(table: np.ndarray, truth: np.int64, prediction: np.int64) -> np.int64:
    """Where a pair stands, or the free row where it belongs: open addressing, next row on collision."""
    mixed = np.uint64(truth) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(prediction)
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    row = np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(len(table) - 1))
    while table[row, 2] != 0 and (table[row, 0] != truth or table[row, 1] != prediction):
        row = (row + 1) & (len(table) - 1)
    return row
