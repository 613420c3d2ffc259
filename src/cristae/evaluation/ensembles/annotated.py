"""The annotated voxels of some regions, in one fixed order: truth and probability maps as flat files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.files import storage_errors
from cristae.data.splits import Part, files_of, labelled_boxes
from cristae.data.volume import Volume
from cristae.errors import RunError
from cristae.inference.prediction import Prediction
from cristae.metrics.ensembling.criterion import table_shape


@dataclass(frozen=True, eq=False)
class Slab:
    """A box that is predicted at once, and the annotated boxes inside."""

    volume: Volume
    box: Box
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class _Plane:
    """One slice of an annotated box."""

    slab: int
    box: Box


@dataclass(frozen=True, eq=False)
class AnnotatedVoxels:
    """The voxels of some regions that count, slice by slice."""

    parts: tuple[Part, ...]
    classes: Classes

    @cached_property
    def slabs(self) -> tuple[Slab, ...]:
        """What has to be predicted: each range of annotated slices of a region, its tiles together."""
        groups: dict[tuple[Any, ...], list[tuple[Part, Box]]] = {}
        for part in self.parts:
            for box in labelled_boxes(part):
                region = part.slab or part.box
                groups.setdefault((id(part.volume), region, box.start[0], box.stop[0]), []).append((part, box))
        return tuple(
            Slab(found[0][0].volume, Box.around([box for _, box in found]), tuple(box for _, box in found))
            for found in groups.values()
        )

    @cached_property
    def _planes(self) -> tuple[tuple[_Plane, ...], ...]:
        """Of each unit: the pieces of one slice of one volume."""
        units: dict[tuple[int, int], list[_Plane]] = {}
        for number, slab in enumerate(self.slabs):
            for box in slab.boxes:
                for z in range(box.start[0], box.stop[0]):
                    plane = Box((z, *box.start[1:]), (z + 1, *box.stop[1:]))
                    units.setdefault((id(slab.volume), z), []).append(_Plane(number, plane))
        return tuple(tuple(planes) for planes in units.values())

    @cached_property
    def units(self) -> np.ndarray:
        """(U + 1,) where the voxels of each slice begin; the last entry is their number."""
        counts = [sum(int(self._counts(plane).sum()) for plane in planes) for planes in self._planes]
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    @cached_property
    def places(self) -> tuple[tuple[tuple[Volume, Box], ...], ...]:
        """Of each slice that counts by itself its volume and boxes."""
        return tuple(tuple((self.slabs[one.slab].volume, one.box) for one in planes) for planes in self._planes)

    @property
    def voxels(self) -> int:
        """Voxels that count."""
        return int(self.units[-1])

    @cached_property
    def digest(self) -> str:
        """Of where the voxels are and what their images and labels hold; files by name, size and time of change."""
        content = hashlib.sha256(repr(self.classes.scheme).encode())
        for slab in self.slabs:
            files = [file for file in files_of(slab.volume) if isinstance(file, Path) and file.exists()]
            facts = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
            content.update(repr((facts, str(slab.box), list(map(str, slab.boxes)))).encode())
        for plane in self._all_planes():
            content.update(np.packbits(self._counts(plane)).tobytes())
        return content.hexdigest()

    def truth(self) -> np.ndarray:
        """uint8 (T, N): class ids, or 0 and 1 of each overlapping class."""
        rows = table_shape(self.classes)[0]
        found = np.empty((rows, self.voxels), np.uint8)
        for place, plane in self._places():
            labels = np.stack([image.read(plane.box)[0] for image in self.slabs[plane.slab].volume.labels])
            found[:, place] = labels[:, self._counts(plane)]
        return found

    def write_maps(self, path: Path, predictions: Sequence[Prediction]) -> None:
        """Write the probabilities of these voxels, uint8 (C, N), in one step.

        Args:
            path: The .npy file.
            predictions: One for each slab, with probabilities.

        Raises:
            RunError: A prediction has other classes.
            StorageError: The disk is full.
        """
        self._require_classes(predictions)
        beside = path.with_name(f".{path.name}.part")
        with storage_errors(path):
            found = np.lib.format.open_memmap(beside, "w+", np.uint8, (self.classes.n_logits, self.voxels))
            self.fill(found, predictions)
            found.flush()
            del found
            beside.replace(path)

    def fill(self, found: np.ndarray, predictions: Sequence[Prediction]) -> None:
        """Put the probabilities of these voxels into an array, slice by slice.

        Args:
            found: uint8 (C, N).
            predictions: One for each slab, with probabilities, of its box or more.

        Raises:
            RunError: A prediction has other classes.
        """
        self._require_classes(predictions)
        for place, plane in self._places():
            prediction = predictions[plane.slab]
            box = plane.box.relative_to(prediction.box.start)
            maps = np.stack([image.read(box)[0] for image in prediction.probabilities])
            found[:, place] = maps[:, self._counts(plane)]

    def _require_classes(self, predictions: Sequence[Prediction]) -> None:
        channels = self.classes.n_logits
        for prediction in predictions:
            if prediction.classes.scheme != self.classes.scheme or len(prediction.probabilities) != channels:
                raise RunError(
                    f"{prediction.path}: is of the classes {prediction.classes.listed}, expected {self.classes.listed}"
                )

    def _places(self) -> Iterator[tuple[slice, _Plane]]:
        """Where the voxels of each piece of a slice stand."""
        start = 0
        for plane in self._all_planes():
            stop = start + int(self._counts(plane).sum())
            yield slice(start, stop), plane
            start = stop

    def _all_planes(self) -> Iterator[_Plane]:
        for planes in self._planes:
            yield from planes

    def _counts(self, plane: _Plane) -> np.ndarray:
        """bool (Y, X): which voxels of the piece count."""
        valid = self.slabs[plane.slab].volume.valid
        if valid is None:
            return np.ones(plane.box.shape[1:], bool)
        return np.asarray(valid.read(plane.box)[0] != 0)
