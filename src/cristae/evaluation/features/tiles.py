"""All correlations of all channels, a tile at a time: the map of them is never held.

A tile is a product of standardised channels, its rows of one block and its columns of one, so that it belongs to one
pair of blocks. Products are float32; a sample of them is compared with float64. With tiles of another size, or another
number of threads, correlations differ by the rounding of float32, which is below 1e-5, and a pair at the edge of a bin
may be counted in the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cristae.compiled import usable_cores
from cristae.evaluation.features.cover import Representative, greedy_cover
from cristae.evaluation.features.standard import Standard, standardise
from cristae.evaluation.features.store import FeatureStore
from cristae.evaluation.features.tile import BINS, TileSums, reduce_tile

TILE_ROWS = 2048
"""Channels along each side of a tile where memory does not ask for less."""
LEAST_ROWS = 64
PICTURE_CELLS = 600
"""About as many cells has a side of the picture of the whole map."""
_TERMS = 512
"""Products of pixels that are summed in one go."""
_CHECKED = 64
"""Channels whose correlations are computed in float64, too."""


@dataclass(frozen=True, eq=False)
class ChannelCorrelations:
    """What is known of the correlations of N channels in B blocks."""

    alive: np.ndarray
    """(N,) bool: channels that vary. The others have no correlations and are left out of everything."""
    histograms: np.ndarray
    """(B, B, BINS) int64: pairs of different channels by r, from -1 to 1."""
    sums: np.ndarray
    """(B, B, 2) float64: of r, and of |r|, over these pairs."""
    best: np.ndarray
    """(N, B) float32: the largest |r| of a channel with another one of each block; NaN where there is none."""
    kept: tuple[tuple[Representative, ...], ...]
    """Of each block: channels, counted in the block, to one of which each of its channels is close."""
    picture: np.ndarray
    """(M, M) float32: means of |r| over cells of channels; NaN where there are no pairs."""
    cell_starts: np.ndarray
    """(B + 1,) the first cell of each block, and M."""
    largest_error: float
    """Largest difference from float64 among the correlations that were computed twice."""

    @property
    def pairs(self) -> np.ndarray:
        """(B, B) how many pairs of different channels that vary there are."""
        count: np.ndarray = self.histograms.sum(axis=2)
        return count


def bytes_needed(rows: int, pixels: int, bounds: Sequence[int]) -> int:
    """Memory that `correlate_channels` takes: tiles, and what it keeps of each channel."""
    sizes = np.diff(bounds)
    kept = int((sizes * -(-sizes // 8)).sum()) + 4 * int(sizes.sum()) * len(sizes)
    tiles = 3 * rows * pixels * 4 + rows * rows * (4 + 4 + 2) + 256 * pixels * 24
    return kept + tiles + 6 * 8 * (PICTURE_CELLS + len(sizes)) ** 2  # the picture, its counts and indices


def correlate_channels(
    store: FeatureStore,
    bounds: Sequence[int],
    *,
    close: float,
    rows: int = TILE_ROWS,
    advance: Callable[[], None] = lambda: None,
) -> ChannelCorrelations:
    """Pearson correlations of all pairs of channels, over all pixels of all places, reduced tile by tile.

    Args:
        store: The features.
        bounds: (B + 1,) the first channel of each block, and N.
        close: |r| from which on a channel can stand for another of its block.
        rows: Channels along each side of a tile, a multiple of 8.
        advance: Called after each tile (see `count_tiles`).
    """
    assert rows % 8 == 0, "bits of a block are packed by eight"
    standard = standardise(store)
    reduced = _Reduced(standard.alive, bounds, close)
    with ThreadPoolExecutor(usable_cores()) as pool:
        for left, right, tile in _tiles(store, standard, list(_panels(bounds, rows))):
            reduced.add(left, right, tile, pool)
            advance()
    return reduced.result(_error(store, standard))


def count_tiles(bounds: Sequence[int], rows: int = TILE_ROWS) -> int:
    """How many tiles there are."""
    panels = sum(1 for _ in _panels(bounds, rows))
    return panels * (panels + 1) // 2


@dataclass(frozen=True)
class _Panel:
    """Channels of one block, which are rows or columns of tiles."""

    block: int
    first: int
    last: int


def _panels(bounds: Sequence[int], rows: int) -> Iterator[_Panel]:
    for block, (start, stop) in enumerate(pairwise(bounds)):
        for first in range(start, stop, rows):
            yield _Panel(block, first, min(first + rows, stop))


def _tiles(
    store: FeatureStore, standard: Standard, panels: Sequence[_Panel]
) -> Iterator[tuple[_Panel, _Panel, np.ndarray]]:
    """The tiles at the diagonal and on one side of it; each is gone when the next one is asked for."""
    for at, left in enumerate(panels):
        again = standard.rows(store, 0, left.first, left.last) if store.places == 1 else None
        for right in panels[at:]:
            tile: np.ndarray | None = None
            for place in range(store.places):
                a = standard.rows(store, place, left.first, left.last) if again is None else again
                b = a if right is left else standard.rows(store, place, right.first, right.last)
                tile = _products(a, b, tile)
            assert tile is not None, "there is a place"
            yield left, right, tile


def _products(a: np.ndarray, b: np.ndarray, total: np.ndarray | None = None) -> np.ndarray:
    """Products (R, C) of rows, added to those of other places; sums of few terms at a time round less."""
    for first in range(0, a.shape[1], _TERMS):
        some = slice(first, first + _TERMS)
        product = a[:, some] @ b[:, some].T
        total = product if total is None else np.add(total, product, out=total)
    assert total is not None, "there are pixels"
    return total


class _Reduced:
    """What tiles add up to."""

    def __init__(self, alive: np.ndarray, bounds: Sequence[int], close: float) -> None:
        blocks, channels = len(bounds) - 1, bounds[-1]
        self.alive, self.bounds, self.close = alive, bounds, close
        self.histograms = np.zeros((blocks, blocks, BINS), np.int64)
        self.sums = np.zeros((blocks, blocks, 2))
        self.best = np.full((channels, blocks), -1, np.float32)
        self.near = [np.zeros((stop - start, -(-(stop - start) // 8)), np.uint8) for start, stop in pairwise(bounds)]
        self.cell_of, self.cell_starts = _cells(bounds)
        self.cells = np.zeros((self.cell_starts[-1], self.cell_starts[-1]))

    def add(self, left: _Panel, right: _Panel, tile: np.ndarray, pool: ThreadPoolExecutor) -> None:
        """Add one tile."""
        rows, columns = slice(left.first, left.last), slice(right.first, right.last)
        cells = self.cell_of[rows] - self.cell_of[left.first], self.cell_of[columns] - self.cell_of[right.first]
        alive = self.alive[rows], self.alive[columns]
        found = reduce_tile(tile, alive, cells, diagonal=left == right, pool=pool)
        self._count(left, right, found)
        down, across = int(self.cell_of[left.first]), int(self.cell_of[right.first])
        self.cells[down : down + len(found.cells), across : across + found.cells.shape[1]] += found.cells
        if left.block == right.block:
            self._mark(left, right, tile)

    def _count(self, left: _Panel, right: _Panel, found: TileSums) -> None:
        places = {(left.block, right.block), (right.block, left.block)}  # one within a block
        for place in places:
            self.histograms[place] += found.histogram
            self.sums[place] += found.sums
        for panel, other, best in (
            (left, right.block, found.best_of_rows),
            (right, left.block, found.best_of_columns),
        ):
            known = self.best[panel.first : panel.last, other]
            np.maximum(known, best, out=known)

    def _mark(self, left: _Panel, right: _Panel, tile: np.ndarray) -> None:
        """Note which channels of a block are close to each other."""
        start, near = self.bounds[left.block], self.near[left.block]
        rows, columns = slice(left.first, left.last), slice(right.first, right.last)
        close = (tile >= self.close) | (tile <= -self.close)
        if left == right:
            np.fill_diagonal(close, True)
        close &= self.alive[rows, None] & self.alive[columns]
        for (one, other), marks in (((left, right), close), ((right, left), close.T)):
            packed = np.packbits(marks, axis=1, bitorder="little")
            begin = (other.first - start) // 8
            near[one.first - start : one.last - start, begin : begin + packed.shape[1]] |= packed

    def result(self, error: float) -> ChannelCorrelations:
        """When all tiles are there."""
        bounds = list(pairwise(self.bounds))
        kept = tuple(greedy_cover(near, self.alive[a:b]) for near, (a, b) in zip(self.near, bounds, strict=True))
        best = np.where(self.best < 0, np.float32(np.nan), self.best)
        return ChannelCorrelations(
            self.alive, self.histograms, self.sums, best, kept, self._picture(), self.cell_starts, error
        )

    def _picture(self) -> np.ndarray:
        counts = np.bincount(self.cell_of, weights=self.alive, minlength=len(self.cells))
        pairs = np.triu(np.outer(counts, counts))
        np.fill_diagonal(pairs, counts * (counts - 1) / 2)
        means = np.full(pairs.shape, np.nan, np.float32)
        np.divide(self.cells, pairs, out=means, where=pairs > 0, casting="same_kind")
        below = np.tril_indices(len(means), -1)
        means[below] = means.T[below]
        return means


def _cells(bounds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The cell of the picture that each channel is in, and the first one of each block; cells are of one block."""
    step = -(-bounds[-1] // PICTURE_CELLS)
    sizes = np.diff(bounds)
    starts = np.concatenate([[0], np.cumsum(-(-sizes // step))]).astype(int)
    inside = [start + np.arange(size) // step for start, size in zip(starts, sizes, strict=False)]
    return np.concatenate(inside).astype(np.int64), starts


def _error(store: FeatureStore, standard: Standard) -> float:
    """Largest difference of products in float32 from `numpy.corrcoef` in float64, among some channels."""
    alive = np.flatnonzero(standard.alive)
    if len(alive) < 2:
        return 0.0
    some = alive[np.unique(np.linspace(0, len(alive) - 1, _CHECKED).round().astype(int))]
    found: np.ndarray | None = None
    exact = []
    for place in range(store.places):
        rows = np.concatenate([standard.rows(store, place, channel, channel + 1) for channel in some])
        found = _products(rows, rows, found)
        exact.append(np.concatenate([store.read(place, channel, channel + 1) for channel in some]))
    assert found is not None, "there is a place"
    correlations = np.corrcoef(np.concatenate(exact, axis=1).astype(np.float64))
    return float(np.abs(found - correlations).max())
