"""The annotated parts of the training volumes, laid out on disk for quick random reading.

Image and target of a part become the channels of one sharded Zarr array on the working grid: a patch is then a single
small read, independent of format, compression, label source and voxel size of the files. The image reaches beyond the
part as far as patches do; there the target is invalid. Caching streams, counts classes and samples places of each class
as it goes. Parts are found again by their content, so that all runs share what they have in common.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.affinities import Affinities
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.files import storage_errors
from cristae.data.fingerprint import Fingerprints
from cristae.data.formats.zarr_arrays import write_block
from cristae.data.splits import Part, labelled_boxes
from cristae.data.volume import Volume
from cristae.errors import LabelError
from cristae.progress import Progress
from cristae.training.cache_folder import FACTS, FOLDER_VARIABLE, Cache, cache_folder, cache_room
from cristae.training.cached_arrays import CachedArray, create_array
from cristae.training.cached_ids import IDS, CachedObjects, NarrowIds, framed_ids
from cristae.training.cached_part import PLACES, CachedIndex, CachedPart
from cristae.training.cached_tiles import cut_cached
from cristae.training.class_index import INVALID, ClassIndex, labelled
from cristae.training.framing import Framing
from cristae.training.occupied import OccupiedCells
from cristae.words import memory

_FORMAT = 2
"""Of the entries; another number makes all of them unknown."""
_CHUNK: dict[bool, Triple] = {True: (1, 256, 256), False: (16, 64, 64)}
"""Voxels that are decoded at once, for flat patches and for others."""
_SHARD: dict[bool, Triple] = {True: (1, 2048, 2048), False: (16, 1024, 1024)}
_SLAB: dict[bool, Triple] = {True: (4, 2048, 2048), False: (16, 1024, 1024)}
"""Voxels that are cached at once: whole shards, each written once."""


def cache_parts(
    parts: Sequence[Part],
    classes: Classes,
    cache: Cache,
    framing: Framing,
    *,
    size: Triple,
    overhang: Triple = (0, 0, 0),
    partners: bool = False,
    fingerprints: Fingerprints | None = None,
    progress: Progress,
) -> tuple[CachedPart, ...]:
    """The annotated boxes of `parts` in the cache, where what is there already is used.

    Args:
        parts: Regions with labels, on the working grid (see `on_working_grid`).
        classes: Whether labels are ids or masks.
        cache: Keeps the entries until it is closed.
        framing: Flat patches need only the slices that have labels, others whole regions; how much image is around.
        size: The patches' (z, y, x); around parts that are smaller more of the image is needed.
        overhang: Voxels (z, y, x) by which patches may reach outside a part of any size, on both sides.
        partners: Where the classes are affinities: whether voxels may have partners outside their part, as when whole
            volumes are evaluated. What a network is trained with looks at no labels there.
        fingerprints: Of the volumes' files, taken before they were opened: entries are then found without reading the
            voxels again. Without one, the voxels are read and compared.
        progress: Where to show how far it is.

    Raises:
        StorageError: The disk is full or the cache folder may not be written.
    """
    jobs = [(part, box) for part in parts for box in (labelled_boxes(part) if framing.flat else (part.box,))]
    slabs: dict[tuple[str, Box], list[int]] = defaultdict(list)
    for number, (part, box) in enumerate(jobs):
        slabs[part.volume.name, _slab_of(part, box)].append(number)
    cached: dict[int, CachedPart] = {}
    with progress.task("Caching training data", sum(box.size for _, box in jobs), unit="voxels") as task:
        for (name, slab), numbers in slabs.items():
            volume, boxes = jobs[numbers[0]][0].volume, [jobs[number][1] for number in numbers]
            everything = Box.of_shape(volume.image.shape)
            stored = slab.grow(_reach(boxes, framing, size, overhang)).intersect(everything)
            known = slab.grow(framing.frame).intersect(everything) if partners else slab
            layout = _Layout(volume, slab, Box.around([stored, known]), known, classes, framing.flat)
            whole = layout.opened(_entry_of(layout, cache, fingerprints))
            found = [whole] if boxes == [slab] else cut_cached(whole, boxes, cache)
            cached.update(zip(numbers, found, strict=True))
            task.advance(sum(box.size for box in boxes), note=name)
    return tuple(cached[number] for number in range(len(jobs)))


def require_weights(parts: Sequence[CachedPart]) -> None:
    """Make sure that the volumes' own weights leave something to learn.

    Raises:
        LabelError: All of them are 0.
    """
    if not any(part.has_weight() for part in parts):
        raise LabelError(
            f"the weights of '{parts[0].volume}' are 0 in every voxel of the training regions that counts, so nothing "
            "would be learnt there; give other weights under data.volumes, or leave them out"
        )


def warn_about_room(
    parts: Sequence[Part], progress: Progress, *, flat: bool, weighed: bool = False, filtered: int = 0
) -> None:
    """Warn where the disk of the cache could be too small for `parts`, were they not compressed.

    Args:
        parts: What is to be cached.
        progress: Where the warning goes.
        flat: Whether only slices that have labels are cached, as for flat patches.
        weighed: Whether weights are computed of them and cached, too.
        filtered: How many filtered copies are cached, too.
    """
    needed = sum(
        box.size * (_bytes_of(part.volume) + 4 * weighed + filtered * part.volume.image.dtype.itemsize)
        for part in parts
        for box in (labelled_boxes(part) if flat else (part.box,))
    )
    room = cache_room()
    if needed > room:
        progress.warn(
            f"training data is cached on disk and may take {memory(needed)}, but {cache_folder()} has room for "
            f"{memory(room)}; make room, or name a folder on another disk in {FOLDER_VARIABLE}"
        )


def _slab_of(part: Part, box: Box) -> Box:
    """What is cached in one piece: the region that a part is a tile of, but where labels are object ids the tile alone,
    whose voxels then have no partners outside of it."""
    return box if part.slab is None or part.volume.objects is not None else part.slab


def _bytes_of(volume: Volume) -> int:
    """Of grey value and labels of a voxel."""
    size = volume.image.dtype.itemsize
    return size + 4 if volume.objects is not None else (1 + len(volume.labels)) * size


def _reach(boxes: Sequence[Box], framing: Framing, size: Triple, overhang: Triple) -> list[int]:
    """How far around parts patches of this size on them can see. On another grid tiles differ by a voxel."""
    least = [min(sides) for sides in zip(*(box.shape for box in boxes), strict=True)]
    sides = zip(size, least, overhang, strict=True)
    beyond = [max(out, -(-(side - there) // 2)) for side, there, out in sides]
    return [a + b for a, b in zip(framing.context, beyond, strict=True)]


@dataclass(frozen=True, eq=False)
class _Layout:
    """Which voxels of a volume are cached, and in which form."""

    volume: Volume
    box: Box
    stored: Box
    known: Box
    """Where object ids are stored."""
    classes: Classes
    flat: bool

    @property
    def affinities(self) -> Affinities | None:
        """Of the volume's classes."""
        return None if self.volume.objects is None else self.volume.objects.affinities

    @property
    def channels(self) -> int:
        """Targets in the array of grey values; object ids have one of their own."""
        return 0 if self.volume.objects is not None else len(self.volume.labels)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array on disk, whose channels are grey values and targets."""
        dtype = self.volume.image.dtype
        return np.dtype(np.int16) if dtype == np.int8 else dtype

    @property
    def size_bytes(self) -> int:
        """Before compression."""
        weight = 4 * self.box.size if self.volume.weight is not None else 0
        ids = 4 * self.stored.size if self.volume.objects is not None else 0
        return self.stored.size * (1 + self.channels) * self.dtype.itemsize + weight + ids

    @cached_property
    def digest(self) -> str:
        """The form of the entry; entries of equal voxels and form are the same."""
        return _hash(
            _FORMAT,
            self.box.relative_to(self.stored.start).start,
            self.box.shape,
            self.stored.shape,
            str(self.volume.image.dtype),
            len(self.volume.labels),
            self.volume.weight is not None,
            len(self.classes.names),
            self.classes.exclusive,
            self.flat,
            *self._form_of_ids,
        )[:16]

    @property
    def _form_of_ids(self) -> tuple[object, ...]:
        if self.affinities is None:
            return ()
        return self.affinities.offsets, str(self.known.relative_to(self.stored.start))

    def question(self, fingerprint: str) -> str:
        """What decides the voxels without reading them."""
        size = self.volume.voxel_size_nm  # resampled volumes differ from their files
        return _hash(self.digest, fingerprint, str(self.box), str(self.stored), self.volume.name, size)

    def blocks(self) -> Iterator[tuple[Box, np.ndarray, np.ndarray]]:
        """Blocks of what is stored: grey values (Z, Y, X) and target uint8 (K, Z, Y, X), or ids int32 (1, Z, Y, X)."""
        ids = None if self.volume.objects is None else NarrowIds(self.volume.objects)
        for block in self.stored.blocks(_SLAB[self.flat]):
            target = self._target(block) if ids is None else framed_ids(ids.read, block, self.known)[None]
            yield block, self.volume.image.read(block), target

    def _target(self, block: Box) -> np.ndarray:
        target = np.full((len(self.volume.labels), *block.shape), INVALID, np.uint8)
        inside = block.intersect(self.box)
        if inside.size:
            target[(slice(None), *inside.relative_to(block.start).slices)] = _targets_of(self.volume, inside)
        return target

    def weights(self) -> Iterator[tuple[Box, np.ndarray]]:
        """Blocks of the part and their weights float32 (Z, Y, X); none where the volume has none."""
        if self.volume.weight is not None:
            for block in self.box.blocks(_SLAB[self.flat]):
                yield block, self.volume.weight.read(block).astype(np.float32)

    def opened(self, folder: Path) -> CachedPart:
        """The part of this volume that an entry holds."""
        facts = json.loads((folder / FACTS).read_text())
        return CachedPart(
            stack=CachedArray(folder, "stack", self.stored),
            index=CachedIndex(folder, len(facts["class_counts"]), self.box),
            volume=self.volume.name,
            origin=self.box.start,
            shape=self.box.shape,
            volume_shape=self.volume.image.shape,
            class_counts=np.array(facts["class_counts"], np.int64),
            fully_valid=facts["fully_valid"],
            classes=self.classes,
            sha256=facts["sha256"],
            weight=None if self.volume.weight is None else CachedArray(folder, "weight", self.box),
            objects=self.objects_in(folder),
        )

    def objects_in(self, folder: Path) -> CachedObjects | None:
        """The object ids that an entry holds; None where labels are classes."""
        return (
            None if self.affinities is None else CachedObjects(CachedArray(folder, IDS, self.stored), self.affinities)
        )


def _entry_of(layout: _Layout, cache: Cache, fingerprints: Fingerprints | None) -> Path:
    """The folder of the entry with a layout's voxels, made when there is none."""
    name = layout.volume.name
    fingerprint = None if fingerprints is None else fingerprints.of(name)
    question = None if fingerprint is None else layout.question(fingerprint)
    known = None if question is None else cache.recall(question)
    entry = None if known is None else cache.take(known)
    if entry is None:
        # Reading costs less than writing, but only where an entry of this form could turn out to be the same.
        entry = cache.take(_key_by_reading(layout)) if cache.has_any(layout.digest) else None
        entry = entry or _write(layout, cache)
        if question is not None and fingerprints is not None and fingerprints.unchanged(name):
            cache.remember(question, entry.name)
    return entry


