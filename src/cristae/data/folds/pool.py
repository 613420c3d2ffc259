"""What a cross-validation cuts into parts, and the regions and voxels of some of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from cristae.data.address import Place
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.folds.units import Piece, Unit, counts_of, name_in_recipe
from cristae.data.slice_ranges import ranges_text
from cristae.data.splits import Part, labelled_boxes


@dataclass(frozen=True, eq=False)
class Pool:
    """What is cut into folds."""

    parts: tuple[Part, ...]
    units: tuple[Unit, ...]
    classes: Classes
    guard_vox: Mapping[str, Triple]
    files: Mapping[str, tuple[Place, ...]]
    """By the name of an opened volume, what tells whether two are the same."""

    def guard_of(self, part: Part) -> Triple:
        """The gap (z, y, x) around a part, in voxels of its file."""
        return self.guard_vox[name_in_recipe(part)]

    @property
    def foreground(self) -> tuple[tuple[str, int], ...]:
        """Name and place in the counts of each foreground class."""
        return tuple(zip(self.classes.foreground, self.classes.foreground_ids, strict=True))


def meets(unit: Unit, parts: Sequence[Part]) -> bool:
    """Whether some of a unit lies in some of the parts."""
    return any(
        piece.part.volume is part.volume and piece.part.box.intersect(part.box).size
        for piece in unit.pieces
        for part in parts
    )


def joined(units: Sequence[Unit], where: Sequence[int], wanted: int) -> tuple[Part, ...]:
    """The pieces of a part; those that follow each other become one box, with what is not labelled between them."""
    found: list[Part] = []
    for (row, other), some in groupby(range(len(units)), lambda number: (units[number].row, where[number])):
        if other != wanted:
            continue
        pieces = [piece for number in some for piece in units[number].pieces]
        if not row:
            found += [piece.part for piece in pieces]
            continue
        for region in dict.fromkeys(piece.region for piece in pieces):
            parts = [piece.part for piece in pieces if piece.region == region]
            found.append(replace(parts[0], box=Box.around([part.box for part in parts])))
    return tuple(found)


def kept(part: Part, away: Sequence[Part], pool: Pool) -> list[Box]:
    """What is left of a part, as far as it is labelled, without what lies near others."""
    files = pool.files[part.volume.name]
    near = [held.box.grow(pool.guard_of(held)) for held in away if pool.files[held.volume.name] == files]
    return [box for box in part.box.without(*near) if labelled_boxes(Part(part.volume, box))]


def counts_within(pool: Pool, parts: Sequence[Part], units: Sequence[Unit]) -> np.ndarray:
    """(256,) voxels of each class id of some units that lie in some parts; only pieces that are cut are read again."""
    pieces: dict[str, list[Piece]] = defaultdict(list)
    for piece in (piece for unit in units for piece in unit.pieces):
        pieces[piece.part.volume.name].append(piece)
    total, cut = np.zeros(256, np.int64), list[Part]()
    for part in parts:
        for piece in pieces[part.volume.name]:
            common = part.box.intersect(piece.part.box)
            if common == piece.part.box:
                total += piece.counts
            elif common.size:
                cut.append(replace(part, box=common))
    for part in _merged(cut):
        total += counts_of(part, exclusive=pool.classes.exclusive)
    return total


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Parts of which each but the first continues the one before, as planes of a block do, as one: formats that decode
    whole slices would decode them for every plane."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        if last is not None and last.volume is part.volume:
            around = Box.around([last.box, part.box])
            if around.size == last.box.size + part.box.size:
                found[-1] = replace(last, box=around)
                continue
        found.append(part)
    return found


def in_words(held: Sequence[Unit]) -> tuple[str, ...]:
    """Units in words: names, or ranges of slices for each row."""
    found = []
    for row, some in groupby(held, lambda unit: unit.row):
        members = list(some)
        if not row:
            found += [unit.name for unit in members]
            continue
        name, axis, _ = members[0].name.rsplit(" ", 2)
        found.append(f"{name} {axis} {ranges_text(unit.place for unit in members)}")
    return tuple(dict.fromkeys(found))  # regions side by side may be cut alike
