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


def thinned(parts: Sequence[Part], count: int, *, turn: int = 0) -> tuple[Part, ...]:
    """So many labelled slices, spread evenly; more of them contain the fewer ones of the same `turn`.

    The slices are taken in the order of van der Corput's sequence (0, 1/2, 1/4, 3/4, 1/8, ...), which halves gaps.

    Args:
        parts: With labelled slices.
        count: How many are kept.
        turn: Another number begins at another slice, as for repeats.

    Raises:
        ValueError: There are fewer.

    References:
        van der Corput (1935), Verteilungsfunktionen I
    """
    slices = labelled_slices(parts)
    if not 1 <= count <= len(slices):
        raise ValueError(f"{count} labelled slices are asked for, but there are {len(slices)}")
    # Turns step by the golden section, so that few repeats begin far from each other.
    first = round(turn * 0.381966 * len(slices))
    order = sorted(range(len(slices)), key=lambda place: (_reversed_bits(place, len(slices)), place))
    chosen = sorted((place + first) % len(slices) for place in order[:count])
    return tuple(_joined([slices[place] for place in chosen]))


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
