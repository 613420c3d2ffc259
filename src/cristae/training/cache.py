"""The annotated parts of the training volumes, laid out on disk for quick random reading.

Image and target of a part become the channels of one sharded Zarr array on the working grid: a patch is then a single
small read, independent of format, compression, label source and voxel size of the files. The image reaches beyond the
part as far as patches do; there the target is invalid. Caching streams, counts classes and samples places of each class
as it goes. Parts are found again by their content, so that all runs share what they have in common.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.affinities import UNKNOWN_ID, Affinities
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.files import storage_errors
from cristae.data.fingerprint import Fingerprints
from cristae.data.formats.zarr_arrays import read_block, write_block
from cristae.data.mirror import read_mirrored
from cristae.data.splits import Part, labelled_boxes
from cristae.data.volume import Volume
from cristae.errors import LabelError, RunError
from cristae.progress import Progress
from cristae.sampling import Patch, SamplePart, counted_names
from cristae.training.cache_folder import FACTS, FOLDER_VARIABLE, Cache, cache_folder, cache_room
from cristae.training.cached_arrays import create_array, open_cached
from cristae.training.cached_ids import NarrowIds, framed_ids, targets_of_ids
from cristae.training.class_index import INVALID, ClassIndex
from cristae.training.framing import Framing
from cristae.training.regions import RegionContent
from cristae.words import memory

_IDS = "ids"
"""The array of an entry with object ids, where the classes are affinities."""
FIELD = "field"
"""The array of an entry with computed weights."""
_FORMAT = 1
"""Of the entries; another number makes all of them unknown."""
_CHUNK: dict[bool, Triple] = {True: (1, 256, 256), False: (16, 64, 64)}
"""Voxels that are decoded at once, for flat patches and for others."""
_SHARD: dict[bool, Triple] = {True: (1, 2048, 2048), False: (16, 1024, 1024)}
_SLAB: dict[bool, Triple] = {True: (4, 2048, 2048), False: (16, 1024, 1024)}
"""Voxels that are cached at once: whole shards, each written once."""


@dataclass(frozen=True, eq=False)
class CachedPart:
    """One annotated box of a volume on disk, ready to be cut into patches."""

    folder: Path
    volume: str
    origin: Triple
    """Where the part starts in its volume, in voxels of the working grid."""
    shape: Triple
    stored: Box
    """The voxels on disk, in its volume: the part and what patches see around it."""
    volume_shape: Triple
    class_counts: np.ndarray
    """(K,) int64, as in SamplePart."""
    fully_valid: bool
    classes: Classes
    """What its labels mean; the target has a channel for each class of those that overlap."""
    affinities: Affinities | None
    """Which affinities the classes are; what is on disk are then object ids."""
    sha256: str
    """Hash of the grey values and labels on disk."""
    field: Path | None = None
    """The entry with computed weights of the whole part (see `training.weight_field`); None stands for 1."""

    @property
    def content(self) -> RegionContent:
        """What the part holds, for the page and for provenance."""
        box = Box.of_shape(self.shape).shift(self.origin)
        return RegionContent(self.volume, box, self.class_counts, self.sha256)

    @cached_property
    def _stack(self) -> Any:
        return open_cached(self.folder / "stack")

    @cached_property
    def _ids(self) -> Any:
        return open_cached(self.folder / _IDS)

    @cached_property
    def _weight(self) -> Any | None:
        return open_cached(self.folder / "weight") if (self.folder / "weight").exists() else None

    @cached_property
    def _field(self) -> Any | None:
        return None if self.field is None else open_cached(self.field / FIELD)

    @cached_property
    def class_voxels(self) -> tuple[np.ndarray, ...]:
        """For each class a sample of the (N, 3) places where it is."""
        found = np.load(self.folder / "places.npz", allow_pickle=False)
        return tuple(found[f"class_{k}"] for k in range(len(self.class_counts)))

    def sample_part(self) -> SamplePart:
        """What a sampler needs to know."""
        return SamplePart(
            self.shape,
            self.class_counts,
            self.class_voxels,
            self._has_foreground,
            self._has_valid,
            self.fully_valid,
            first_foreground=int(self.classes.background),
            class_names=counted_names(self.classes),
            volume=self.volume,
            index_within=self._index_within,
        )

    def _index_within(self, box: Box) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Counts of the classes in a box inside the part, and a sample of the (N, 3) places of each."""
        index = ClassIndex(self.classes)
        for block in box.blocks(_SLAB[False]):
            index.add(self._targets(block), block)
        return index.counts, tuple(index.places())

    def _has_valid(self, box: Box) -> bool:
        return bool(np.any(np.all(self._targets(box) != INVALID, axis=0)))

    def _has_foreground(self, box: Box) -> bool:
        target = self._targets(box)
        return bool(np.any((target >= int(self.classes.background)) & (target != INVALID)))

    def _targets(self, box: Box) -> np.ndarray:
        """(K, Z, Y, X) of a box inside the part, counted from its corner."""
        if self.affinities is not None:
            return targets_of_ids(self._object_ids(box.grow(self.affinities.frame)), self.affinities)
        return self._stored(box.shift(self.origin))[1:]

    def _object_ids(self, box: Box) -> np.ndarray:
        """int32 ids (Z, Y, X) of a box that may reach outside the part."""

        def read(inside: Box) -> np.ndarray:
            return _read(self._ids, inside.slices, self.folder)

        return framed_ids(read, box.shift(self.origin).relative_to(self.stored.start), Box.of_shape(self.stored.shape))

    def _stored(self, box: Box) -> np.ndarray:
        """Image and targets (1 + K, Z, Y, X) of a box of the volume that is on disk."""
        return _read(self._stack, (slice(None), *box.relative_to(self.stored.start).slices), self.folder)

    def label_slice(self, z: int) -> np.ndarray:
        """uint8 ids (Y, X) of a slice of the part, INVALID where a voxel does not count; for exclusive classes."""
        _, y, x = self.shape
        labels: np.ndarray = self._targets(Box((z, 0, 0), (z + 1, y, x)))[0, 0].astype(np.uint8)
        return labels

    def label_blocks(self) -> Iterator[np.ndarray]:
        """uint8 labels (K, Z, Y, X) in blocks that cover the part once, INVALID where a voxel does not count."""
        for block in Box.of_shape(self.shape).blocks(_SLAB[False]):
            yield self._targets(block).astype(np.uint8)

    def has_weight(self) -> bool:
        """Whether a voxel that counts has a weight above 0; true of a volume without weights."""
        for block in Box.of_shape(self.shape).blocks(_SLAB[False]):
            weights = self._weights(block)
            if weights is None or np.any((weights > 0) & np.all(self._targets(block) != INVALID, axis=0)):
                return True
        return False

    def read(self, box: Box, framing: Framing) -> Patch:
        """Cut out a patch; what reaches outside the part does not count, and beyond the volume its image is mirrored.

        Args:
            box: Voxels of the target, counted from the part's corner; it may reach outside.
            framing: How much image is around them, but for the target's frame.
        """
        place = box.shift(self.origin)
        seen = place.grow([-around for around in framing.frame]).grow(framing.context)
        stack = read_mirrored(self._stored, seen, self.volume_shape)
        if self.affinities is None:
            centre = tuple(slice(a, a + n) for a, n in zip(framing.context, box.shape, strict=True))
            target = self._outside_invalid(stack[(slice(1, None), *centre)].astype(np.uint8, copy=False), box, INVALID)
            valid = np.all(target != INVALID, axis=0)
            target = np.where(valid, target, np.uint8(0))
        else:
            target = self._object_ids(box)[None]
            valid = self._outside_invalid(target, box, UNKNOWN_ID)[0] != UNKNOWN_ID
        weight = self._weights(box)
        image = stack[:1]
        if framing.flat:  # the slices of the image become channels
            image, target, valid = image[0], target[:, 0], valid[0]
            weight = None if weight is None else weight[0]
        return Patch(
            image=image,
            target=target[0] if self.classes.exclusive or self.affinities is not None else target,
            valid=valid,
            weight=weight,
            box=place,
            volume=self.volume,
            volume_shape=self.volume_shape,
        )

    def _outside_invalid(self, target: np.ndarray, box: Box, invalid: int) -> np.ndarray:
        """A target (K, Z, Y, X), possibly mirrored, with nothing that counts outside the part."""
        inside = box.intersect(Box.of_shape(self.shape))
        if inside == box:
            return target
        result = np.full_like(target, invalid)
        where = (slice(None), *inside.relative_to(box.start).slices)
        result[where] = target[where]
        return result

    def _weights(self, box: Box) -> np.ndarray | None:
        """The volume's own weights times the computed field (Z, Y, X), 0 outside the part; None without either."""
        stores = [(self._weight, self.folder), (self._field, self.field)]
        inside = box.intersect(Box.of_shape(self.shape))
        result: np.ndarray | None = None
        for store, folder in stores:
            if store is not None and folder is not None:
                found = np.zeros(box.shape, np.float32)
                found[inside.relative_to(box.start).slices] = _read(store, inside.slices, folder)
                result = found if result is None else result * found
        return result


