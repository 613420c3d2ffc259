"""What a sampler needs of the parts of volumes that it draws from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from pydantic import PositiveInt

from cristae.data.box import Box, Triple
from cristae.errors import LabelError

PatchSize = tuple[PositiveInt, PositiveInt] | tuple[PositiveInt, PositiveInt, PositiveInt]
"""(y, x) voxels for 2D networks, (z, y, x) for 3D ones."""
ClassPlaces = tuple[np.ndarray, Sequence[np.ndarray]]
"""(K,) counts of the classes in a box, and for each a sample of the (N, 3) places where it is."""


class ClassVoxels(Sequence[np.ndarray]):
    """Arrays of places, one for each class, that are only made where one of them is asked for."""

    def __init__(self, n_classes: int, make: Callable[[], Sequence[np.ndarray]]) -> None:
        self._n_classes, self._make = n_classes, make

    @cached_property
    def _made(self) -> Sequence[np.ndarray]:
        return self._make()

    def __len__(self) -> int:
        return self._n_classes

    @overload
    def __getitem__(self, place: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[np.ndarray]: ...
    def __getitem__(self, place: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        return self._made[place]


@dataclass(frozen=True, eq=False)
class SamplePart:
    """One annotated box of voxels, counted from its own corner, and an index of where its classes are."""

    shape: Triple
    """Voxels (z, y, x)."""
    class_counts: np.ndarray
    """(K,) int64: voxels of each class that count, by id. Overlapping classes: index 0 holds the voxels without any."""
    class_voxels: Sequence[np.ndarray]
    """For each class an even sample of the (N, 3) int32 places where it is, in random order; all of them where they are
    as many as `class_counts` says."""
    has_foreground: Callable[[Box], bool]
    """Whether a box of the part holds any voxel of a class other than the background; its labels are read."""
    has_valid: Callable[[Box], bool]
    """Whether a box of the part holds any voxel that counts; its labels are read."""
    fully_valid: bool = True
    """Whether every voxel counts."""
    first_foreground: int = 1
    """The lowest id of a structure: 0 where the classes have no background."""
    class_names: tuple[str, ...] = ()
    """The name of each of the K classes, as `counted_names` gives them."""
    volume: str = ""
    """The volume that it is a part of."""
    index_within: Callable[[Box, Sequence[int] | None], ClassPlaces] | None = None
    """Counts and places of the classes in a box of the part, which is read for it, as `within` has them; None where
    `class_voxels` are all."""
    overlapping: bool = False
    """Whether a voxel can be in several classes."""

    @property
    def n_valid(self) -> int:
        """Voxels that a uniform draw may pick (overlapping classes may count one twice)."""
        return int(self.class_counts.sum())

    @cached_property
    def lists_all(self) -> bool:
        """Whether `class_voxels` has every voxel, not a sample of them."""
        return self._lists_from(0)

    def _lists_from(self, first: int) -> bool:
        """The same of classes from `first` on."""
        listed = [len(voxels) for voxels in self.class_voxels[first:]]
        return bool(listed == self.class_counts[first:].tolist())

    @cached_property
    def _listed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, rising, places and classes of all voxels in `class_voxels`."""
        places = np.concatenate(list(self.class_voxels))
        classes = np.repeat(np.arange(len(self.class_voxels)), [len(voxels) for voxels in self.class_voxels])
        rows = places[:, 0].astype(np.int64) * self.shape[1] + places[:, 1]
        order = np.argsort(rows, kind="stable")
        return rows[order], places[order], classes[order]

    def listed_in(self, box: Box, *, first: int = 0) -> np.ndarray:
        """The (N, 3) places in a box of the part that `class_voxels` has for classes from `first` on."""
        rows, places, classes = self._listed
        found = []
        for z in range(box.start[0], box.stop[0]):
            ends = np.searchsorted(rows, [z * self.shape[1] + y for y in (box.start[1], box.stop[1])])
            near, of = places[slice(*ends)], classes[slice(*ends)]
            found.append(near[(near[:, 2] >= box.start[2]) & (near[:, 2] < box.stop[2]) & (of >= first)])
        return np.concatenate(found) if found else places[:0]

    def holds_valid(self, box: Box) -> bool:
        """Whether any voxel of a box that may reach outside counts; labels are read where no list says it."""
        if self.fully_valid:
            return True
        box = box.intersect(Box.of_shape(self.shape))
        return bool(len(self.listed_in(box))) or (not self.lists_all and self.has_valid(box))

    def holds_foreground(self, box: Box) -> bool:
        """The same for voxels of structures."""
        box, first = box.intersect(Box.of_shape(self.shape)), self.first_foreground
        return bool(len(self.listed_in(box, first=first))) or (not self._lists_from(first) and self.has_foreground(box))

    def within(self, box: Box, once: Sequence[int] | None = None) -> ClassPlaces:
        """Counts of the classes in a box inside the part, and a sample of the places of each.

        Args:
            box: Where.
            once: All classes: a voxel of several that overlap counts for the first of them in this order. None counts
                it for each.
        """
        once = once if self.overlapping else None
        if box == Box.of_shape(self.shape) and once is None:
            return self.class_counts, self.class_voxels
        if self.index_within is not None and not self.lists_all:
            return self.index_within(box, once)
        inside = [np.all((voxels >= box.start) & (voxels < box.stop), axis=1) for voxels in self.class_voxels]
        chosen = [voxels[keep] for voxels, keep in zip(self.class_voxels, inside, strict=True)]
        if once is not None:
            chosen = _each_once(chosen, once, self.shape)
        return np.array([len(voxels) for voxels in chosen], np.int64), tuple(chosen)


@dataclass(frozen=True)
class Place:
    """Where one patch comes from. The box may reach outside the part; what lies outside is padding."""

    part: int
    box: Box


def _each_once(places: Sequence[np.ndarray], order: Sequence[int], shape: Triple) -> list[np.ndarray]:
    """Places (N, 3) of each class without those of the classes before it in `order`."""
    numbers = [np.ravel_multi_index(tuple(one.T), shape) for one in places]
    found = list(places)
    for rank, k in enumerate(order):
        earlier = [numbers[other] for other in order[:rank]]
        found[k] = places[k][~np.isin(numbers[k], np.concatenate(earlier))] if earlier else places[k]
    return found


def require_voxels(parts: Sequence[SamplePart]) -> None:
    """Make sure that there is a voxel that counts, without which no patch could be placed.

    Raises:
        LabelError: There is none.
    """
    if not any(part.n_valid for part in parts):
        raise LabelError("no voxel of the regions counts, so no patch can be placed; choose regions that are labelled")


def centred_box(centre: np.ndarray, size: Triple, shape: Triple) -> Box:
    """The box of `size` around `centre`, moved inside `shape` where it fits; centred on the part where it does not."""
    start = []
    for c, s, n in zip(centre.tolist(), size, shape, strict=True):
        start.append(min(max(c - s // 2, 0), n - s) if n >= s else -((s - n) // 2))
    return box_at(start, size)


def box_at(start: Sequence[int], size: Triple) -> Box:
    """The box of `size` with this corner."""
    z, y, x = start
    return Box((z, y, x), (z + size[0], y + size[1], x + size[2]))


def as_triple(size: tuple[int, ...]) -> Triple:
    """A patch size as (z, y, x); a flat patch is one slice thick."""
    z, y, x = (1, *size) if len(size) == 2 else size
    return z, y, x
