"""An annotated part of a volume in the cache, and the patches that are cut out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cristae.data.affinities import UNKNOWN_ID
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.mirror import mirrored, mirrored_box
from cristae.sampling import ClassVoxels, Patch, SamplePart, counted_names
from cristae.training.cached_arrays import CachedArray
from cristae.training.cached_ids import CachedObjects
from cristae.training.class_index import INVALID, ClassIndex, labelled
from cristae.training.framing import Framing
from cristae.training.occupied import OccupiedCells
from cristae.training.regions import RegionContent

PLACES = "places.npz"
"""The file of an entry with places of each class."""
_BLOCK: Triple = (16, 1024, 1024)
"""Voxels that are looked at together where all of a part are."""


@dataclass(frozen=True, eq=False)
class CachedIndex:
    """Where classes and voxels that count are, as an entry keeps it."""

    entry: Path
    n_classes: int
    box: Box
    """What is labelled of the entry, in its volume: a part, or the region that parts are tiles of."""

    @cached_property
    def of_classes(self) -> tuple[np.ndarray, ...]:
        """For each class a sample of the (N, 3) places where it is, counted from the corner of `box`."""
        with np.load(self.entry / PLACES, allow_pickle=False) as found:
            return tuple(found[f"class_{k}"] for k in range(self.n_classes))

    @cached_property
    def _occupied(self) -> OccupiedCells:
        with np.load(self.entry / PLACES, allow_pickle=False) as found:
            return OccupiedCells(self.box.shape, found["occupied"])

    def holds_valid(self, box: Box) -> bool | None:
        """Whether any voxel of a box of the volume, inside `box`, counts; None where that is not known."""
        return self._occupied.holds(box.relative_to(self.box.start))


@dataclass(frozen=True, eq=False)
class CachedPart:
    """One annotated box of a volume on disk, ready to be cut into patches."""

    stack: CachedArray
    """Image and targets (1 + K, Z, Y, X) of the part and of what patches see around it, and maybe of more; the image
    alone where there are `objects`."""
    index: CachedIndex
    volume: str
    origin: Triple
    """Where the part starts in its volume, in voxels of the working grid."""
    shape: Triple
    volume_shape: Triple
    class_counts: np.ndarray
    """(K,) int64, as in SamplePart."""
    fully_valid: bool
    classes: Classes
    """What its labels mean; the target has a channel for each class of those that overlap."""
    sha256: str
    """Hash of the grey values and labels on disk."""
    weight: CachedArray | None = None
    """The volume's own weights float32; None stands for 1."""
    field: CachedArray | None = None
    """Computed weights float32 of the whole part (see `training.weight_field`); None stands for 1."""
    objects: CachedObjects | None = None
    """Object ids, where the classes are affinities."""
    filtered: CachedArray | None = None
    """Filtered copies (A, Z, Y, X) of the image, cut from whole slices, as far as `stack` goes (see
    `training.filtered_channels`); None without any."""

    @property
    def folder(self) -> Path:
        """The entry that holds its voxels."""
        return self.stack.entry

    @property
    def box(self) -> Box:
        """The part in its volume."""
        return Box.of_shape(self.shape).shift(self.origin)

    @property
    def content(self) -> RegionContent:
        """What the part holds, for the page and for provenance."""
        return RegionContent(self.volume, self.box, self.class_counts, self.sha256)

    @cached_property
    def class_voxels(self) -> tuple[np.ndarray, ...]:
        """For each class a sample of the (N, 3) places where it is; of a tile it is taken when it is asked for."""
        if self.box == self.index.box:
            return self.index.of_classes
        return self._index_within(Box.of_shape(self.shape), None)[1]

    def sample_part(self) -> SamplePart:
        """What a sampler needs to know."""
        return SamplePart(
            self.shape,
            self.class_counts,
            ClassVoxels(len(self.class_counts), lambda: self.class_voxels),
            self._has_foreground,
            self._has_valid,
            self.fully_valid,
            first_foreground=int(self.classes.background),
            class_names=counted_names(self.classes),
            volume=self.volume,
            index_within=self._index_within,
            overlapping=not self.classes.exclusive,
        )

    def _index_within(self, box: Box, once: Sequence[int] | None) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Counts of the classes in a box inside the part, and a sample of the (N, 3) places of each."""
        index = ClassIndex(self.classes, once)
        for block in box.blocks(_BLOCK):
            index.add(self._targets(block), block)
        return index.counts, tuple(index.places())

    def _has_valid(self, box: Box) -> bool:
        known = self.index.holds_valid(box.shift(self.origin))
        return bool(np.any(labelled(self._targets(box)))) if known is None else known

    def _has_foreground(self, box: Box) -> bool:
        target = self._targets(box)
        return bool(np.any((target >= int(self.classes.background)) & (target != INVALID)))

    def _targets(self, box: Box) -> np.ndarray:
        """(K, Z, Y, X) of a box inside the part, counted from its corner."""
        place = box.shift(self.origin)
        if self.objects is None:
            return self.stack.read(place)[1:]
        target = self.objects.targets(place)
        self.objects.ids.require()
        return target

    def label_slice(self, z: int) -> np.ndarray:
        """uint8 ids (Y, X) of a slice of the part, INVALID where a voxel does not count; for exclusive classes."""
        _, y, x = self.shape
        labels: np.ndarray = self._targets(Box((z, 0, 0), (z + 1, y, x)))[0, 0].astype(np.uint8)
        return labels

    def label_blocks(self) -> Iterator[np.ndarray]:
        """uint8 labels (K, Z, Y, X) in blocks that cover the part once, INVALID where a voxel does not count."""
        for block in Box.of_shape(self.shape).blocks(_BLOCK):
            yield self._targets(block).astype(np.uint8)

    def has_weight(self) -> bool:
        """Whether a voxel that counts has a weight above 0; true of a volume without weights."""
        for block in Box.of_shape(self.shape).blocks(_BLOCK):
            weights = self._weights(block)
            if weights is None or np.any((weights > 0) & labelled(self._targets(block))):
                return True
        return False

    def read(self, box: Box, framing: Framing) -> Patch:
        """Cut out a patch; what reaches outside the part does not count, and beyond the volume its image is mirrored.

        Args:
            box: Voxels of the target, counted from the part's corner; it may reach outside.
            framing: How much image is around them, but for the target's frame.
        """
        (patch,) = read_patches([(self, box)], framing)
        return patch

    def begin(self, box: Box, framing: Framing) -> Callable[[], Patch]:
        """Start to read a patch; what is returned waits for it. `require` of the arrays comes after it."""
        place = box.shift(self.origin)
        seen = place.grow([-around for around in framing.frame]).grow(framing.context)
        needed = mirrored_box(seen, self.volume_shape)
        voxels, weights = self.stack.begin(needed), self._begin_weights(box)
        copies = None if self.filtered is None else self.filtered.begin(needed)
        ids = None if self.objects is None else self.objects.begin(place)

        def finish() -> Patch:
            stack = mirrored(voxels(), needed, seen, self.volume_shape)
            if ids is None:
                centre = tuple(slice(a, a + n) for a, n in zip(framing.context, box.shape, strict=True))
                target, valid = self._counting(stack[(slice(1, None), *centre)].astype(np.uint8, copy=False), box)
            else:
                target = ids()[None]
                valid = self._within(target[0] != UNKNOWN_ID, box)
            image, weight = stack[:1], weights()
            if framing.flat:  # the slices of the image become channels
                image, target, valid = image[0], target[:, 0], valid[0]
                weight = None if weight is None else weight[0]
            return Patch(
                image=image,
                target=target[0] if self.classes.exclusive or ids is not None else target,
                valid=valid,
                weight=weight,
                box=place,
                volume=self.volume,
                volume_shape=self.volume_shape,
                filtered=None if copies is None else mirrored(copies(), needed, seen, self.volume_shape),
            )

        return finish

    def _counting(self, target: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """A target (K, Z, Y, X), possibly mirrored, with 0 where nothing counts; and where it does, bool (Z, Y, X)."""
        if self.fully_valid and box.intersect(Box.of_shape(self.shape)) == box:
            return target, np.ones(box.shape, bool)
        valid = self._within(labelled(target), box)
        return target * valid, valid

    def _within(self, valid: np.ndarray, box: Box) -> np.ndarray:
        """Where voxels (Z, Y, X) of a box count, with nothing that does outside the part."""
        inside = box.intersect(Box.of_shape(self.shape))
        if inside == box:
            return valid
        counts, there = np.zeros(box.shape, bool), inside.relative_to(box.start).slices
        counts[there] = valid[there]
        return counts

    @property
    def arrays(self) -> tuple[CachedArray, ...]:
        """All that a patch is read from."""
        return tuple(one for one in (self.stack, self.weight, self.field, self.filtered) if one is not None)

    def _begin_weights(self, box: Box) -> Callable[[], np.ndarray | None]:
        """Start to read what `_weights` gives."""
        inside = box.intersect(Box.of_shape(self.shape))
        begun = [array.begin(inside.shift(self.origin)) for array in (self.weight, self.field) if array is not None]

        def finish() -> np.ndarray | None:
            result: np.ndarray | None = None
            for voxels in begun:
                found = np.zeros(box.shape, np.float32)
                found[inside.relative_to(box.start).slices] = voxels()
                result = found if result is None else result * found
            return result

        return finish

    def _weights(self, box: Box) -> np.ndarray | None:
        """The volume's own weights times the computed field (Z, Y, X), 0 outside the part; None without either."""
        weights = self._begin_weights(box)()
        _require([self])
        return weights


def read_patches(places: Sequence[tuple[CachedPart, Box]], framing: Framing) -> list[Patch]:
    """Cut out patches as `CachedPart.read` does, in less time than one by one.

    Args:
        places: A part of each, and a box counted from its corner.
        framing: How much image is around them, but for the target's frame.

    Raises:
        RunError: Cached voxels are not there any more.
    """
    begun = [part.begin(box, framing) for part, box in places]
    patches = [finish() for finish in begun]
    _require([part for part, _ in places])
    return patches


def _require(parts: Iterable[CachedPart]) -> None:
    for array in {array.entry: array for part in parts for array in part.arrays}.values():
        array.require()
