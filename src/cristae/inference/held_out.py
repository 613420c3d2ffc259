"""Out-of-fold prediction: a voxel that some members have held out of their training is predicted by these alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace

from cristae.data.box import Box

Groups = tuple[tuple[int, ...], ...]
"""Members (by place) that are fused, for each group of the ensemble."""
_Piece = tuple[Box, frozenset[int]]
"""A box, and the members that have held out all of it."""


@dataclass(frozen=True)
class MemberPart:
    """A box whose voxels are all predicted by the same members."""

    box: Box
    groups: Groups


def parts_by_members(box: Box, groups: Groups, held_out: Sequence[Sequence[Box]]) -> tuple[MemberPart, ...]:
    """Cut a box where other members predict.

    In each group of the ensemble, those members predict a voxel that have held it out; where none has, all do.

    Args:
        box: Inside the volume.
        groups: The members of the ensemble.
        held_out: For each member the boxes of the volume that it has held out.

    Returns:
        Disjoint boxes that cover `box`, z slowest.

    Example:
        >>> held_out = [[Box((0, 0, 0), (2, 4, 4))], [Box((2, 0, 0), (4, 4, 4))]]
        >>> [str(part.box) for part in parts_by_members(Box((1, 0, 0), (4, 4, 4)), ((0, 1),), held_out)]
        ['1:2,0:4,0:4', '2:4,0:4,0:4']
    """
    members: dict[Box, set[int]] = defaultdict(set)
    for place, boxes in enumerate(held_out):
        for one in boxes:
            if (common := one.intersect(box)).size:
                members[common].add(place)
    pieces = [(box, frozenset[int]())]
    for one, places in members.items():
        pieces = list(_cut(pieces, one, places))
    cells = [MemberPart(piece, _of(groups, unseen)) for piece, unseen in pieces]
    for axis in (2, 1, 0):
        cells = list(_joined(cells, axis))
    return tuple(cells)


def _cut(pieces: Sequence[_Piece], box: Box, places: Set[int]) -> Iterator[_Piece]:
    """The pieces, those that a box meets cut into what lies inside, which these members have held out, too, and the
    rest."""
    for piece, unseen in pieces:
        inside = piece.intersect(box)
        if not inside.size:
            yield piece, unseen
            continue
        yield inside, unseen | places
        for rest in piece.without(box):
            yield rest, unseen


def _of(groups: Groups, unseen: Set[int]) -> Groups:
    """In each group those who have not seen a voxel, or else all."""
    return tuple(tuple(place for place in group if place in unseen) or group for group in groups)


def _joined(cells: Sequence[MemberPart], axis: int) -> Iterator[MemberPart]:
    """Neighbours along an axis that have the same members and the same sides across it, as one."""
    other = [one for one in range(3) if one != axis]

    def place(part: MemberPart) -> tuple[object, ...]:
        return (*((part.box.start[one], part.box.stop[one]) for one in other), part.box.start[axis])

    merged: list[MemberPart] = []
    for cell in sorted(cells, key=place):
        last = merged[-1] if merged else None
        same = last is not None and last.groups == cell.groups and place(last)[:2] == place(cell)[:2]
        if last is not None and same and last.box.stop[axis] == cell.box.start[axis]:
            merged[-1] = replace(last, box=Box(last.box.start, cell.box.stop))
        else:
            merged.append(cell)
    yield from sorted(merged, key=lambda part: part.box)
