"""The mutex watershed: objects from affinities, without seeds and without a threshold.

Wolf et al. (2018), The Mutex Watershed, https://doi.org/10.1007/978-3-030-01225-0_34, algorithm 1: edges are taken from
the most to the least certain one. An attractive edge joins the clusters at its ends unless they exclude each other; a
repulsive edge makes the clusters at its ends, where these are two, exclude each other from then on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cristae.compiled import compiled
from cristae.data.box import Triple
from cristae.postprocessing.offsets import is_face_step

_NONE = -1


def mutex_watershed(mask: np.ndarray, affinities: Sequence[np.ndarray], offsets: Sequence[Triple]) -> np.ndarray:
    """Partition an object.

    Steps of one voxel along one axis attract with the weight of their affinity a; all longer ones repel with 1 - a
    (section 4.2). Edges of weight 0 say nothing and are left out. Of edges of equal weight, those of the earlier offset
    come first, then those of the earlier voxel.

    Args:
        mask: bool (Z, Y, X), the object; only its own voxels have edges.
        affinities: For each offset uint8 (Z, Y, X), a x 255 of each voxel and its partner.
        offsets: (z, y, x) from a voxel to its partner.

    Returns:
        int32 (Z, Y, X) of any positive ids, 0 outside the object.
    """
    places = np.flatnonzero(mask)
    number = np.full(mask.size, _NONE, np.int32)
    number[places] = np.arange(len(places), dtype=np.int32)
    attracts = np.array([is_face_step(offset) for offset in offsets])
    steps = np.array(offsets, np.int64).reshape(-1, 3)
    shape = np.array(mask.shape, np.int64)
    weights = np.zeros((len(steps), len(places)), np.uint8)
    for row, affinity, attract in zip(weights, affinities, attracts, strict=True):
        values = affinity.ravel()[places]
        row[:] = values if attract else 255 - values
    order, repulsive = _edges_in_order(places, number, shape, steps, weights, attracts)
    clusters = _clusters(order, repulsive, places, number, shape, steps, attracts)
    found = np.zeros(mask.size, np.int32)
    found[places] = clusters + 1
    return found.reshape(mask.shape)


@compiled
def _partner(place: int, step: np.ndarray, shape: np.ndarray, number: np.ndarray) -> int:
    """The number of the voxel a step away from a place; -1 where it is not of the object."""
    rest = place % (shape[1] * shape[2])
    z, y, x = place // (shape[1] * shape[2]) + step[0], rest // shape[2] + step[1], rest % shape[2] + step[2]
    if z < 0 or y < 0 or x < 0 or z >= shape[0] or y >= shape[1] or x >= shape[2]:
        return -1
    return int(number[(z * shape[1] + y) * shape[2] + x])


@compiled
def _edges_in_order(
    places: np.ndarray,
    number: np.ndarray,
    shape: np.ndarray,
    steps: np.ndarray,
    weights: np.ndarray,
    attracts: np.ndarray,
) -> tuple[np.ndarray, int]:
    """Edges from the heaviest to the lightest, as `offset * voxels + voxel`, and how many of them repel.

    A counting sort; edges without a partner lose their weight on the way.
    """
    count, repulsive = np.zeros(257, np.int64), 0
    for k in range(len(steps)):
        for v in range(len(places)):
            if weights[k, v] > 0:
                if _partner(places[v], steps[k], shape, number) < 0:
                    weights[k, v] = 0
                else:
                    count[256 - weights[k, v]] += 1
                    repulsive += not attracts[k]
    start = np.cumsum(count)
    order = np.empty(start[256], np.int64)
    for k in range(len(steps)):
        for v in range(len(places)):
            if weights[k, v] > 0:
                before = 255 - weights[k, v]
                order[start[before]] = k * len(places) + v
                start[before] += 1
    return order, repulsive


@compiled
def _root(parent: np.ndarray, voxel: int) -> int:
    """The cluster of a voxel; paths are halved on the way."""
    while parent[voxel] != voxel:
        parent[voxel] = parent[parent[voxel]]
        voxel = parent[voxel]
    return voxel


@compiled
def _excludes(
    one: int,
    other: int,
    parent: np.ndarray,
    head: np.ndarray,
    tail: np.ndarray,
    length: np.ndarray,
    entries: np.ndarray,
    seen: np.ndarray,
    walk: int,
) -> bool:
    """Whether the list of one cluster has the other; entries of the same cluster are dropped after the first."""
    before, entry = -1, head[one]
    while entry != -1:
        found, after = _root(parent, entries[0, entry]), entries[1, entry]
        if found == other:
            if before != -1:  # to the front: it will be asked for again
                entries[1, before], entries[1, entry] = after, head[one]
                head[one] = entry
                if after == -1:
                    tail[one] = before
            return True
        if seen[found] == walk:
            entries[1, before] = after  # the first entry of a list is always new
            length[one] -= 1
            if after == -1:
                tail[one] = before
        else:
            seen[found] = walk
            before = entry
        entry = after
    return False


@compiled
def _clusters(
    order: np.ndarray,
    repulsive: int,
    places: np.ndarray,
    number: np.ndarray,
    shape: np.ndarray,
    steps: np.ndarray,
    attracts: np.ndarray,
) -> np.ndarray:
    """The cluster of each voxel.

    Each cluster has a linked list of voxels of clusters that it excludes; lists are joined with their clusters.
    """
    n = len(places)
    parent, size = np.arange(n).astype(np.int32), np.ones(n, np.int32)
    head, tail, length = np.full(n, -1, np.int64), np.full(n, -1, np.int64), np.zeros(n, np.int64)
    entries = np.empty((2, 2 * repulsive), np.int64)  # a voxel of the excluded cluster, and the next entry
    seen, used = np.zeros(n, np.int64), 0
    for walk in range(len(order)):
        k, v = order[walk] // n, order[walk] % n
        a, b = _root(parent, v), _root(parent, _partner(places[v], steps[k], shape, number))
        if a == b:
            continue
        if length[a] > length[b]:
            a, b = b, a
        if _excludes(a, b, parent, head, tail, length, entries, seen, walk + 1):
            continue
        if not attracts[k]:
            for here, there in ((a, b), (b, a)):
                entries[0, used], entries[1, used] = there, head[here]
                if head[here] == -1:
                    tail[here] = used
                head[here] = used
                length[here] += 1
                used += 1
            continue
        if size[a] > size[b]:
            a, b = b, a
        parent[a] = b
        size[b] += size[a]
        if head[a] != -1:
            entries[1, tail[a]] = head[b]
            if head[b] == -1:
                tail[b] = tail[a]
            head[b] = head[a]
            length[b] += length[a]
    for v in range(n):
        parent[v] = _root(parent, v)
    return parent
