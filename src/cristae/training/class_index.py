"""How often each class occurs in a part, and a sample of the places where it does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes

INVALID = 255
"""Target value of voxels that do not count."""
MAX_PLACES = 20_000
"""Places remembered for each class of a part."""


def labelled(target: np.ndarray) -> np.ndarray:
    """bool (Z, Y, X): where the labels (K, Z, Y, X) of no class are INVALID."""
    counts: np.ndarray = target[0] != INVALID if len(target) == 1 else np.all(target != INVALID, axis=0)
    return counts


def count_classes(target: np.ndarray, classes: Classes) -> np.ndarray:
    """(K,) int64 voxels of each class, as a `ClassIndex` counts them, of targets (K, Z, Y, X)."""
    if classes.exclusive:
        found: np.ndarray = np.bincount(target.ravel(), minlength=INVALID + 1)[: len(classes.names)]
        return found
    ok, masks = labelled(target), target > 0
    return np.array([np.count_nonzero(where) for where in (ok & ~masks.any(axis=0), *(ok & masks))], np.int64)


class ClassIndex:
    """Counts classes and keeps, for each, the places with the smallest random keys: an even sample of them all."""

    def __init__(self, classes: Classes, once: Sequence[int] | None = None) -> None:
        """
        Args:
            classes: What labels mean.
            once: Where classes overlap, a voxel of several counts for the first of them in this order, which has all
                that are counted; None counts it for each.
        """
        self._exclusive, self._once = classes.exclusive, once
        n = len(classes.names) if classes.exclusive else len(classes.names) + 1
        self.counts = np.zeros(n, np.int64)
        self.n_invalid = 0
        self._kept: list[tuple[np.ndarray, np.ndarray]] = [
            (np.empty(0, np.float32), np.empty((0, 3), np.int32)) for _ in self.counts
        ]

    def add(self, target: np.ndarray, block: Box) -> None:
        """Count one block: target (K, Z, Y, X)."""
        ok = labelled(target)
        self.n_invalid += int(ok.size - np.count_nonzero(ok))
        rng = np.random.default_rng(block.start)
        ids = target[0] if self._exclusive else None if self._once is None else _first_of(target, self._once)
        for k in range(len(self.counts)):
            if ids is not None:
                where = ok & (ids == k)
            else:
                where = ok & (target[k - 1] > 0) if k else ok & ~np.any(target, axis=0)
            flat = np.flatnonzero(where)
            self.counts[k] += flat.size
            if flat.size:
                self._keep(k, flat, block, rng)

    def _keep(self, k: int, flat: np.ndarray, block: Box, rng: np.random.Generator) -> None:
        keys = rng.random(flat.size, dtype=np.float32)
        if flat.size > MAX_PLACES:
            chosen = np.argpartition(keys, MAX_PLACES)[:MAX_PLACES]
            flat, keys = flat[chosen], keys[chosen]
        where = np.stack(np.unravel_index(flat, block.shape), axis=1) + np.array(block.start)
        keys = np.concatenate([self._kept[k][0], keys])
        where = np.concatenate([self._kept[k][1], where.astype(np.int32)])
        order = np.argsort(keys, kind="stable")[:MAX_PLACES]
        self._kept[k] = (keys[order], where[order])

    def places(self) -> list[np.ndarray]:
        """(N, 3) places for each class, in random order, so that the first few are an even sample, too."""
        return [where for _, where in self._kept]


def _first_of(masks: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """(Z, Y, X): of the classes that each voxel is in, the first in `order`; 0 where it is in none of masks 1 to K."""
    first = np.zeros(masks.shape[1:], np.intp)
    for k in reversed(order):
        if k:
            first[masks[k - 1] > 0] = k
    return first
