"""Which fold each unit of a cross-validation belongs to, so that classes are spread over all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_MOST_CUTS = 512
"""Places between which blocks are cut; of longer rows of units, so many at even distances."""
_NOT_TRAINED, _NOT_VALIDATED = 1e6, 1e3
"""What a class that a block leaves no training voxel of costs, and one that is not in it; a block that is empty or
twice as long as it should be costs 1."""


def cut_blocks(
    counts: np.ndarray,
    places: Sequence[int],
    blocks: int,
    *,
    guard: int = 0,
    elsewhere: np.ndarray | None = None,
    stratify: bool = True,
) -> tuple[int, ...]:
    """Cut units that follow each other into blocks of about the same length.

    Of all ways to cut, that one is taken in which the fewest classes would be lost to training, then the fewest would
    be missing in a block, then lengths differ least (dynamic programming).

    Args:
        counts: (n, K) voxels of each foreground class in each unit.
        places: Where each unit lies along the axis, ascending; gaps where nothing is labelled.
        blocks: How many, at most n.
        guard: Units that are so near to a block, or nearer, are not trained on either.
        elsewhere: (K,) voxels of each class in other volumes, which are trained on as well; None for none.
        stratify: Whether classes matter.

    Returns:
        The block of each unit, from 0, ascending.

    Example:
        >>> cut_blocks(np.array([[5], [0], [0], [0], [0], [5]]), range(6), 2)
        (0, 0, 0, 1, 1, 1)
        >>> cut_blocks(np.array([[5], [5], [0], [0], [0], [0]]), range(6), 2)
        (0, 1, 1, 1, 1, 1)
    """
    n = len(counts)
    cuts = np.unique(np.linspace(0, n, min(n, max(_MOST_CUTS, blocks)) + 1).round().astype(int))
    cost = _block_costs(np.asarray(counts), np.asarray(places), cuts, n / blocks, guard, elsewhere, stratify)
    best = np.full((blocks + 1, len(cuts)), np.inf)
    before = np.zeros((blocks + 1, len(cuts)), int)
    best[0, 0] = 0
    for block in range(1, blocks + 1):
        total = best[block - 1][:, None] + cost
        before[block], best[block] = total.argmin(axis=0), total.min(axis=0)
    ends, at = [], len(cuts) - 1
    for block in range(blocks, 0, -1):
        ends.append(int(cuts[at]))
        at = int(before[block, at])
    sides = [0, *reversed(ends)]
    return tuple(block for block in range(blocks) for _ in range(sides[block], sides[block + 1]))


def _block_costs(
    counts: np.ndarray,
    places: np.ndarray,
    cuts: np.ndarray,
    length: float,
    guard: int,
    elsewhere: np.ndarray | None,
    stratify: bool,
) -> np.ndarray:
    """(m, m) cost of a block from cut i to cut j; infinite where that is empty."""
    size = (cuts[None, :] - cuts[:, None]) / length
    cost = np.where(size > 0, np.square(size - 1), np.inf)
    if not stratify:
        return cost
    sums = np.concatenate([np.zeros((1, counts.shape[1])), np.cumsum(counts, axis=0)])
    known = sums[-1] > 0
    first, last = places[np.minimum(cuts, len(places) - 1)], places[np.maximum(cuts - 1, 0)]
    low = np.searchsorted(places, first - guard, side="left")
    high = np.searchsorted(places, last + guard, side="right")
    rest = sums[-1] if elsewhere is None else sums[-1] + elsewhere
    for entry in np.flatnonzero(known):
        one = sums[:, entry]
        cost += _NOT_VALIDATED * (one[cuts][None, :] == one[cuts][:, None])
        cost += _NOT_TRAINED * (rest[entry] - (one[high][None, :] - one[low][:, None]) <= 0)
    return cost


def deal(counts: np.ndarray, sizes: Sequence[int], folds: int, *, seed: int | None = None) -> tuple[int, ...]:
    """Deal units that belong nowhere in particular, the rarest class first.

    The unit with most of the class that the fewest units still have goes to the fold where the fewest units have it,
    of these to the one with the fewest voxels of it, then of all. No fold stays empty where there are enough units.

    Args:
        counts: (n, K) voxels of each foreground class in each unit; (n, 0) balances sizes alone.
        sizes: Voxels of each unit.
        folds: How many, at most n.
        seed: Takes the units with the rarest class in a random order; None takes the one with most of it first.

    Returns:
        The fold of each unit, from 0.

    References:
        Sechidis, Tsoumakas and Vlahavas (2011), On the stratification of multi-label data, algorithm 1,
        https://doi.org/10.1007/978-3-642-23808-6_10

    Example:
        >>> deal(np.array([[9, 0], [9, 0], [9, 4], [9, 4]]), [10, 10, 10, 10], 2)
        (0, 1, 0, 1)
    """
    n = len(counts)
    amounts = np.asarray(counts)
    there = amounts > 0
    left = list(range(n)) if seed is None else [int(unit) for unit in np.random.default_rng(seed).permutation(n)]
    found = np.full(n, -1)
    having, of_class = (np.zeros((folds, there.shape[1]), np.int64) for _ in range(2))
    voxels = np.zeros(folds, np.int64)
    while left:
        rest = there[left].sum(axis=0)
        rarest = [entry for entry in np.argsort(rest, kind="stable") if rest[entry]][:1]
        wanted = amounts[left, rarest[0]] if rarest else np.asarray(sizes)[left]
        unit = left.pop(int((wanted if seed is None else wanted > 0).argmax()))
        empty = [fold for fold in range(folds) if fold not in found]
        held = [(*having[fold, rarest], *of_class[fold, rarest], voxels[fold]) for fold in range(folds)]
        fold = min(empty if len(empty) > len(left) else range(folds), key=held.__getitem__)
        found[unit] = fold
        having[fold] += there[unit]
        of_class[fold] += amounts[unit]
        voxels[fold] += sizes[unit]
    return tuple(int(fold) for fold in found)
