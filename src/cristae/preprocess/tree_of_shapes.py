"""The tree of shapes of a plane: the components of its upper and lower level sets with their holes filled, nested.

The plane is flooded from outside (Géraud, Carlinet, Crozet, Najman 2013, https://doi.org/10.1007/978-3-642-38294-9_9):
pixels are squares of one grey value; the sides between two pixels and the corners of four take all values between the
least and the greatest of those. The flood has a level. It enters what it touches and what takes this level, then goes
on at the nearest level that something it touches takes. What is entered in one go is a node of the tree. Afterwards a
union-find over the nodes, the last first, gives each its parent: the latest node flooded before it that touched the
part of the plane that was not flooded yet and in which it lies.

Only pixels wait, in one list for each grey value that occurs: corners beside an entered pixel or side take its level
and are entered at once, and a side that does not take the level yet takes it together with its nearer pixel. So the
grid of four elements for each pixel is not made, and time hardly depends on the type of the grey values.

Around the plane lies a frame of one pixel with the mean of the border's pixels. It is the root, whose shape is the
whole plane. The tree is that of Higra's `component_tree_tree_of_shapes_image2d`. Pixels that touch at a corner only are
apart, bright and dark ones alike, so the negative of a plane has the same shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cristae.compiled import compiled
from cristae.errors import VolumeError

_RIGHT, _BELOW, _CORNER = 1, 2, 4
"""Elements that belong to a pixel: the sides right of it and below it, and the corner between these."""
_MOST_PIXELS = 2**28
"""With the frame: links are counted in 32 bits, and a pixel may take eight of them."""
_DE_BRUIJN = 0x03F7_9D71_B4CB_0A89
_BIT = np.empty(64, np.int64)
"""Which bit a power of two is, at the place that the upper six bits of its product with the number above say."""
_BIT[[(_DE_BRUIJN << bit) % 2**64 >> 58 for bit in range(64)]] = np.arange(64)


@dataclass(frozen=True, eq=False)
class TreeOfShapes:
    """Shapes by their number: a parent's is smaller than its children's; 0 is the root, its own parent."""

    node: np.ndarray
    """int32 (Y, X): the smallest shape that each pixel lies in."""
    parent: np.ndarray
    """int32 (N,): the smallest shape around each; it may have the same level."""
    level: np.ndarray
    """(N,): grey value of each shape where no smaller one lies, in the plane's type; for the root rounded to it."""
    area_px: np.ndarray
    """int32 (N,): pixels of each shape, holes included."""


def tree_of_shapes(plane: np.ndarray) -> TreeOfShapes:
    """Make the tree of a plane.

    Args:
        plane: Grey values (Y, X), integers or floats.

    Raises:
        VolumeError: It is no plane, is empty or too large, or holds anything but finite real numbers.
    """
    _check(plane)
    levels, rank = _ranks(plane)
    n, width = rank.size, rank.shape[1]
    framed, level, starts, link = (np.empty(size, np.int32) for size in (n, n, n + 1, 8 * n))
    n_nodes = _flood(rank.ravel(), width, len(levels), framed, level, starts, link)
    node = np.ascontiguousarray(framed.reshape(rank.shape)[1:-1, 1:-1])
    parent, area = _join(n_nodes, node, framed, starts, link)
    return TreeOfShapes(node, parent, np.take(levels, level[:n_nodes]), area)


def border_mean(plane: np.ndarray) -> float:
    """Mean of the pixels along the border of a plane (Y, X).

    Floats are added in pairs from both ends of their order: flips, turns and the negative get exactly the same sum.
    """
    rows = plane[[0, -1]] if plane.shape[0] > 1 else plane
    columns = plane[1:-1, [0, -1]] if plane.shape[1] > 1 else plane[1:-1]
    border = np.sort(np.concatenate([rows.ravel(), columns.ravel()]).astype(np.float64))
    return float((border + border[::-1]).sum() / (2 * len(border)))


def check_size(shape: Sequence[int]) -> None:
    """Do nothing for a plane of this (y, x) shape that is not too large.

    Raises:
        VolumeError: It has more pixels than can be counted.
    """
    y, x = shape
    if (y + 2) * (x + 2) >= _MOST_PIXELS:
        raise VolumeError(f"a plane of {y} x {x} pixels is too large for its shapes to be counted; crop it first")


def _check(plane: np.ndarray) -> None:
    if plane.ndim != 2 or plane.size == 0:
        raise VolumeError(f"shapes are those of a plane (Y, X) with pixels, got shape {plane.shape}")
    check_size(plane.shape)
    if plane.dtype.kind not in "iuf":
        raise VolumeError(f"grey values of type {plane.dtype} have no shapes; convert them to integers or floats")
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        raise VolumeError("NaN or infinite grey values have no shapes; replace them before use")