def _read(store: Any, index: tuple[slice, ...], entry: Path) -> np.ndarray:
    voxels = read_block(store, index, entry)
    if not os.path.exists(f"{entry}/{FACTS}"):  # a missing chunk reads as zeros  # noqa: PTH110
        raise RunError(f"{entry}: the cached training data was removed while in use; resume with --resume")
    return voxels


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
    cached = []
    with progress.task("Caching training data", sum(box.size for _, box in jobs), unit="voxels") as task:
        for part, box in jobs:
            stored = _around(box, part.volume.image.shape, framing, size, overhang)
            known = box.grow(framing.frame).intersect(Box.of_shape(part.volume.image.shape)) if partners else box
            layout = _Layout(part.volume, box, Box.around([stored, known]), known, classes, framing.flat)
            cached.append(layout.opened(_entry_of(layout, cache, fingerprints)))
            task.advance(box.size, note=part.volume.name)
    return tuple(cached)


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


def warn_about_room(parts: Sequence[Part], progress: Progress, *, flat: bool, weighed: bool = False) -> None:
    """Warn where the disk of the cache could be too small for `parts`, were they not compressed.

    Args:
        parts: What is to be cached.
        progress: Where the warning goes.
        flat: Whether only slices that have labels are cached, as for flat patches.
        weighed: Whether weights are computed of them and cached, too.
    """
    needed = sum(
        box.size * (_bytes_of(part.volume) + 4 * weighed)
        for part in parts
        for box in (labelled_boxes(part) if flat else (part.box,))
    )
    room = cache_room()
    if needed > room:
        progress.warn(
            f"training data is cached on disk and may take {memory(needed)}, but {cache_folder()} has room for "
            f"{memory(room)}; make room, or name a folder on another disk in {FOLDER_VARIABLE}"
        )