class _Content:
    """Hashes of the voxels that an entry holds."""

    def __init__(self) -> None:
        self._voxels, self._weights = hashlib.sha256(), hashlib.sha256()

    def add(self, image: np.ndarray, target: np.ndarray) -> None:
        """The next block of grey values and targets."""
        self._voxels.update(np.ascontiguousarray(image).tobytes())
        self._voxels.update(target.tobytes())

    def add_weights(self, weights: np.ndarray) -> None:
        """The next block of weights."""
        self._weights.update(np.ascontiguousarray(weights).tobytes())

    @property
    def voxels(self) -> str:
        """Of grey values and targets."""
        return self._voxels.hexdigest()

    def key(self, layout: _Layout) -> str:
        """The name of the entry."""
        return f"{layout.digest}-{_hash(self.voxels, self._weights.hexdigest())[:40]}"


def _key_by_reading(layout: _Layout) -> str:
    content = _Content()
    for _, image, target in layout.blocks():
        content.add(image, target)
    for _, weights in layout.weights():
        content.add_weights(weights)
    return content.key(layout)


def _write(layout: _Layout, cache: Cache) -> Path:
    folder, box, stored = cache.new_entry(layout.size_bytes), layout.box, layout.stored
    index, occupied, content = ClassIndex(layout.classes), OccupiedCells(box.shape), _Content()
    sizes = {"chunk": _CHUNK[layout.flat], "shard": _SHARD[layout.flat]}
    stack = create_array(folder / "stack", (1 + layout.channels, *stored.shape), layout.dtype, **sizes)
    ids = None if layout.affinities is None else create_array(folder / IDS, stored.shape, np.dtype(np.int32), **sizes)
    for block, image, target in layout.blocks():
        here, inside = block.relative_to(stored.start).slices, block.intersect(box)
        content.add(image, target)
        if ids is not None:
            write_block(ids, here, target[0], folder)
        elif inside.size:
            known = target[(slice(None), *inside.relative_to(block.start).slices)]
            index.add(known, inside.relative_to(box.start))
            occupied.add(labelled(known), inside.relative_to(box.start))
        both = np.concatenate([image[None], target[: layout.channels]], dtype=layout.dtype, casting="unsafe")
        write_block(stack, (slice(None), *here), both, folder)
    if (objects := layout.objects_in(folder)) is not None:  # they depend on voxels of other blocks
        for block in box.blocks(_SLAB[layout.flat]):
            known = objects.targets(block)
            index.add(known, block.relative_to(box.start))
            occupied.add(labelled(known), block.relative_to(box.start))
    if layout.volume.weight is not None:
        store = create_array(folder / "weight", box.shape, np.dtype(np.float32), **sizes)
        for block, weights in layout.weights():
            content.add_weights(weights)
            write_block(store, block.relative_to(box.start).slices, weights, folder)
    with storage_errors(folder):
        places = {f"class_{k}": where for k, where in enumerate(index.places())}
        np.savez(folder / PLACES, allow_pickle=False, occupied=occupied.bits, **places)
    facts = {
        "volume": layout.volume.name,
        "shape": box.shape,
        "class_counts": index.counts.tolist(),
        "fully_valid": index.n_invalid == 0,
        "sha256": content.voxels,
    }
    return cache.publish(folder, content.key(layout), facts)


def _targets_of(volume: Volume, box: Box) -> np.ndarray:
    """(K, Z, Y, X) labels, INVALID where a voxel does not count."""
    target = np.stack([label.read(box) for label in volume.labels])
    if volume.valid is not None:
        target[:, volume.valid.read(box) == 0] = INVALID
    return target


def _hash(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