def _ranks(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The grey values that occur, in order, and the place of each pixel's among them: int32 (Y + 2, X + 2).

    Each step on all pixels lets other threads run, which indexing by an array does not.
    """
    values, rank = _counted(plane) if plane.dtype in (np.uint8, np.uint16) else _sorted(plane)
    mean = border_mean(plane)
    place = int(np.searchsorted(values.astype(np.float64), mean))
    framed = np.full((plane.shape[0] + 2, plane.shape[1] + 2), place, np.int32)
    framed[1:-1, 1:-1] = rank
    if place == len(values) or values[place] != mean:
        framed[1:-1, 1:-1] += rank >= place
        rounded = np.asarray(mean if plane.dtype.kind == "f" else np.rint(mean)).astype(plane.dtype)
        values = np.concatenate([values[:place], [rounded], values[place:]])
    return values, framed


def _counted(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey values and ranks (Y, X) of small integers."""
    there = np.bincount(plane.ravel()) > 0
    return np.flatnonzero(there).astype(plane.dtype), np.take(np.cumsum(there, dtype=np.int32) - 1, plane)


def _sorted(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey values and ranks (Y, X) of other numbers."""
    order = np.argsort(plane, axis=None)
    ordered = np.take(plane, order)
    new = np.append(True, ordered[1:] != ordered[:-1])
    rank = np.empty(plane.shape, np.int32)
    _scatter(np.cumsum(new, dtype=np.int32) - 1, order, rank.ravel())
    return np.take(ordered, np.flatnonzero(new)), rank


@compiled
def _scatter(values: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
    for number, place in enumerate(places):
        out[place] = values[number]


@compiled
def _flood(
    rank: np.ndarray,
    width: int,
    n_levels: int,
    node: np.ndarray,
    level: np.ndarray,
    starts: np.ndarray,
    link: np.ndarray,
) -> int:
    """Flood everything from the frame. One long function: parts that share so many arrays make slow machine code.

    Args:
        rank: int32 (n,), the place of each pixel's grey value among all, with the frame.
        width: Pixels of a row, with the frame.
        n_levels: Grey values that occur.
        node: int32 (n,), becomes the node of each pixel.
        level: int32 (n,), becomes that of each node.
        starts: int32 (n + 1,), becomes where the links of each node begin.
        link: int32 (8 n,), becomes the pixels that each node touched and did not enter. A side gives at most two from
            its corners and two when it is entered.

    Returns:
        How many nodes there are.
    """
    n, n_words = len(rank), (n_levels >> 6) + 1
    entered = _nothing_entered(n, width)
    linked = np.full(n, -1, np.int32)  # the last node that touched a pixel
    first, following = np.full(n_levels, -1, np.int32), np.empty(n, np.int32)  # pixels that wait at each level
    words, sums = np.zeros(n_words, np.uint64), np.zeros((n_words >> 6) + 1, np.uint64)  # levels where any wait
    owners = np.array([[-width, -1, 0, 0], [0, 0, 1, width]])  # of the sides of a pixel, and of those at its corner
    sides = np.array([[_BELOW, _RIGHT, _RIGHT, _BELOW], [_RIGHT, _BELOW, _BELOW, _RIGHT]], np.uint8)
    entry = np.empty(2 * n, np.int32)  # a stack of entered pixels (even numbers) and corners (odd ones)
    node[:] = -1
    start = n_nodes = n_links = 0
    while start >= 0:
        here = rank[start]
        level[n_nodes], starts[n_nodes] = here, n_links
        node[start] = n_nodes
        entry[0], n_entries = 2 * start, 1
        while n_entries:
            n_entries -= 1
            item = entry[n_entries]
            for k in range(4):
                one, side = (item >> 1) + owners[item & 1, k], sides[item & 1, k]
                if entered[one] & side:
                    continue
                other, back = (one + 1, one - width) if side == _RIGHT else (one + width, one - 1)
                low, high = (one, other) if rank[one] < rank[other] else (other, one)
                if here < rank[low]:
                    high = low
                elif here > rank[high]:
                    low = high
                else:
                    entered[one] |= side
                    for corner in (one, back):
                        if not entered[corner] & _CORNER:
                            entered[corner] |= _CORNER
                            entry[n_entries] = 2 * corner + 1
                            n_entries += 1
                for pixel in (low, high):
                    own = rank[pixel]
                    if own == here:
                        if node[pixel] < 0:
                            node[pixel] = n_nodes
                            entry[n_entries] = 2 * pixel
                            n_entries += 1
                    elif linked[pixel] != n_nodes:
                        if linked[pixel] < 0:
                            following[pixel] = first[own]
                            first[own] = pixel
                            words[own >> 6] |= np.uint64(1) << np.uint64(own & 63)
                            sums[own >> 12] |= np.uint64(1) << np.uint64(own >> 6 & 63)
                        linked[pixel] = n_nodes
                        link[n_links] = pixel
                        n_links += 1
        n_nodes += 1
        start = _take(first, following, node, words, sums, here)
    starts[n_nodes] = n_links
    return n_nodes


@compiled
def _nothing_entered(n: int, width: int) -> np.ndarray:
    """No side or corner is entered but those beyond the frame, which belong to its last column and row.

    Those left of the first column belong to the last one, a row higher, and those above the first row have the
    negative numbers of the last one.
    """
    entered = np.zeros(n, np.uint8)
    entered[n - width :] = _RIGHT | _BELOW | _CORNER
    entered[width - 1 :: width] = _RIGHT | _BELOW | _CORNER
    return entered


@compiled
def _take(
    first: np.ndarray, following: np.ndarray, node: np.ndarray, words: np.ndarray, sums: np.ndarray, level: int
) -> int:
    """Take a pixel that waits at the nearest level from `level` upwards, or below where none does; -1 at the end."""
    level = _nearest(words, sums, level)
    while level >= 0:
        pixel = first[level]
        while pixel >= 0 and node[pixel] >= 0:  # entered meanwhile from elsewhere
            pixel = following[pixel]
        first[level] = following[pixel] if pixel >= 0 else -1
        if first[level] < 0:
            word = level >> 6
            words[word] &= ~(np.uint64(1) << np.uint64(level & 63))
            if words[word] == 0:
                sums[word >> 6] &= ~(np.uint64(1) << np.uint64(word & 63))
        if pixel >= 0:
            return int(pixel)
        level = _nearest(words, sums, level)
    return -1


@compiled
def _nearest(words: np.ndarray, sums: np.ndarray, level: int) -> int:
    """The first level from `level` upwards at which something waits, else the last one below; -1 where none does.

    Args:
        words: uint64, a bit for each level.
        sums: uint64, a bit for each word that is not 0.
        level: Where to start.
    """
    word = level >> 6
    found = _bit_from(words[word], level & 63)
    if found >= 0:
        return (word << 6) + found
    for place in range((word + 1) >> 6, len(sums)):
        found = _bit_from(sums[place], (word + 1) & 63 if place == (word + 1) >> 6 else 0)
        if found >= 0:
            word = (place << 6) + found
            return (word << 6) + _bit_from(words[word], 0)
    found = _bit_below(words[word], level & 63)
    if found >= 0:
        return (word << 6) + found
    for place in range(word >> 6, -1, -1):
        found = _bit_below(sums[place], word & 63 if place == word >> 6 else 64)
        if found >= 0:
            word = (place << 6) + found
            return (word << 6) + _bit_below(words[word], 64)
    return -1


@compiled
def _bit_from(word: np.uint64, bit: int) -> int:
    """The lowest bit of a uint64 from `bit` upwards, or -1."""
    rest = word >> np.uint64(bit) << np.uint64(bit)
    return _place(rest & (~rest + np.uint64(1))) if rest else -1


@compiled
def _bit_below(word: np.uint64, bit: int) -> int:
    """The highest bit of a uint64 below `bit`, or -1."""
    rest = word if bit == 64 else word & ((np.uint64(1) << np.uint64(bit)) - np.uint64(1))
    if not rest:
        return -1
    for shift in (1, 2, 4, 8, 16, 32):
        rest |= rest >> np.uint64(shift)
    return _place(rest - (rest >> np.uint64(1)))


@compiled
def _place(power: np.uint64) -> int:
    """Which bit a power of two is."""
    place: int = _BIT[power * np.uint64(_DE_BRUIJN) >> np.uint64(58)]
    return place


@compiled
def _join(
    n_nodes: int, node: np.ndarray, framed: np.ndarray, starts: np.ndarray, link: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Parents and areas: from the last node to the first, each becomes the parent of the tops of what it touched."""
    parent, top = np.arange(n_nodes).astype(np.int32), np.arange(n_nodes).astype(np.int32)
    area = np.zeros(n_nodes, np.int32)
    for one in node.ravel():
        area[one] += 1
    for one in range(n_nodes - 1, -1, -1):
        for place in range(starts[one], starts[one + 1]):
            below = framed[link[place]]
            while top[below] != below:
                top[below] = top[top[below]]
                below = top[below]
            if below != one:
                parent[below] = top[below] = one
                area[one] += area[below]
    return parent, area