def _bytes_of(volume: Volume) -> int:
    """Of grey value and labels of a voxel."""
    size = volume.image.dtype.itemsize
    return size + 4 if volume.objects is not None else (1 + len(volume.labels)) * size


def _around(box: Box, shape: Triple, framing: Framing, size: Triple, overhang: Triple) -> Box:
    """What patches of this size on a part can see of its volume."""
    sides = zip(size, box.shape, overhang, strict=True)
    beyond = [max(out, -(-(side - there) // 2)) for side, there, out in sides]
    reach = [a + b for a, b in zip(framing.context, beyond, strict=True)]
    return box.grow(reach).intersect(Box.of_shape(shape))


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
            folder=folder,
            volume=self.volume.name,
            origin=self.box.start,
            shape=self.box.shape,
            stored=self.stored,
            volume_shape=self.volume.image.shape,
            class_counts=np.array(facts["class_counts"], np.int64),
            fully_valid=facts["fully_valid"],
            classes=self.classes,
            affinities=self.affinities,
            sha256=facts["sha256"],
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
    index, content = ClassIndex(layout.classes), _Content()
    sizes = {"chunk": _CHUNK[layout.flat], "shard": _SHARD[layout.flat]}
    stack = create_array(folder / "stack", (1 + layout.channels, *stored.shape), layout.dtype, **sizes)
    ids = None if layout.affinities is None else create_array(folder / _IDS, stored.shape, np.dtype(np.int32), **sizes)
    for block, image, target in layout.blocks():
        here, inside = block.relative_to(stored.start).slices, block.intersect(box)
        content.add(image, target)
        if ids is not None:
            write_block(ids, here, target[0], folder)
        elif inside.size:
            known = target[(slice(None), *inside.relative_to(block.start).slices)]
            index.add(known, inside.relative_to(box.start))
        both = np.concatenate([image[None], target[: layout.channels]], dtype=layout.dtype, casting="unsafe")
        write_block(stack, (slice(None), *here), both, folder)
    if layout.affinities is not None:
        _index_affinities(index, layout, layout.affinities, ids, folder)
    if layout.volume.weight is not None:
        store = create_array(folder / "weight", box.shape, np.dtype(np.float32), **sizes)
        for block, weights in layout.weights():
            content.add_weights(weights)
            write_block(store, block.relative_to(box.start).slices, weights, folder)
    with storage_errors(folder):
        places = {f"class_{k}": where for k, where in enumerate(index.places())}
        np.savez(folder / "places.npz", allow_pickle=False, **places)
    facts = {
        "volume": layout.volume.name,
        "shape": box.shape,
        "class_counts": index.counts.tolist(),
        "fully_valid": index.n_invalid == 0,
        "sha256": content.voxels,
    }
    return cache.publish(folder, content.key(layout), facts)


def _index_affinities(index: ClassIndex, layout: _Layout, affinities: Affinities, ids: Any, folder: Path) -> None:
    """Count the classes of a part whose ids have been written, since they depend on voxels of other blocks."""
    stored, part = Box.of_shape(layout.stored.shape), layout.box.relative_to(layout.stored.start)
    for block in part.blocks(_SLAB[layout.flat]):
        found = framed_ids(lambda box: read_block(ids, box.slices, folder), block.grow(affinities.frame), stored)
        index.add(targets_of_ids(found, affinities), block.relative_to(part.start))


def _targets_of(volume: Volume, box: Box) -> np.ndarray:
    """(K, Z, Y, X) labels, INVALID where a voxel does not count."""
    target = np.stack([label.read(box) for label in volume.labels])
    if volume.valid is not None:
        target[:, volume.valid.read(box) == 0] = INVALID
    return target


def _hash(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
