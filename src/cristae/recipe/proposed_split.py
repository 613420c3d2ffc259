"""A first split of what is labelled: each class on both sides, a gap between them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

_HELD = (0.2, 0.25, 0.3, 0.4, 0.5)
_GAP = 0.1
_LEAST = 0.02
"""Part of a class's voxels that a side should have of it."""


@dataclass(frozen=True)
class Split:
    """Places in the order of what is split, such as labelled slices."""

    train: tuple[int, ...]
    validate: tuple[int, ...]
    missing: tuple[int, ...]
    """Classes that are not on both sides."""


def split_in_order(counts: np.ndarray, numbers: Sequence[int], *, held: float = _HELD[0]) -> Split:
    """Split neighbours: one range is held out, the last one where that has every class, with a gap to the others.

    Args:
        counts: (places, classes) voxels of each class at each place; at least two places.
        numbers: Of the slices (or rows) that the places are; a gap is left between those that follow each other.
        held: Part to hold out where nothing speaks against it.

    Example:
        >>> split_in_order(np.array([[9]] * 7 + [[0]] * 3), range(10)).validate
        (0, 1)
    """
    places = len(counts)
    before = np.concatenate([np.zeros((1, counts.shape[1]), np.int64), np.cumsum(counts, axis=0)])
    total, best = before[-1], None
    for low, start, stop, high in _ranges(numbers, held):
        sides = np.stack([total - before[high] + before[low], before[stop] - before[start]])
        some, enough = sides > 0, sides > _LEAST * total
        score = (int(some[0].sum()), int(some[1].sum()), int(enough.all(axis=0).sum()))
        if best is None or score > best[0]:
            best = score, low, start, stop, high, some
        if score == (counts.shape[1],) * 3:
            break
    assert best is not None
    _, low, start, stop, high, some = best
    train = (*range(low), *range(high, places))
    return Split(train, tuple(range(start, stop)), tuple(np.flatnonzero(~some.all(axis=0)).tolist()))


def _ranges(numbers: Sequence[int], held: float) -> Iterator[tuple[int, int, int, int]]:
    """What may be held out, with the gap around it: (low, start, stop, high), counted in places.

    The end comes first, then the beginning, then what lies between, from the end on.
    """
    places = len(numbers)
    breaks = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(numbers)) if b != a + 1), places]
    gap = round(_GAP * places)
    for width in sorted({gap, min(gap, max(1, gap // 2))}, reverse=True):
        for part in (held, *(one for one in _HELD if one > held)):
            size = max(1, round(part * places))
            last = places - size
            for start in dict.fromkeys((last, 0, *range(last - 1, 0, -1))):
                stop = start + size
                low = max(start - width, breaks[bisect_right(breaks, start) - 1])
                high = min(stop + width, breaks[bisect_left(breaks, stop)])
                if low > 0 or high < places:
                    yield low, start, stop, high


def split_freely(counts: np.ndarray) -> Split:
    """Split unrelated images: the last ones are held out, and others where these lack a class.

    Args:
        counts: (images, classes) voxels of each class; at least two images.
    """
    has = counts > 0
    size = max(1, round(_HELD[0] * len(has)))
    chosen: list[int] = []
    for column in sorted(range(has.shape[1]), key=lambda column: (int(has[:, column].sum()), column)):
        if not has[chosen, column].any():
            chosen += _last_spare(np.flatnonzero(has[:, column]).tolist(), chosen, has)
    while len(chosen) < size and (more := _last_spare(range(len(has)), chosen, has)):
        chosen += more
    validate = sorted(chosen) or [len(has) - 1]
    train = [image for image in range(len(has)) if image not in validate]
    missing = ~(has[train].any(axis=0) & has[validate].any(axis=0))
    return Split(tuple(train), tuple(validate), tuple(np.flatnonzero(missing).tolist()))


def _last_spare(images: Sequence[int], chosen: Sequence[int], has: np.ndarray) -> list[int]:
    """The last of `images` without which training still has every class; empty when there is none."""
    for image in reversed(images):
        left = [other for other in range(len(has)) if other not in (*chosen, image)]
        if image not in chosen and left and (has[left].any(axis=0) == has.any(axis=0)).all():
            return [image]
    return []
