"""Walking a forest's trees for many voxels at once, in machine code.

A node is one 64-bit number: the threshold in the upper half, then 24 bits of its first child's place in the tree (the
second child follows it) and 8 bits of the feature it asks about. Features and thresholds are compared as whole
numbers that are ordered as the floats they stand for. A leaf is its own child and its threshold is the largest number,
so voxels that have arrived stay. All voxels of a run take a step before any takes the next: their steps do not wait
for each other, which hides the time that memory takes.
"""

from __future__ import annotations

import numpy as np

from cristae.compiled import compiled

_RUN = 256
"""Voxels that walk together: their features fit in the fastest caches."""
_TOGETHER = 16
"""Steps that all voxels take, in a leaf or not; picking those that still walk pays off in deeper trees only."""


def as_ordered(values: np.ndarray) -> np.ndarray:
    """float32 values as int32 numbers in the same order; 0 stands for -0 too, NaN is not allowed."""
    bits = (np.ascontiguousarray(values, np.float32) + np.float32(0)).view(np.int32)
    return np.where(bits >= 0, bits, bits ^ np.int32(0x7FFFFFFF))


def pack(feature: np.ndarray, threshold: np.ndarray, child: np.ndarray) -> np.ndarray:
    """The nodes of a tree as 64-bit numbers.

    Args:
        feature: (N,) channel that a node asks about, below 256.
        threshold: (N,) float32; a voxel goes to the second child when its feature is above.
        child: (N,) place of the first child in the tree; a leaf's own place.
    """
    at_rest = np.where(child == np.arange(len(child)), np.int64(2**31 - 1), as_ordered(threshold).astype(np.int64))
    nodes: np.ndarray = at_rest << 32 | child.astype(np.int64) << 8 | feature.astype(np.int64)
    return nodes


def walk(
    features: np.ndarray,
    nodes: np.ndarray,
    starts: np.ndarray,
    depths: np.ndarray,
    leaves: np.ndarray,
    shares: np.ndarray,
) -> None:
    """Average the predictions of all trees.

    Args:
        features: float32 (F, N) of N voxels.
        nodes: int64 (M,), the nodes of all trees as `pack` gives them.
        starts: int64 (T + 1,), where the nodes of each tree begin and the last one's end.
        depths: int64 (T,), steps from each tree's root to its furthest leaf.
        leaves: float32 (M, K - 1), shares of all classes but the first at each node.
        shares: float32 (K, N), the result.
    """
    bits = np.ascontiguousarray(features, np.float32).view(np.int32)
    _walk(bits, nodes, starts, depths, leaves, shares, _RUN, _TOGETHER)


@compiled
def _walk(
    bits: np.ndarray,
    nodes: np.ndarray,
    starts: np.ndarray,
    depths: np.ndarray,
    leaves: np.ndarray,
    shares: np.ndarray,
    run: int,
    together: int,
) -> None:
    n_features, n_voxels = bits.shape
    n_classes, n_trees = shares.shape[0], len(depths)
    width = np.uint64(n_features)
    here = np.empty(run * n_features, np.int32)
    place = np.empty(run, np.uint32)
    walking = np.empty(run, np.uint32)
    for first in range(0, n_voxels, run):
        count = min(run, n_voxels - first)
        for f in range(n_features):
            for i in range(count):
                value = bits[f, first + i]
                here[i * n_features + f] = value if value >= 0 else value ^ np.int32(0x7FFFFFFF)
        shares[:, first : first + count] = 0
        for t in range(n_trees):
            tree = nodes[starts[t] : starts[t + 1]]
            answers = leaves[starts[t] : starts[t + 1]]
            place[:count] = 0
            for _ in range(min(depths[t], together)):
                for i in range(count):
                    node = tree[place[i]]
                    above = here[np.uint64(i) * width + np.uint64(node & 255)] > np.int32(node >> 32)
                    place[i] = np.uint32(((node >> 8) & 0xFFFFFF) + above)
            left = count if depths[t] > together else 0
            for i in range(left):
                walking[i] = i
            while left > 0:
                still = 0
                for n in range(left):
                    i = walking[n]
                    node = tree[place[i]]
                    above = here[np.uint64(i) * width + np.uint64(node & 255)] > np.int32(node >> 32)
                    follow = np.uint32(((node >> 8) & 0xFFFFFF) + above)
                    walking[still] = i
                    still += follow != place[i]
                    place[i] = follow
                left = still
            for k in range(1, n_classes):
                for i in range(count):
                    shares[k, first + i] += answers[place[i], k - 1]
        for i in range(first, first + count):
            rest = np.float32(0)
            for k in range(1, n_classes):
                shares[k, i] /= n_trees
                rest += shares[k, i]
            shares[0, i] = max(np.float32(0), np.float32(1) - rest)
