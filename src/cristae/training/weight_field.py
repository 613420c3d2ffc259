"""Weights of whole slices, computed once and cached beside the labels that they belong to.

A field is found again by the part's content, the settings of the targets and the statistics of all training labels, so
runs that have these in common share it. Slices are computed one by one, a few at a time in threads: memory does not
grow with the volume. A field becomes known when it is whole; what a killed process left goes with its session.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
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
    with progress.task("Computing weights", 2 * sum(part.shape[0] for part in parts), unit="slices") as task:
        complete = statistics
        if "peaks" not in statistics:
            found = [_peaks_of(part, field, cache, task) for part in parts]
            complete = {**statistics, "peaks": np.max(found, axis=0).tolist()} if found[0] else statistics
        entries = [_entry_of(part, field, complete, cache, task) for part in parts]
    fields = [CachedArray(entry, _ARRAY, part.box) for part, entry in zip(parts, entries, strict=True)]
    return tuple(replace(part, field=field) for part, field in zip(parts, fields, strict=True)), complete


def _peaks_of(part: CachedPart, field: WeightField, cache: Cache, task: Task) -> list[float]:
    """The greatest of `field.peaks` in a part, remembered beside the cache's entries."""
    of_nothing = field.peaks(np.full((1, 1), INVALID, np.uint8))
    question = _hash("peaks", _FORMAT, field.settings, part.folder.name)
    known = cache.recall(question) if of_nothing else "[]"
    if known is None:
        found = [peaks for peaks in _each_slice(part, field.peaks, task) if peaks is not None]
        known = json.dumps(np.max([of_nothing, *found], axis=0).tolist())
        cache.remember(question, known)
    else:
        task.advance(part.shape[0])
    greatest: list[float] = json.loads(known)
    return greatest


def _entry_of(part: CachedPart, field: WeightField, statistics: Statistics, cache: Cache, task: Task) -> Path:
    """The folder with a part's field, made when there is none."""
    key = f"weights-{_hash(_FORMAT, field.settings, statistics, part.folder.name)[:48]}"
    entry = cache.take(key)
    if entry is not None:
        task.advance(part.shape[0])
        return entry
    folder = cache.new_entry(4 * Box.of_shape(part.shape).size)
    store = create_array(folder / _ARRAY, part.shape, np.dtype(np.float32), chunk=_CHUNK, shard=_SHARD)
    slices = _each_slice(part, lambda labels: field.weights(labels, statistics), task)
    for z, weights in enumerate(slices):
        if weights is not None:
            for block in Box.of_shape((1, *weights.shape)).blocks(_SHARD):
                write_block(store, block.shift((z, 0, 0)).slices, weights[None][block.slices], folder)
    return cache.publish(folder, key, {"volume": part.volume, "shape": part.shape})


def _each_slice(
    part: CachedPart, work: Callable[[np.ndarray], Result], task: Task
) -> Generator[Result | None, None, None]:
    """What `work` makes of the labels (Y, X) of each slice, in order; None where nothing counts."""

    def of_slice(z: int) -> Result | None:
        labels = part.label_slice(z)
        return None if np.all(labels == INVALID) else work(labels)

    slices = read_ahead(of_slice, range(part.shape[0]), threads=_THREADS, ahead=_THREADS, name="weights")
    with closing(slices):
        for result in slices:
            yield result
            task.advance(note=part.volume)


def _hash(*facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
