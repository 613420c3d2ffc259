"""Points of a volume kept in bricks, two bytes each, and the exact distance from each point to the nearest of others.

A point is a voxel. Points that lie close together share a brick: a box of at most 512 voxels, about as long in nm
along each axis, in which a point is its place (z, y, x in one uint16). Which bricks may hold the nearest point of a
brick's points follows from a tree of their centres; what remains is compared point by point. Squared distances are
formed from whole voxel offsets and always in the same way, so they are the same numbers however the points are
distributed over bricks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cristae.compiled import compiled
from cristae.data.box import Box, Triple
from cristae.data.image import VoxelSize

BRICK_BITS = 9
"""Binary logarithm of the most voxels in a brick. Fewer bricks to look at against fewer points in each: 8 and 9 are
quickest. A place has room for 16 bits."""
AT_ONCE = 4096
"""Bricks whose points are looked up together."""
PAIRS_AT_ONCE = 1 << 20
"""Pairs of a brick and a candidate that are looked at together, unless one brick alone has more."""
SLACK = 1 + 1e-9
"""Bounds of a search are wider by this fraction, far more than they may be rounded off by."""


@dataclass(frozen=True, eq=False)
class Bricks:
    """M points in N bricks, in voxels (z, y, x) of a volume. A brick with some 100 points of a surface
    takes 44 bytes beside the 2 of each point."""

    bits: Triple
    """Binary logarithms of a brick's edges in voxels."""
    corner: np.ndarray
    """(N, 3) int32 first voxel of each brick."""
    low: np.ndarray
    """(N, 3) int32 smallest coordinates of each brick's points."""
    high: np.ndarray
    """(N, 3) int32 largest coordinates, inclusive."""
    first: np.ndarray
    """(N + 1,) int64 where each brick's points begin in `places`."""
    places: np.ndarray
    """(M,) uint16 place of each point in its brick, z highest and x lowest."""

    @classmethod
    def of_mask(cls, mask: np.ndarray, box: Box, bits: Triple) -> Bricks:
        """The voxels of a mask (Z, Y, X) of bool that lies at `box`."""
        flat = np.flatnonzero(mask)
        rest, x = np.divmod(flat.astype(np.int32 if mask.size < 2**31 else np.int64), mask.shape[2])
        coordinates = (*np.divmod(rest, mask.shape[1]), x)
        grid = [-(-size >> bit) for size, bit in zip(mask.shape, bits, strict=True)]
        brick, place = np.zeros_like(x), np.zeros_like(x)
        for axis, (coordinate, bit) in enumerate(zip(coordinates, bits, strict=True)):
            brick = brick * grid[axis] + (coordinate >> bit)
            place = (place << bit) | (coordinate & ((1 << bit) - 1))
        order = np.argsort(brick, kind="stable")
        brick = brick[order]
        first = np.flatnonzero(np.diff(brick, prepend=-1))
        low, high = np.empty((2, len(first), 3), np.int32)
        for axis, coordinate in enumerate(coordinates):
            kept = coordinate[order]
            low[:, axis] = np.minimum.reduceat(kept, first) if len(first) else 0
            high[:, axis] = np.maximum.reduceat(kept, first) if len(first) else 0
        edges, start = np.array(bits), np.array(box.start, np.int32)
        corner = (low >> edges << edges).astype(np.int32) + start
        return cls(bits, corner, low + start, high + start, np.append(first, len(flat)), place[order].astype(np.uint16))

    @classmethod
    def joined(cls, parts: Sequence[Bricks], bits: Triple) -> Bricks:
        """All points of several parts, which have none in common."""
        parts = [part for part in parts if len(part)] or [cls.of_mask(np.zeros((1, 1, 1), bool), _ORIGIN, bits)]
        offsets = np.cumsum([0, *(len(part) for part in parts)])
        first = [part.first[:-1] + offset for part, offset in zip(parts, offsets, strict=False)]
        corner, low, high, places = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("corner", "low", "high", "places")
        )
        return cls(bits, corner, low, high, np.concatenate([*first, offsets[-1:]]), places)

    def __len__(self) -> int:
        """M, the number of points."""
        return len(self.places)

    def centres(self, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 3) middles of the boxes round each brick's points and (N,) their half diagonals, in nm."""
        half = (self.high - self.low) * size / 2
        return self.low * size + half, np.sqrt((half**2).sum(axis=1))


_ORIGIN = Box((0, 0, 0), (1, 1, 1))


def brick_bits(shape: Sequence[int], voxel_size_nm: Sequence[float]) -> Triple:
    """Edges of a brick, as binary logarithms, for a volume of this shape: about equally long in nm.

    Example:
        >>> brick_bits((100, 1000, 1000), (40.0, 5.0, 5.0)), brick_bits((1, 1000, 1000), (40.0, 5.0, 5.0))
        ((1, 4, 4), (0, 5, 4))
    """
    bits = [0, 0, 0]
    for _ in range(BRICK_BITS):
        free = [axis for axis in range(3) if 1 << bits[axis] < shape[axis]]
        if free:
            bits[min(free, key=lambda axis: voxel_size_nm[axis] * 2 ** bits[axis])] += 1
    return bits[0], bits[1], bits[2]


