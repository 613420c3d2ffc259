"""Which part of which volume is for what, and whether the parts keep apart."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import numpy as np

from cristae.data.address import Place
from cristae.data.box import Box
from cristae.data.description import Region, VolumeConfig
from cristae.data.formats.paths import find_source
from cristae.data.names import stem_of
from cristae.data.slice_ranges import ranges_text, slice_ranges
from cristae.data.volume import Volume
from cristae.errors import MissingFileError, VolumeError

_SHOWN = 12
"""Names that a message lists."""

Opened = Mapping[str, tuple[VolumeConfig, tuple[Volume, ...]]]
"""By the name of a volume in the recipe: its description and what it opened to (several for `kind: images`)."""


@dataclass(frozen=True)
class Part:
    """A region of one volume."""

    volume: Volume
    box: Box
    slab: Box | None = None
    """The region that it is one of many tiles of; None where it is a region by itself."""


def parts_of(regions: Sequence[Region], opened: Opened, *, split: str) -> tuple[Part, ...]:
    """The parts that the regions of a split name, in their order.

    Args:
        regions: As the recipe gives them.
        opened: The volumes.
        split: 'train', 'validate' or 'test', for messages.

    Raises:
        VolumeError: A region names what does not exist, or has no labelled slice.
    """
    parts = []
    for place, region in enumerate(regions):
        where = f"data.{split}.{place}"
        if region.volume not in opened:
            raise VolumeError(f"{where}: there is no volume '{region.volume}'; data.volumes has {_quoted(opened)}.")
        config, volumes = opened[region.volume]
        found = _images(region, volumes, where) if config.kind == "images" else _boxes(region, volumes[0], where)
        _check_labelled(found, where)
        parts.extend(found)
    return tuple(parts)


def labelled_boxes(part: Part) -> tuple[Box, ...]:
    """The part cut to ranges of consecutive labelled slices; empty when nothing in it is labelled."""
    volume, box = part.volume, part.box
    if not volume.labels:
        return ()
    if volume.labelled_slices is None:
        return (box,)
    inside = [z for z in volume.labelled_slices if box.start[0] <= z < box.stop[0]]
    return tuple(_slab(box, start, stop) for start, stop in slice_ranges(inside))


def check_apart(splits: Mapping[str, Sequence[Part]]) -> None:
    """Make sure that no voxel is in two parts, be it of two splits or of one, under whatever names.

    Raises:
        VolumeError: Two parts overlap; the message names the slices.
    """
    for before, after in neighbours(splits):
        common = before[1].intersect(after[1])
        if not common.size:
            continue
        (split, box, name), (other, other_box, other_name) = before, after
        cure = "an honest score needs data that training never saw" if split != other else "name each voxel once"
        raise VolumeError(
            f"data.{split} and data.{other} overlap in {both_names(name, other_name)}: {box} and {other_box} share "
            f"{_slices(common)}; {cure}."
        )


def neighbours(
    splits: Mapping[str, Sequence[Part]],
) -> Iterable[tuple[tuple[str, Box, str], tuple[str, Box, str]]]:
    """Pairs of parts of the same files that overlap or touch, each as its split, box and volume; in the order of boxes.

    Files are the same where they are one on disk, whatever the volumes are called.
    """
    by_files: dict[tuple[Place, ...], list[tuple[str, Box, str]]] = defaultdict(list)
    files = cache(files_of)
    for split, parts in splits.items():
        for part in parts:
            by_files[files(part.volume)].append((split, part.box, part.volume.name))
    for entries in by_files.values():
        entries.sort(key=lambda entry: entry[1])
        starts, stops = (np.array([[box.start, box.stop][side] for _, box, _ in entries]) for side in (0, 1))
        for place, before in enumerate(entries):
            last = int(np.searchsorted(starts[:, 0], before[1].stop[0], side="right"))
            later = slice(place + 1, last)
            meets = np.all((starts[later] <= before[1].stop) & (stops[later] >= before[1].start), axis=1)
            for number in np.flatnonzero(meets):
                yield before, entries[place + 1 + int(number)]


def _images(region: Region, volumes: Sequence[Volume], where: str) -> list[Part]:
    if region.slices is not None or region.box is not None:
        raise VolumeError(f"{where}: '{region.volume}' is `kind: images`; choose with `images: [...]`, not by slices.")
    stems = [stem_of(volume.image.path.name) for volume in volumes]
    chosen = set(range(len(stems))) if region.images is None else set[int]()
    for pattern in region.images or ():
        hits = {place for place, stem in enumerate(stems) if fnmatchcase(stem, pattern)}
        if not hits:
            raise VolumeError(f"{where}: no image of '{region.volume}' matches '{pattern}'; it has {_quoted(stems)}.")
        chosen |= hits
    return [Part(volumes[place], Box.of_shape(volumes[place].image.shape)) for place in sorted(chosen)]


def _boxes(region: Region, volume: Volume, where: str) -> list[Part]:
    shape = volume.image.shape
    whole = Box.of_shape(shape)
    if region.images is not None:
        raise VolumeError(f"{where}: '{volume.name}' is a stack; choose with `slices` or `box`, or set `kind: images`.")
    if region.box is not None:
        try:
            return [Part(volume, Box.parse(region.box, shape))]
        except ValueError as error:
            raise VolumeError(f"{where}: {error}; '{volume.name}' has {whole}.") from error
    if region.slices is None:
        return [Part(volume, whole)]
    chosen = _slice_numbers(region.slices, shape[0])
    outside = [z for z in chosen if not 0 <= z < shape[0]]
    if outside or not chosen:
        what = f"holds slice {outside[0]}" if outside else "is empty"
        raise VolumeError(
            f"{where}: `slices: {_shown(region.slices)}` {what}, but '{volume.name}' has slices 0 to {shape[0] - 1}."
        )
    return [Part(volume, _slab(whole, start, stop)) for start, stop in slice_ranges(chosen)]


def _slice_numbers(slices: str | tuple[int, ...], depth: int) -> list[int]:
    if not isinstance(slices, str):
        return list(slices)
    start, stop, step = re.fullmatch(r"\s*(\d*):(\d*)(?::(\d*))?\s*", slices).groups()  # type: ignore[union-attr]
    return list(range(int(start or 0), int(stop or depth), int(step or 1)))


def _check_labelled(parts: Sequence[Part], where: str) -> None:
    if any(labelled_boxes(part) for part in parts):
        return
    volume = parts[0].volume
    if not volume.labels:
        raise VolumeError(f"{where}: '{volume.name}' has no labels; add `labels:` to it, or take it out of the split.")
    shown = ranges_text(volume.labelled_slices or ())
    raise VolumeError(
        f"{where}: nothing in this part of '{volume.name}' is labelled; its labelled slices are {shown} (from 0)."
    )


def files_of(volume: Volume) -> tuple[Place, ...]:
    """The files, or the array inside one, that hold a volume's voxels, however the recipe writes the path."""
    image = volume.image
    try:
        source = find_source(image.path)
    except MissingFileError:
        return (Path(volume.name),)  # a volume in memory
    inner = image.details.get("array", source.inner).strip("/")
    return tuple(file.resolve() for file in source.files) or (source.path.resolve() / inner,)


def both_names(name: str, other: str) -> str:
    """The names of two volumes that are the same files."""
    return f"'{name}'" if name == other else f"'{name}' and '{other}', which are the same file"


def _slices(box: Box) -> str:
    first, last = box.start[0], box.stop[0] - 1
    return f"slice {first}" if first == last else f"slices {first} to {last}"


def _slab(box: Box, start: int, stop: int) -> Box:
    return Box((start, *box.start[1:]), (stop, *box.stop[1:]))


def _shown(slices: str | tuple[int, ...]) -> str:
    return slices if isinstance(slices, str) else str(list(slices))


def _quoted(names: Iterable[str]) -> str:
    every = [f"'{name}'" for name in names]
    rest = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + rest
