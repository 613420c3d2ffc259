"""Tiles of a region that is cached as one: windows of it, each with what is counted of it alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np

from cristae.data.box import Box
from cristae.data.files import storage_errors
from cristae.training.cache_folder import Cache
from cristae.training.cached_part import CachedPart
from cristae.training.class_index import count_classes, labelled

_FORMAT = 1
"""Of the counts; another number makes all of them unknown."""
_COUNTS = "tiles.npz"


def cut_cached(whole: CachedPart, boxes: Sequence[Box], cache: Cache) -> list[CachedPart]:
    """Windows of a cached region: parts by themselves, which share its voxels on disk.

    Args:
        whole: The region.
        boxes: In its volume, in the order of z, y, x.
        cache: Keeps what is counted, and is asked for it.

    Raises:
        StorageError: The disk is full or the cache folder may not be written.
    """
    inner = [box.relative_to(whole.origin) for box in boxes]
    key = f"tiles-{_hash(_FORMAT, whole.folder.name, [(box.start, box.stop) for box in inner])[:48]}"
    entry = cache.take(key) or _count(whole, boxes, cache, key)
    with np.load(entry / _COUNTS, allow_pickle=False) as found:
        counts, n_valid, hashes = found["class_counts"], found["n_valid"], found["sha256"]
    return [
        replace(
            whole,
            origin=box.start,
            shape=box.shape,
            class_counts=count,
            fully_valid=bool(valid == box.size),
            sha256=content.tobytes().hex(),
        )
        for box, count, valid, content in zip(boxes, counts, n_valid, hashes, strict=True)
    ]


def _count(whole: CachedPart, boxes: Sequence[Box], cache: Cache, key: str) -> Path:
    counts, n_valid, hashes = [], [], []
    for stack in _stacks(whole, boxes):
        target = stack[1:].astype(np.uint8, copy=False)
        counts.append(count_classes(target, whole.classes))
        n_valid.append(np.count_nonzero(labelled(target)))
        content = hashlib.sha256(np.ascontiguousarray(stack).tobytes()).digest()
        hashes.append(np.frombuffer(content, np.uint8))
    found = {"class_counts": np.stack(counts), "n_valid": np.array(n_valid), "sha256": np.stack(hashes)}
    folder = cache.new_entry(sum(array.nbytes for array in found.values()))
    with storage_errors(folder):
        np.savez(folder / _COUNTS, allow_pickle=False, **found)
    return cache.publish(folder, key, {"volume": whole.volume, "shape": whole.shape})


def _stacks(whole: CachedPart, boxes: Sequence[Box]) -> Iterator[np.ndarray]:
    """Image and targets (1 + K, Z, Y, X) of each box; those beside each other are read together."""
    for _, row in groupby(boxes, lambda box: (box.start[:2], box.stop[:2])):
        beside = list(row)
        around = Box.around(beside)
        voxels = whole.stack.read(around)
        for box in beside:
            yield voxels[(slice(None), *box.relative_to(around.start).slices)]


def _hash(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
