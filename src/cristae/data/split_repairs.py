"""Lines for a recipe that choose its regions anew, so that each section is learned from, or held out, and not both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from glob import escape
from itertools import groupby

from cristae.data.box import Box
from cristae.data.names import stem_of
from cristae.data.slice_ranges import slice_ranges
from cristae.data.splits import Part, labelled_boxes
from cristae.data.volume import Volume

GAP = 1
"""Slices between training and held-out ones that are left out."""

Splits = Mapping[str, tuple[Part, ...]]
"""By 'train', 'validate' and 'test'."""
Region = tuple[Volume, Box]


def without_sections(splits: Splits, useless: Mapping[str, Iterable[int]]) -> tuple[str, ...]:
    """Lines that name regions again, without some slices of some volumes; none for a split that nothing is left of.

    Args:
        splits: As they are.
        useless: Slices by the name of their volume.
    """
    left_out = {name: set(slices) for name, slices in useless.items()}
    said = []
    for split, parts in splits.items():
        kept = [(part.volume, box) for part in parts for box in cut(part.box, left_out.get(part.volume.name, set()))]
        if kept and kept != [(part.volume, part.box) for part in parts]:
            said.append(regions_line(split, kept))
    return tuple(said)


def kept_apart(splits: Splits, first: str, second: str) -> tuple[str, ...]:
    """Lines that leave a gap of a slice between two splits that overlap or touch in a stack; empty where none can be.

    The second gives up what is too near to the first; where nothing were left of it, both are cut anew.
    """
    learned, held = splits[first], splits[second]
    kept: list[Region] = []
    for part in held:
        near = {
            z
            for one in learned
            if one.volume.image.path == part.volume.image.path and part.volume.image.shape[0] > 1
            for z in range(one.box.start[0] - GAP, one.box.stop[0] + GAP)
        }
        kept += [(part.volume, box) for box in cut(part.box, near)]
    if kept and kept != [(part.volume, part.box) for part in held]:
        return (regions_line(second, kept),)
    halves = None if kept else _halves(learned[0].volume, learned, held)
    return () if halves is None else (regions_line(first, halves[0]), regions_line(second, halves[1]))


def _halves(
    volume: Volume, learned: Sequence[Part], held: Sequence[Part]
) -> tuple[Sequence[Region], Sequence[Region]] | None:
    """All their labelled slices as a stretch of four fifths and one of the rest, with a gap between them."""
    if {part.volume.image.path for part in (*learned, *held)} != {volume.image.path}:
        return None
    boxes = [box for part in (*learned, *held) for box in labelled_boxes(part)]
    slices = sorted({z for box in boxes for z in range(box.start[0], box.stop[0])})
    kept = max(1, len(slices) // 5)
    if len(slices) < kept + GAP + 1:
        return None
    first, second = (
        [(volume, slab(learned[0].box, start, stop)) for start, stop in slice_ranges(side)]
        for side in (slices[: -kept - GAP], slices[-kept:])
    )
    return first, second


def cut(box: Box, left_out: set[int]) -> list[Box]:
    """A box without some of its slices."""
    kept = [z for z in range(box.start[0], box.stop[0]) if z not in left_out]
    return [slab(box, start, stop) for start, stop in slice_ranges(kept)]


def slab(box: Box, start: int, stop: int) -> Box:
    """Slices `start` to `stop` of a box."""
    return Box((start, *box.start[1:]), (stop, *box.stop[1:]))


def regions_line(split: str, regions: Sequence[Region]) -> str:
    """How a recipe names the regions of a split, on one line.

    Args:
        split: 'train', 'validate' or 'test'.
        regions: Boxes of volumes; single images of a folder are named by their files.
    """
    shown = []
    for name, some in groupby(regions, lambda one: one[0].name.partition("/")[0]):
        here = list(some)
        if "/" in here[0][0].name:
            stems = [escape(stem_of(volume.image.path.name)) for volume, _ in here]
            shown.append(f"{{volume: {json.dumps(name)}, images: {json.dumps(stems)}}}")
        else:
            shown += [f"{{volume: {json.dumps(name)}, {_where(volume, box)}}}" for volume, box in here]
    return f"data.{split}: [{', '.join(shown)}]"


def _where(volume: Volume, box: Box) -> str:
    if box.shape[1:] == volume.image.shape[1:]:
        return f'slices: "{box.start[0]}:{box.stop[0]}"'
    return f'box: "{box}"'
