"""What to run, or to write in a recipe, so that its data are as they should be."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from cristae.data.box import Box
from cristae.data.description import DataConfig, LabelFiles, Mask, MaskLabels, VolumeConfig
from cristae.data.slice_ranges import slice_ranges
from cristae.data.splits import Part, labelled_boxes
from cristae.data.volume import Volume

_GAP = 1
"""Slices between training and held-out ones that are left out."""


def label_repairs(
    place: int, config: VolumeConfig, volume: Volume, options: str, folder: Path, class_name: str | None = None
) -> tuple[str, ...]:
    """The commands that copy label files with options of `convert`, and what the recipe then says.

    Args:
        place: Of the volume under `data.volumes`.
        config: Its description.
        volume: It.
        options: Of `convert`.
        folder: Where paths of the recipe start.
        class_name: Of the one mask to copy; None copies all label files.
    """
    if config.kind == "images":
        copies = folder / f"{config.name}-labels"
        return tuple(
            _convert(path, copies / f"{path.stem}.tif", options)
            for path in dict.fromkeys(path for labels in volume.labels for path in labels.sources)
        )
    labels, where = config.labels, f"data.volumes.{place}.labels"
    assert labels is not None, "only labels that are there can be copied"
    files: dict[str, tuple[str, LabelFiles | Mask]]
    if isinstance(labels, MaskLabels):
        chosen = [name for name in labels.masks if class_name in (None, name)]
        files = {f"{where}.masks.{name}": (name, labels.masks[name]) for name in chosen}
    else:
        files = {where: ("labels", labels)}
    said = []
    for field, (name, file) in files.items():
        copy = folder / f"{config.name}-{'-'.join(name.split())}.tif"
        said += [_convert(folder / file.source, copy, options), f"{field}.path: {copy.name}"]
        said += [f"{field}.{key}: null" for key in ("channel", "signed") if getattr(file, key) is not None]
    if volume.labelled_slices is not None and labels.slices is None:
        said.append(f"{where}.slices: {list(volume.labelled_slices)}")
    return tuple(said)


def image_repairs(place: int, config: VolumeConfig, volume: Volume, options: str, folder: Path) -> tuple[str, ...]:
    """The same for the image of a volume."""
    if config.kind == "images":
        path = volume.image.path
        return (_convert(path, folder / f"{config.name}-images" / f"{path.stem}.tif", options),)
    copy, field = folder / f"{config.name}-image.tif", f"data.volumes.{place}"
    more = [f"{field}.{key}: null" for key in ("channel", "signed") if getattr(config, key) is not None]
    return (_convert(folder / config.source, copy, options), f"{field}.image: {copy.name}", *more)


def copied_folder(config: VolumeConfig, what: str) -> str:
    """What to do once single images of a folder, or their labels, have been copied."""
    return (
        f"put what needs no change into {config.name}-{what} as well, and name that folder in the recipe as the "
        f"{what} of '{config.name}'"
    )


def without_slices(splits: dict[str, tuple[Part, ...]], volume: Volume, useless: Iterable[int]) -> tuple[str, ...]:
    """Lines that name the regions of a volume again, without some slices."""
    left_out, said = set(useless), []
    for split, parts in splits.items():
        own = [part for part in parts if part.volume.name == volume.name]
        if not any(z in left_out for part in own for z in range(part.box.start[0], part.box.stop[0])):
            continue
        kept = [box for part in own for box in _cut(part.box, left_out)]
        said.append(f"data.{split}: {_listed(volume, kept)}{_others(parts, own)}")
    return tuple(said)


def kept_apart(splits: dict[str, tuple[Part, ...]], first: str, second: str) -> tuple[str, ...]:
    """Lines that leave a gap of a slice between two splits that overlap or touch in a stack; empty where none can be.

    The second gives up what is too near to the first; where nothing were left of it, both are cut anew.
    """
    learned, held = splits[first], splits[second]
    said = []
    for volume in {part.volume.name: part.volume for part in held}.values():
        own = [part for part in held if part.volume.name == volume.name]
        before = [part for part in learned if part.volume.image.path == volume.image.path]
        if volume.image.shape[0] == 1 or not before:
            continue
        near = {z for part in before for z in range(part.box.start[0] - _GAP, part.box.stop[0] + _GAP)}
        kept = [box for part in own for box in _cut(part.box, near)]
        if kept and kept != [part.box for part in own]:
            said.append(f"data.{second}: {_listed(volume, kept)}{_others(held, own)}")
        elif not kept and (halves := _halves(before[0].volume, learned, held)) is not None:
            said += [f"data.{first}: {halves[0]}", f"data.{second}: {halves[1]}"]
    return tuple(said)


def _halves(volume: Volume, learned: Sequence[Part], held: Sequence[Part]) -> tuple[str, str] | None:
    """All their labelled slices as a stretch of four fifths and one of the rest, with a gap between them."""
    if {part.volume.image.path for part in (*learned, *held)} != {volume.image.path}:
        return None
    boxes = [box for part in (*learned, *held) for box in labelled_boxes(part)]
    slices = sorted({z for box in boxes for z in range(box.start[0], box.stop[0])})
    kept = max(1, len(slices) // 5)
    if len(slices) < kept + _GAP + 1:
        return None
    own = next(part.box for part in learned)
    sides = slices[: -kept - _GAP], slices[-kept:]
    shown = []
    for side in sides:
        cut = [Box((a, *own.start[1:]), (b, *own.stop[1:])) for a, b in slice_ranges(side)]
        shown.append(_listed(volume, cut))
    return shown[0], shown[1]


def _cut(box: Box, left_out: set[int]) -> list[Box]:
    """A box without some of its slices."""
    kept = [z for z in range(box.start[0], box.stop[0]) if z not in left_out]
    return [Box((a, *box.start[1:]), (b, *box.stop[1:])) for a, b in slice_ranges(kept)]


def _listed(volume: Volume, boxes: Sequence[Box]) -> str:
    whole = volume.image.shape[1:]
    regions = [
        f"slices: '{box.start[0]}:{box.stop[0]}'" if box.shape[1:] == whole else f"box: '{box}'" for box in boxes
    ]
    return f"[{', '.join(f'{{volume: {volume.name}, {region}}}' for region in regions)}]"


def _others(parts: Sequence[Part], own: Sequence[Part]) -> str:
    return "" if len(parts) == len(own) else ", and its regions of other volumes as they are"


def _convert(source: Path, copy: Path, options: str) -> str:
    return f"cristae convert {shlex.quote(str(source))} {shlex.quote(str(copy))} {options}"


def place_of(data: DataConfig, volume: Volume) -> tuple[int, VolumeConfig]:
    """Which entry of `data.volumes` a volume is, or is one of the images of."""
    name = volume.name.split("/")[0]
    return next((place, config) for place, config in enumerate(data.volumes) if config.name == name)
