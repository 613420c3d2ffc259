"""Grain-filtered copies of whole slices, filtered once and cached beside the image that patches are cut from.

What an entry holds follows from all voxels of its slices, not only from those around the part: it is found again by
these and the areas. Slices are filtered one by one, a few at a time in threads, each once for all parts that it goes
through: memory does not grow with the volume. An entry becomes known when it is whole; what a killed process left goes
with its session.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.fingerprint import Fingerprints
from cristae.data.formats.zarr_arrays import write_block
from cristae.data.image import Image
from cristae.data.splits import Part
from cristae.errors import RecipeError
from cristae.preprocess.filtered_slices import filtered_planes, slices_at_once
from cristae.preprocess.histogram import read_finite
from cristae.progress import Progress, Task
from cristae.readahead import read_ahead
from cristae.training.cache_folder import Cache
from cristae.training.cached_arrays import CachedArray, create_array
from cristae.training.cached_part import CachedPart

_ARRAY = "filtered"
"""The array of an entry with filtered copies."""
_FORMAT = 1
"""Of the entries; another number makes all of them unknown."""
_CHUNK: Triple = (1, 64, 64)
_SHARD: Triple = (1, 2048, 2048)
"""One slice thick, as slices are filtered, and small enough for patches of any shape."""


def with_filtered_channels(
    parts: Sequence[CachedPart],
    images: Mapping[str, Image],
    areas_px: tuple[int, ...],
    cache: Cache,
    progress: Progress,
    *,
    fingerprints: Fingerprints | None = None,
) -> tuple[CachedPart, ...]:
    """The same parts with the copies that patches see of their slices.

    Args:
        parts: The training data, or the validation data.
        images: Of their volumes on the working grid, by name.
        areas_px: Of the filters, in the order of their channels.
        cache: Where copies are kept, and looked for.
        progress: Where to show how far it is.
        fingerprints: Of the volumes' files, taken before they were opened: entries are then found without reading the
            slices again.

    Raises:
        VolumeError: A slice holds NaN or infinite values, wherever they are.
        StorageError: The disk is full or the cache folder may not be written.
    """
    wanted: dict[str, dict[Box, _Wanted]] = defaultdict(dict)
    for part in parts:
        box = part.stack.box
        wanted[part.volume].setdefault(box, _Wanted(part.volume, images[part.volume], box, areas_px))
    total = sum(one.box.shape[0] for boxes in wanted.values() for one in boxes.values())
    found: dict[tuple[str, Box], CachedArray] = {}
    with progress.task("Filtering slices", total, unit="slices") as task:
        for name, boxes in wanted.items():
            entries = _entries_of(list(boxes.values()), cache, fingerprints, task)
            found.update({(name, box): CachedArray(entry, _ARRAY, box) for box, entry in entries.items()})
    return tuple(replace(part, filtered=found[part.volume, part.stack.box]) for part in parts)


def require_filterable_slices(parts: Sequence[Part], areas_px: Sequence[int]) -> None:
    """Make sure that the slices of the parts' volumes can be filtered, and that something is left of them.

    Raises:
        RecipeError: An area is as large as a slice.
        VolumeError: An image is none of grey values, or its slices are too large.
    """
    if not areas_px:
        return
    from cristae.preprocess.grain_image import require_filterable  # takes the compiler

    for volume in {part.volume.name: part.volume for part in parts}.values():
        _, y, x = volume.image.shape
        for place, area in enumerate(areas_px):
            if area >= y * x:
                raise RecipeError(
                    f"input_channels.{place}.area_px: nothing would be left of the slices of '{volume.name}', {y} x "
                    f"{x} pixels, without shapes of fewer than {area}; choose a smaller area"
                )
        require_filterable(volume.image, areas_px)


def require_finite_slices(parts: Sequence[CachedPart], images: Mapping[str, Image]) -> None:
    """Make sure that the whole slices of parts can be filtered, which takes less time than to filter them.

    Raises:
        VolumeError: A slice holds NaN or infinite values, wherever they are.
    """
    slices: dict[str, set[int]] = defaultdict(set)
    for part in parts:
        if images[part.volume].dtype.kind == "f":
            slices[part.volume].update(range(part.stack.box.start[0], part.stack.box.stop[0]))
    for name, numbers in slices.items():
        for z in sorted(numbers):
            read_finite(images[name], _plane(images[name], z))


@dataclass(frozen=True, eq=False)
class _Wanted:
    """What an entry holds."""

    volume: str
    image: Image
    box: Box
    areas_px: tuple[int, ...]

    @cached_property
    def digest(self) -> str:
        """The form of the entry; entries of equal slices and form are the same."""
        _, rows, columns = self.box.slices
        place = rows.start, rows.stop, columns.start, columns.stop
        return f"filtered-{_hash(_FORMAT, self.areas_px, self.image.shape[1:], place, str(self.image.dtype))[:16]}"

    def key(self, slices: Mapping[int, str]) -> str:
        """The name of the entry, from the hashes of whole slices."""
        return f"{self.digest}-{_hash([slices[z] for z in self.slices])[:40]}"

    def question(self, fingerprint: str) -> str:
        """What decides the voxels without reading them."""
        return _hash(self.digest, fingerprint, str(self.box), self.volume, self.image.voxel_size_nm)

    @property
    def slices(self) -> range:
        """Of the volume."""
        return range(self.box.start[0], self.box.stop[0])

    @property
    def size_bytes(self) -> int:
        """Before compression."""
        return len(self.areas_px) * self.box.size * self.image.dtype.itemsize


def _entries_of(
    wanted: Sequence[_Wanted], cache: Cache, fingerprints: Fingerprints | None, task: Task
) -> dict[Box, Path]:
    """The folders of entries of one volume, made where there are none."""
    name = wanted[0].volume
    fingerprint = None if fingerprints is None else fingerprints.of(name)
    found: dict[Box, Path] = {}
    new = list[_Wanted]()
    for one in wanted:
        known = None if fingerprint is None else cache.recall(one.question(fingerprint))
        entry = None if known is None else cache.take(known)
        if entry is None:
            new.append(one)
        if entry is None and cache.has_any(one.digest):  # reading costs much less than filtering
            entry = cache.take(one.key({z: _read(one.image, z)[1] for z in one.slices}))
        if entry is not None:
            found[one.box] = entry
            task.advance(len(one.slices), note=name)
    found.update(_filter([one for one in wanted if one.box not in found], cache, task))
    if fingerprint is not None and fingerprints is not None and fingerprints.unchanged(name):
        for one in new:
            cache.remember(one.question(fingerprint), found[one.box].name)
    return found


def _filter(wanted: Sequence[_Wanted], cache: Cache, task: Task) -> dict[Box, Path]:
    """Make entries of one volume, whose slices are filtered once for all of them."""
    if not wanted:
        return {}
    folders = {one.box: cache.new_entry(one.size_bytes) for one in wanted}
    count, dtype = len(wanted[0].areas_px), wanted[0].image.dtype
    stores = {
        one.box: create_array(folders[one.box] / _ARRAY, (count, *one.box.shape), dtype, chunk=_CHUNK, shard=_SHARD)
        for one in wanted
    }
    hashes: dict[int, str] = {}
    with closing(_each_slice(wanted)) as slices:
        for z, content, planes in slices:
            hashes[z] = content
            for one in wanted:
                if z in one.slices:
                    _write(stores[one.box], one.box, z, planes, folders[one.box])
                    task.advance(note=one.volume)
    return {
        one.box: cache.publish(folders[one.box], one.key(hashes), {"volume": one.volume, "shape": one.box.shape})
        for one in wanted
    }


def _each_slice(wanted: Sequence[_Wanted]) -> Generator[tuple[int, str, np.ndarray], None, None]:
    """Each slice z that any entry holds, with its hash and what is filtered of it, (areas, Y, X)."""
    image, areas_px = wanted[0].image, wanted[0].areas_px
    threads = slices_at_once(image.shape, image.dtype.itemsize, len(areas_px))

    def work(z: int) -> tuple[int, str, np.ndarray]:
        plane, content = _read(image, z)
        return z, content, filtered_planes(plane, areas_px, threads=1)[0]

    numbers = sorted({z for one in wanted for z in one.slices})
    with closing(read_ahead(work, numbers, threads=threads, ahead=threads, name="filtered")) as results:
        yield from results


def _write(store: Any, box: Box, z: int, planes: np.ndarray, folder: Path) -> None:
    _, rows, columns = box.slices
    inside = planes[:, None, rows, columns]
    for block in Box.of_shape((1, *box.shape[1:])).blocks(_SHARD):
        here = block.shift((z - box.start[0], 0, 0)).slices
        write_block(store, (slice(None), *here), inside[(slice(None), *block.slices)], folder)


def _read(image: Image, z: int) -> tuple[np.ndarray, str]:
    """A whole slice (1, Y, X), and its hash."""
    plane = read_finite(image, _plane(image, z))
    return plane, hashlib.sha256(np.ascontiguousarray(plane).tobytes()).hexdigest()


def _plane(image: Image, z: int) -> Box:
    return Box((z, 0, 0), (z + 1, *image.shape[1:]))


def _hash(*facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