def nearest_squares(points: Bricks, others: Bricks, voxel_size_nm: VoxelSize) -> Iterator[np.ndarray]:
    """Squared distances in nm^2 from every one of `points` to the nearest of `others`, which are not empty.

    Yields:
        (m,) float64 of some bricks at a time, in the order of `points`.
    """
    from scipy.spatial import cKDTree

    size = np.array(voxel_size_nm, np.float64)
    centres, halves = points.centres(size)
    other_centres, other_halves = others.centres(size)
    tree = cKDTree(other_centres)
    for start in range(0, len(centres), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        near, which = tree.query(centres[part])
        reach = (near + 2 * halves[part] + other_halves[which] + other_halves.max()) * SLACK
        counts = tree.query_ball_point(centres[part], reach, return_length=True)
        for run in _runs(counts, PAIRS_AT_ONCE):
            found = tree.query_ball_point(centres[part][run], reach[run], return_sorted=False)
            candidates = np.concatenate([np.array(one, np.int64) for one in found])
            own = start + np.repeat(np.arange(run.start, run.stop), counts[run])
            bounds = _gaps(points, others, own, candidates, size)
            order = np.lexsort((bounds, own))
            begins = np.concatenate([[0], np.cumsum(counts[run], dtype=np.int64)])
            first, after = points.first[[start + run.start, start + run.stop]]
            squares = np.full(after - first, np.inf)
            where = start + run.start
            _search(_arrays(points), _arrays(others), where, begins, candidates[order], bounds[order], size, squares)
            yield squares


def _runs(counts: np.ndarray, limit: int) -> Iterator[slice]:
    """Cut `counts` into runs whose sum is at most `limit`; a larger one is a run of its own."""
    start, total = 0, 0
    for stop, count in enumerate(counts.tolist()):
        if total and total + count > limit:
            yield slice(start, stop)
            start, total = stop, 0
        total += count
    yield slice(start, len(counts))


def _gaps(points: Bricks, others: Bricks, own: np.ndarray, candidates: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Squared distances between the boxes round the points of bricks."""
    total = np.zeros(len(own))
    for axis in range(3):  # summed axis by axis, as the search sums, so that a bound never exceeds what it bounds
        before = others.low[candidates, axis] - points.high[own, axis]
        behind = points.low[own, axis] - others.high[candidates, axis]
        gap = np.maximum(np.maximum(before, behind), 0) * size[axis]
        total += gap * gap
    return total


def _arrays(bricks: Bricks) -> tuple[Any, ...]:
    _, y, x = bricks.bits
    return bricks.corner, bricks.low, bricks.high, bricks.first, bricks.places, y, x


@compiled
def _search(
    points: tuple[Any, ...],
    others: tuple[Any, ...],
    start: int,
    begins: np.ndarray,
    candidates: np.ndarray,
    bounds: np.ndarray,
    size: np.ndarray,
    squares: np.ndarray,
) -> None:
    """Fill `squares` for the points of `len(begins) - 1` bricks from brick `start` on.

    Args:
        points, others: Fields of `Bricks`, from `_arrays`.
        start: First brick.
        begins: (n + 1,) where each brick's candidates begin.
        candidates: Bricks of `others`, nearest first for each brick.
        bounds: Squared distance between the boxes of a brick and its candidate.
        size: (3,) edges of a voxel in nm.
        squares: Squared distances in nm^2, infinite at first.
    """
    corner, _, _, first, places, y_bits, x_bits = points
    their_corner, their_low, their_high, their_first, their_places, their_y_bits, their_x_bits = others
    y_mask, x_mask = (1 << their_y_bits) - 1, (1 << their_x_bits) - 1
    for b in range(len(begins) - 1):
        brick = start + b
        worst = np.inf
        for k in range(begins[b], begins[b + 1]):
            if bounds[k] >= worst:
                break
            other = candidates[k]
            worst = 0.0
            for p in range(first[brick], first[brick + 1]):
                best = squares[p - first[start]]
                place = np.int64(places[p])
                z = corner[brick, 0] + (place >> (y_bits + x_bits))
                y = corner[brick, 1] + ((place >> x_bits) & ((1 << y_bits) - 1))
                x = corner[brick, 2] + (place & ((1 << x_bits) - 1))
                dz = max(their_low[other, 0] - z, z - their_high[other, 0], 0) * size[0]
                dy = max(their_low[other, 1] - y, y - their_high[other, 1], 0) * size[1]
                dx = max(their_low[other, 2] - x, x - their_high[other, 2], 0) * size[2]
                if dz * dz + dy * dy + dx * dx < best:
                    z, y, x = z - their_corner[other, 0], y - their_corner[other, 1], x - their_corner[other, 2]
                    for t in range(their_first[other], their_first[other + 1]):
                        place = np.int64(their_places[t])
                        dz = (z - (place >> (their_y_bits + their_x_bits))) * size[0]
                        dy = (y - ((place >> their_x_bits) & y_mask)) * size[1]
                        dx = (x - (place & x_mask)) * size[2]
                        best = min(best, dz * dz + dy * dy + dx * dx)
                    squares[p - first[start]] = best
                worst = max(worst, best)
