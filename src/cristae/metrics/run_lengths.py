"""Connected components in machine code, by runs of foreground voxels along x.

Runs are numbered in raster order and the smaller number is always the parent, so a component's root is the run that
holds its first voxel. Slabs of rows are worked on at the same time; their borders are joined afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cristae.compiled import compiled, usable_cores
from cristae.data.box import Triple
from cristae.errors import ScoreError
from cristae.metrics.parallel import in_parallel

_SLAB = 1 << 18
"""Voxels below which a slab is not worth a thread."""

Neighbours = tuple[Triple, ...]
"""Rows that touch a row and come before it: steps along z and y, and how far (0 or 1) runs may miss along x."""


@dataclass(frozen=True, eq=False)
class RunLengths:
    """The components of a mask (Z, Y, X) as runs."""

    shape: Triple
    starts: np.ndarray
    """(N,) int32, first x of each run."""
    stops: np.ndarray
    """(N,) int32, the x behind each run."""
    rows: np.ndarray
    """(Z * Y + 1,) int64, where the runs of each row begin."""
    ids: np.ndarray
    """(N,) int32, component of each run, from 1."""
    count: int
    """n, how many components there are."""

    def first_voxels(self) -> np.ndarray:
        """(n,) int64, place in raster order of the first voxel of each component; rising."""
        first = np.empty(self.count, np.int64)
        _find_first(self.rows, self.starts, self.ids, self.shape[2], first)
        return first

    def paint(self) -> np.ndarray:
        """The ids as int32 (Z, Y, X), 0 outside."""
        labels = np.empty(self.shape, np.int32)
        lines = labels.reshape(self.shape[0] * self.shape[1], self.shape[2])
        cuts = _cuts(len(lines), labels.size)
        in_parallel(lambda s: _paint(lines, self.rows, self.starts, self.stops, self.ids, *s), cuts)
        return labels


def find_runs(mask: np.ndarray, neighbours: Neighbours) -> RunLengths:
    """Runs and components of a contiguous mask.

    Args:
        mask: uint8 (Z, Y, X), foreground where it is not 0.
        neighbours: Which rows touch.

    Raises:
        ScoreError: There are 2^31 runs or more.
    """
    z, y, x = mask.shape
    lines, cuts = mask.reshape(z * y, x), _cuts(z * y, mask.size)
    rows = np.zeros(z * y + 1, np.int64)
    in_parallel(lambda slab: _count(lines, rows, *slab), cuts)
    np.cumsum(rows, out=rows)
    if rows[-1] >= 2**31:
        raise ScoreError(f"a mask of shape {mask.shape} has too many pieces to label at once; label it in blocks")
    starts, stops, parents = (np.empty(rows[-1], np.int32) for _ in range(3))
    ends, near = (starts, stops), np.array(neighbours, np.int64).reshape(-1, 3)
    in_parallel(lambda slab: _fill(lines, rows, starts, stops, parents, *slab), cuts)
    in_parallel(lambda slab: _join(rows, ends, parents, y, near, slab[0], *slab), cuts)
    reach = y + 1  # rows that touch rows of the slab before
    for begin, end in cuts[1:]:
        _join(rows, ends, parents, y, near, 0, begin, min(end, begin + reach))
    return RunLengths((z, y, x), starts, stops, rows, parents, _number(parents))


def _cuts(rows: int, voxels: int) -> list[tuple[int, int]]:
    """Slabs of rows, at least one."""
    number = max(1, min(usable_cores(), voxels // _SLAB, rows))
    places = [rows * part // number for part in range(number + 1)]
    return list(pairwise(places))


@compiled
def _count(lines: np.ndarray, rows: np.ndarray, begin: int, end: int) -> None:
    for row in range(begin, end):
        line, number = lines[row], 0
        for x in range(line.size - 1):
            number += (line[x] == 0) & (line[x + 1] != 0)
        rows[row + 1] = number + (line.size > 0 and line[0] != 0)


@compiled
def _fill(
    lines: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    parents: np.ndarray,
    begin: int,
    end: int,
) -> None:
    """Write the runs of some rows; each is its own parent."""
    one = np.uint64(1)  # unsigned places need no look at their sign
    for row in range(begin, end):
        line, x = lines[row], np.uint64(0)
        size = np.uint64(line.size)
        for run in range(rows[row], rows[row + 1]):
            while line[x] == 0:
                x += one
            starts[run] = x
            while x < size and line[x] != 0:
                x += one
            stops[run] = x
            parents[run] = run


@compiled
def _join(
    rows: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    parents: np.ndarray,
    height: int,
    near: np.ndarray,
    lowest: int,
    begin: int,
    end: int,
) -> None:
    """Join the runs of rows from `begin` to `end` with those they touch in earlier rows from `lowest` on."""
    starts, stops = ends
    one = np.uint64(1)
    for row in range(begin, end):
        y = row % height
        for n in range(len(near)):
            dy, miss = near[n, 1], near[n, 2]
            other = row + near[n, 0] * height + dy
            if other < lowest or y + dy < 0 or y + dy >= height:
                continue
            a, a_end = np.uint64(rows[row]), np.uint64(rows[row + 1])
            b, b_end = np.uint64(rows[other]), np.uint64(rows[other + 1])
            while a < a_end and b < b_end:
                a_stop, b_stop = stops[a], stops[b]
                if starts[a] < b_stop + miss and starts[b] < a_stop + miss:
                    _unite(parents, a, b)
                if a_stop < b_stop:
                    a += one
                else:
                    b += one


@compiled
def _unite(parents: np.ndarray, first: np.uint64, second: np.uint64) -> None:
    """Make two pieces one; the smaller root becomes the parent, and paths are spliced on the way (Rem's algorithm)."""
    while parents[first] != parents[second]:
        if parents[first] < parents[second]:
            first, second = second, first
        above = np.uint64(parents[first])
        if above == first:
            parents[first] = parents[second]
            return
        parents[first] = parents[second]
        first = above


@compiled
def _number(parents: np.ndarray) -> int:
    """Replace parents by ids 1..n in the order of the roots; gives n."""
    count = 0
    for run in range(len(parents)):
        if parents[run] == run:
            count += 1
            parents[run] = count
        else:
            parents[run] = parents[parents[run]]
    return count


@compiled
def _find_first(rows: np.ndarray, starts: np.ndarray, ids: np.ndarray, width: int, first: np.ndarray) -> None:
    """Ids first appear in rising order, so one pass finds the first voxel of each."""
    found = 0
    for row in range(len(rows) - 1):
        for run in range(rows[row], rows[row + 1]):
            if ids[run] > found:
                first[found] = row * width + starts[run]
                found += 1


@compiled
def _paint(
    lines: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    ids: np.ndarray,
    begin: int,
    end: int,
) -> None:
    one = np.uint64(1)
    for row in range(begin, end):
        line, x = lines[row], np.uint64(0)
        for run in range(rows[row], rows[row + 1]):
            start, stop, label = np.uint64(starts[run]), np.uint64(stops[run]), ids[run]
            while x < start:
                line[x] = 0
                x += one
            while x < stop:
                line[x] = label
                x += one
        line[np.int64(x) :] = 0
