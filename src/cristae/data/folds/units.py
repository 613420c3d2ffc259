"""What a cross-validation keeps together: samples, volumes, images, slices or planes of a block."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np

from cristae.data.box import Box
from cristae.data.class_counts import class_counts, class_counts_along
from cristae.data.classes import Classes
from cristae.data.description import VolumeConfig
from cristae.data.folds.config import By, FoldsConfig
from cristae.data.splits import Part, files_of, labelled_boxes
from cristae.errors import VolumeError
from cristae.progress import Progress, Task

_BLOCK = (16, 1024, 1024)
_SHOWN = 8
_AXES = "zyx"


@dataclass(frozen=True, eq=False)
class Piece:
    """A labelled part of the pool, which is in one fold as a whole."""

    region: int
    """Of which region of the pool it is."""
    part: Part
    counts: np.ndarray
    """(256,) voxels of each class id that count."""


@dataclass(frozen=True, eq=False)
class Unit:
    """Pieces that stay together."""

    name: str
    pieces: tuple[Piece, ...]
    row: str = ""
    """Units of one row follow each other; '' for units that belong nowhere in particular."""
    place: int = 0
    """Where it lies along the axis of its row, in voxels."""
    axis: int = 0
    """That axis."""

    @property
    def counts(self) -> np.ndarray:
        """(256,) voxels of each class id that count."""
        total: np.ndarray = np.stack([piece.counts for piece in self.pieces]).sum(axis=0)
        return total


def name_in_recipe(part: Part) -> str:
    """What the recipe calls the volume of a part: images of `kind: images` are called 'volume/image'."""
    return part.volume.name.split("/", 1)[0]


def choose_by(config: FoldsConfig, pool: Sequence[Part], volumes: Mapping[str, VolumeConfig]) -> tuple[By, str]:
    """What stays together, and why, in words for a person.

    Raises:
        VolumeError: `auto` finds nothing of which there are two.
    """
    if config.by != "auto":
        return config.by, "as folds.by says"
    samples = {sample_of(part.volume.name, volumes) for part in pool}
    named = {name_in_recipe(part) for part in pool}
    images = [part for part in pool if volumes[name_in_recipe(part)].kind == "images"]
    slices = sum(box.shape[0] for part in pool for box in labelled_boxes(part))
    partly = "; not every volume names its sample" if None in samples and len(samples) > 1 else ""
    if None not in samples and len(samples) > 1:
        return "samples", f"the data name {len(samples)} samples"
    if len(named) > 1:
        return "volumes", f"the regions lie in {len(named)} volumes{partly}"
    if len(images) > 1:
        return "images", f"the regions are {len(images)} images{partly}"
    if slices > 1:
        return "slices", f"the regions lie in one volume, with {slices} labelled slices"
    raise VolumeError(
        "folds.by: auto finds one labelled slice, of which no folds can be made; cut it into blocks with "
        "`by: boxes`, or leave `folds` out"
    )


def sample_of(name: str, volumes: Mapping[str, VolumeConfig]) -> str | None:
    """The sample that an opened volume, such as 'cell' or 'tiles/A0001', is of; None where the recipe names none.

    Raises:
        VolumeError: An image matches patterns of two samples.
    """
    volume, _, stem = name.partition("/")
    config = volumes[volume]
    if config.samples is None:
        return config.sample
    found = sorted({sample for pattern, sample in config.samples.items() if fnmatchcase(stem, pattern)})
    if len(found) > 1:
        raise VolumeError(
            f"data.volumes.{config.name}.samples: image '{stem}' is of '{found[0]}' by one pattern and of '{found[1]}' "
            "by another; write patterns that match each image once"
        )
    return found[0] if found else None


def units_of(
    by: By,
    config: FoldsConfig,
    pool: Sequence[Part],
    volumes: Mapping[str, VolumeConfig],
    classes: Classes,
    progress: Progress,
) -> tuple[Unit, ...]:
    """Everything that is labelled of the pool as units, with the voxels of each class in them.

    Args:
        by: What stays together.
        config: Which axis boxes are cut along.
        pool: The regions that are folded.
        volumes: Their volumes as the recipe describes them, by name.
        classes: What labels mean.
        progress: Where reading is shown.

    Raises:
        VolumeError: A volume names no sample, where samples are to stay together.
        CristaeError: Labels cannot be read.
    """
    if by == "boxes" and (flat := [part for part in pool if volumes[name_in_recipe(part)].kind == "images"]):
        raise VolumeError(
            f"folds.by: boxes are blocks of a volume, but '{name_in_recipe(flat[0])}' is `kind: images`; write "
            "`by: images`"
        )
    total = sum(box.size for part in pool for box in labelled_boxes(part))
    with progress.task("Counting the classes of the folds", total, unit="voxels") as task:
        read = _Reader(classes.exclusive, task)
        if by == "slices":
            return _rows(pool, dict.fromkeys(range(len(pool)), 0), read, joined=True)
        if by == "boxes":
            return _rows(pool, {number: _axis(config, part) for number, part in enumerate(pool)}, read, joined=False)
        pieces: dict[str, list[Piece]] = defaultdict(list)
        for number, part in enumerate(pool):
            pieces[_whole(by, part, volumes)].append(Piece(number, part, read.sums(part)))
    return tuple(Unit(name, tuple(found)) for name, found in pieces.items())


def _whole(by: By, part: Part, volumes: Mapping[str, VolumeConfig]) -> str:
    if by == "volumes":
        return name_in_recipe(part)
    if by == "images":
        return part.volume.name
    sample = sample_of(part.volume.name, volumes)
    if sample is None:
        images = volumes[name_in_recipe(part)].kind == "images"
        where, field = f"data.volumes.{name_in_recipe(part)}", "samples: {PATTERN: NAME}" if images else "sample: NAME"
        raise VolumeError(
            f"folds.by: samples need the sample of '{part.volume.name}', which the recipe does not name; say it in "
            f"{where} with `{field}`, or choose another `by`"
        )
    return sample


def _axis(config: FoldsConfig, part: Part) -> int:
    """Along which axis a region is cut into blocks: the longest in nm, or in voxels where their size is unknown."""
    if config.axis != "auto":
        return _AXES.index(config.axis)
    size = part.volume.voxel_size_nm or (1.0, 1.0, 1.0)
    return int(np.argmax(np.multiply(part.box.shape, size)))


def _rows(pool: Sequence[Part], axes: Mapping[int, int], read: _Reader, *, joined: bool) -> tuple[Unit, ...]:
    """Planes of one voxel along the axis of each region; `joined` are those of all regions of the same files."""
    pieces: dict[tuple[str, int], list[Piece]] = defaultdict(list)
    names: dict[str, str] = {}
    for number, part in enumerate(pool):
        axis = axes[number]
        row = "|".join(map(str, files_of(part.volume))) if joined else str(number)
        names.setdefault(row, part.volume.name)
        for place, plane, counts in read.planes(part, axis):
            pieces[row, place].append(Piece(number, replace(part, box=plane), counts))
    rows = list(names)
    return tuple(
        Unit(f"{names[row]} {_AXES[axes[found[0].region]]} {place}", tuple(found), row, place, axes[found[0].region])
        for (row, place), found in sorted(pieces.items(), key=lambda item: (rows.index(item[0][0]), item[0][1]))
    )


def counts_of(part: Part, *, exclusive: bool, task: Task | None = None) -> np.ndarray:
    """(256,) voxels of each class id in what is labelled of a part, read in blocks."""
    counts = np.zeros(256, np.int64)
    for box in labelled_boxes(part):
        for block in box.blocks(_BLOCK):
            counts += class_counts(part.volume, block, exclusive=exclusive)
            if task is not None:
                task.advance(block.size)
    return counts


@dataclass(frozen=True, eq=False)
class _Reader:
    """Counts classes, and shows how far it is."""

    exclusive: bool
    task: Task

    def sums(self, part: Part) -> np.ndarray:
        """(256,) voxels of each class id in what is labelled of a part."""
        return counts_of(part, exclusive=self.exclusive, task=self.task)

    def planes(self, part: Part, axis: int) -> list[tuple[int, Box, np.ndarray]]:
        """Place, box and counts of each plane of a part along an axis; along z, of each that is labelled."""
        found = dict[int, np.ndarray]()
        for box in labelled_boxes(part):
            for block in box.blocks(_BLOCK):
                rows = class_counts_along(part.volume, block, axis, exclusive=self.exclusive)
                for place, row in enumerate(rows, start=block.start[axis]):
                    found[place] = found.get(place, 0) + row
                self.task.advance(block.size)
        return [(place, _plane(part.box, axis, place), found[place]) for place in sorted(found)]


def _plane(box: Box, axis: int, place: int) -> Box:
    start, stop = list(box.start), list(box.stop)
    start[axis], stop[axis] = place, place + 1
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def shown(names: Sequence[str]) -> str:
    """Names for a message."""
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
