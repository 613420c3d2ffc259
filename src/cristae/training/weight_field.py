"""Weights of whole slices, computed once and cached beside the labels that they belong to.

A field is found again by the part's content, the settings of the targets and the statistics of all training labels, so
runs that have these in common share it. Slices are computed one by one, a few at a time in threads: memory does not
grow with the volume. A field becomes known when it is whole; what a killed process left goes with its session.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.formats.zarr_arrays import write_block
from cristae.progress import Progress, Task
from cristae.readahead import read_ahead
from cristae.targets import INVALID, Statistics, WeightField
from cristae.training.cache_folder import Cache
from cristae.training.cached_arrays import CachedArray, create_array
from cristae.training.cached_part import CachedPart

_ARRAY = "field"
"""The array of an entry with weights."""
_FORMAT = 1
"""Of the fields; another number makes all of them unknown."""
_CHUNK: Triple = (1, 64, 64)
_SHARD: Triple = (1, 2048, 2048)
"""One slice thick, as fields are computed, and small enough for patches of any shape."""
_THREADS = max(1, min(8, (os.cpu_count() or 2) // 2))

Result = TypeVar("Result")


def with_weight_fields(
    parts: Sequence[CachedPart], field: WeightField, statistics: Statistics, cache: Cache, progress: Progress
) -> tuple[tuple[CachedPart, ...], Statistics]:
    """The same parts with the field's weights, and the statistics with what was found in all of them.

    Args:
        parts: The whole training data, or the validation data.
        field: Computes the weights of a slice.
        statistics: What the targets were prepared with. Where these are complete already, as what was found in the
            training data is for the validation data, they stay.
        cache: Where fields are kept, and looked for.
        progress: Where to show how far it is.

    Raises:
        StorageError: The disk is full or the cache folder may not be written.
    """
    slabs: dict[tuple[str, Box], list[CachedPart]] = defaultdict(list)
    for part in parts:
        slabs[part.volume, part.index.box].append(part)
    with progress.task("Computing weights", 2 * sum(part.shape[0] for part in parts), unit="slices") as task:
        complete = statistics
        if "peaks" not in statistics:
            found = [_peaks_of(slab, field, cache, task) for slab in slabs.values()]
            complete = {**statistics, "peaks": np.max(found, axis=0).tolist()} if found[0] else statistics
        fields = {
            place: CachedArray(_entry_of(slab, field, complete, cache, task), _ARRAY, place[1])
            for place, slab in slabs.items()
        }
    return tuple(replace(part, field=fields[part.volume, part.index.box]) for part in parts), complete


def _peaks_of(slab: Sequence[CachedPart], field: WeightField, cache: Cache, task: Task) -> list[float]:
    """The greatest of `field.peaks` in a part, or the tiles of a region, remembered beside the cache's entries."""
    of_nothing = field.peaks(np.full((1, 1), INVALID, np.uint8))
    question = _hash("peaks", _FORMAT, field.settings, _content(slab))
    known = cache.recall(question) if of_nothing else "[]"
    if known is None:
        found = [peaks for *_, peaks in _each_slice(slab, field.peaks, task) if peaks is not None]
        known = json.dumps(np.max([of_nothing, *found], axis=0).tolist())
        cache.remember(question, known)
    else:
        task.advance(sum(part.shape[0] for part in slab))
    greatest: list[float] = json.loads(known)
    return greatest


def _entry_of(slab: Sequence[CachedPart], field: WeightField, statistics: Statistics, cache: Cache, task: Task) -> Path:
    """The folder with the field of a part, or of tiles each by itself in their region, made when there is none."""
    key = f"weights-{_hash(_FORMAT, field.settings, statistics, _content(slab))[:48]}"
    entry = cache.take(key)
    if entry is not None:
        task.advance(sum(part.shape[0] for part in slab))
        return entry
    box = slab[0].index.box
    folder = cache.new_entry(4 * box.size)
    store = create_array(folder / _ARRAY, box.shape, np.dtype(np.float32), chunk=_CHUNK, shard=_SHARD)
    found = _each_slice(slab, lambda labels: field.weights(labels, statistics), task)
    for z, slices in groupby(found, lambda one: one[1]):
        plane = np.zeros((1, *box.shape[1:]), np.float32)
        for part, _, weights in slices:
            if weights is not None:
                _, rows, columns = part.box.relative_to(box.start).slices
                plane[0, rows, columns] = weights
        for block in Box.of_shape(plane.shape).blocks(_SHARD):
            if plane[block.slices].any():
                write_block(store, block.shift((z - box.start[0], 0, 0)).slices, plane[block.slices], folder)
    return cache.publish(folder, key, {"volume": slab[0].volume, "shape": box.shape})


def _content(slab: Sequence[CachedPart]) -> tuple[Any, ...]:
    """What is computed of: the entry with the labels, and which tiles of it where these are not all as one."""
    boxes = [part.box.relative_to(part.index.box.start) for part in slab]
    tiles = [] if [part.box for part in slab] == [slab[0].index.box] else [(box.start, box.stop) for box in boxes]
    return slab[0].folder.name, *tiles


def _each_slice(
    slab: Sequence[CachedPart], work: Callable[[np.ndarray], Result], task: Task
) -> Generator[tuple[CachedPart, int, Result | None], None, None]:
    """Each part and slice z of the volume, in the order of z, with what `work` makes of the labels (Y, X) there; None
    where nothing counts."""

    def of_slice(item: tuple[CachedPart, int]) -> Result | None:
        part, z = item
        labels = part.label_slice(z - part.origin[0])
        return None if np.all(labels == INVALID) else work(labels)

    items = sorted(
        ((part, part.origin[0] + z) for part in slab for z in range(part.shape[0])), key=lambda item: item[1]
    )
    results = read_ahead(of_slice, items, threads=_THREADS, ahead=_THREADS, name="weights")
    with closing(results):
        for (part, z), result in zip(items, results, strict=True):
            yield part, z, result
            task.advance(note=part.volume)


def _hash(*facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
