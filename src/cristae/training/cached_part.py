"""An annotated part of a volume in the cache, and the patches that are cut out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.formats.zarr_arrays import read_block
from cristae.data.mirror import read_mirrored
from cristae.errors import RunError
from cristae.sampling import Patch, SamplePart, counted_names
from cristae.training.cache_folder import FACTS
from cristae.training.cached_arrays import open_cached
from cristae.training.class_index import INVALID, ClassIndex
from cristae.training.framing import Framing
from cristae.training.regions import RegionContent

FIELD = "field"
"""The array of an entry with computed weights."""
_BLOCK: Triple = (16, 1024, 1024)
"""Voxels that are looked at together where all of a part are."""


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
            overlapping=not self.classes.exclusive,
        )

    def _index_within(self, box: Box, once: Sequence[int] | None) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Counts of the classes in a box inside the part, and a sample of the (N, 3) places of each."""
        index = ClassIndex(self.classes, once)
        for block in box.blocks(_BLOCK):
            index.add(self._targets(block), block)
        return index.counts, tuple(index.places())

    def _has_valid(self, box: Box) -> bool:
        return bool(np.any(np.all(self._targets(box) != INVALID, axis=0)))

    def _has_foreground(self, box: Box) -> bool:
        target = self._targets(box)
        return bool(np.any((target >= int(self.classes.background)) & (target != INVALID)))

    def _targets(self, box: Box) -> np.ndarray:
        """(K, Z, Y, X) of a box inside the part, counted from its corner."""
        return self._stored(box.shift(self.origin))[1:]

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
        for block in Box.of_shape(self.shape).blocks(_BLOCK):
            yield self._targets(block).astype(np.uint8)

    def has_weight(self) -> bool:
        """Whether a voxel that counts has a weight above 0; true of a volume without weights."""
        for block in Box.of_shape(self.shape).blocks(_BLOCK):
            weights = self._weights(block)
            if weights is None or np.any((weights > 0) & np.all(self._targets(block) != INVALID, axis=0)):
                return True
        return False

    def read(self, box: Box, framing: Framing) -> Patch:
        """Cut out a patch; what reaches outside the part does not count, and beyond the volume its image is mirrored.

        Args:
            box: Voxels of the target, counted from the part's corner; it may reach outside.
            framing: How much image is around them.
        """
        place = box.shift(self.origin)
        stack = read_mirrored(self._stored, place.grow(framing.context), self.volume_shape)
        centre = tuple(slice(a, a + n) for a, n in zip(framing.context, box.shape, strict=True))
        target = self._outside_invalid(stack[(slice(1, None), *centre)].astype(np.uint8, copy=False), box)
        weight = self._weights(box)
        image = stack[:1]
        if framing.flat:  # the slices of the image become channels
            image, target = image[0], target[:, 0]
            weight = None if weight is None else weight[0]
        valid = np.all(target != INVALID, axis=0)
        target = np.where(valid, target, np.uint8(0))
        return Patch(
            image=image,
            target=target[0] if self.classes.exclusive else target,
            valid=valid,
            weight=weight,
            box=place,
            volume=self.volume,
            volume_shape=self.volume_shape,
        )

    def _outside_invalid(self, target: np.ndarray, box: Box) -> np.ndarray:
        """A target (K, Z, Y, X), possibly mirrored, with nothing that counts outside the part."""
        inside = box.intersect(Box.of_shape(self.shape))
        if inside == box:
            return target
        result = np.full_like(target, INVALID)
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
