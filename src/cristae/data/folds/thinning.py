"""Fewer labelled slices of the same regions, for learning curves."""

from __future__ import annotations

from collections.abc import Sequence

from cristae.data.box import Box
from cristae.data.splits import Part, labelled_boxes


def labelled_slices(parts: Sequence[Part]) -> list[Part]:
    """Every labelled slice of some parts, as a part of one slice each; images are slices too."""
    return [
        Part(part.volume, Box((z, *box.start[1:]), (z + 1, *box.stop[1:])))
        for part in parts
        for box in labelled_boxes(part)
        for z in range(box.start[0], box.stop[0])
    ]


def slabs(parts: Sequence[Part], depth: int) -> list[Part]:
    """Labelled slices in slabs of so many that follow each other; what a run of slices has left over is left out."""
    return [
        Part(run.volume, Box((z, *run.box.start[1:]), (z + depth, *run.box.stop[1:])))
        for run in _joined(labelled_slices(parts))
        for z in range(run.box.start[0], run.box.stop[0] - depth + 1, depth)
    ]


def thinned(parts: Sequence[Part], count: int, *, turn: int = 0, depth: int = 1) -> tuple[Part, ...]:
    """So many labelled slices, spread evenly; more of them contain the fewer ones of the same `turn`.

    The slices are taken in the order of van der Corput's sequence (0, 1/2, 1/4, 3/4, 1/8, ...), which halves gaps.

    Args:
        parts: With labelled slices.
        count: How many are kept, a multiple of `depth`.
        turn: Another number begins at another slice, as for repeats.
        depth: How many slices stay together, so that patches as deep fit.

    Raises:
        ValueError: There are fewer, or they are no whole slabs.

    References:
        van der Corput (1935), Verteilungsfunktionen I
    """
    units = slabs(parts, depth)
    if not depth <= count <= len(units) * depth:
        raise ValueError(f"{count} labelled slices are asked for, but there are {len(units) * depth}")
    if count % depth:
        raise ValueError(f"{count} labelled slices are no slabs of {depth}")
    # Turns step by the golden section, so that few repeats begin far from each other.
    first = round(turn * 0.381966 * len(units))
    order = sorted(range(len(units)), key=lambda place: (_reversed_bits(place, len(units)), place))
    chosen = sorted((place + first) % len(units) for place in order[: count // depth])
    return tuple(_joined([units[place] for place in chosen]))


def _reversed_bits(place: int, count: int) -> int:
    width = max(1, (count - 1).bit_length())
    return int(f"{place:0{width}b}"[::-1], 2)


def _joined(slices: Sequence[Part]) -> list[Part]:
    """Slices that follow each other in one volume as one part."""
    found: list[Part] = []
    for one in slices:
        last = found[-1] if found else None
        if last is not None and last.volume is one.volume and _follows(last.box, one.box):
            found[-1] = Part(one.volume, Box(last.box.start, one.box.stop))
        else:
            found.append(one)
    return found


def _follows(first: Box, second: Box) -> bool:
    same = (first.start[1:], first.stop[1:]) == (second.start[1:], second.stop[1:])
    return same and first.stop[0] == second.start[0]
