"""Which part a patch comes from: drawn by the voxels that it holds, in all volumes together or in one drawn evenly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cristae.data.box import Box, Triple
from cristae.sampling.part import Place, SamplePart, centred_box


class PartDraw:
    """Draws parts by their voxels of one class, or by all that count; nothing is read for it."""

    def __init__(self, parts: Sequence[SamplePart], *, evenly: bool = False) -> None:
        """
        Args:
            parts: To choose from.
            evenly: Draw the volume first, each of those that hold the class alike.
        """
        self.parts = tuple(parts)
        counts = np.stack([part.class_counts for part in parts])
        volumes = [part.volume for part in parts] if evenly else [""] * len(parts)
        members = [np.array([v == volume for v in volumes]) for volume in dict.fromkeys(volumes)]
        self.counts: np.ndarray = counts.sum(axis=0)
        """(K,) voxels of each class in all parts."""
        self._of_class = [_groups(column, members) for column in counts.T]
        self._of_all = _groups(counts.sum(axis=1), members)

    def with_class(self, class_index: int, rng: np.random.Generator) -> int:
        """A part that holds a class."""
        return _drawn(self._of_class[class_index], rng)

    def anywhere(self, rng: np.random.Generator) -> int:
        """A part with voxels that count."""
        return _drawn(self._of_all, rng)


@dataclass(frozen=True, eq=False)
class _Group:
    """Parts that are drawn from together."""

    numbers: np.ndarray
    ends: np.ndarray
    """Voxels in each of these parts and those before it."""


def _groups(counts: np.ndarray, members: Sequence[np.ndarray]) -> list[_Group]:
    """The volumes, or all of them as one, that have any of these voxels."""
    held = [np.flatnonzero(own & (counts > 0)) for own in members]
    return [_Group(numbers, np.cumsum(counts[numbers])) for numbers in held if numbers.size]


def _drawn(groups: Sequence[_Group], rng: np.random.Generator) -> int:
    group = groups[int(rng.integers(len(groups)))] if len(groups) > 1 else groups[0]
    voxel = rng.integers(0, group.ends[-1])
    return int(group.numbers[np.searchsorted(group.ends, voxel, side="right")])


def uniform_place(draw: PartDraw, size: Triple, rng: np.random.Generator, *, short: int = 0) -> Place:
    """A patch anywhere: in a part drawn by its voxels that count, around one of these where not all of them do.

    Args:
        draw: The parts.
        size: Patch (z, y, x).
        rng: Where chance comes from.
        short: Corners (y, x) end so many voxels before the last possible one.
    """
    number = draw.anywhere(rng)
    part = draw.parts[number]
    if not part.fully_valid:
        return Place(number, jittered_box(part, class_of_any(part, rng), size, rng))
    rooms = [max(n - s, 0) for n, s in zip(part.shape, size, strict=True)]
    rooms[1:] = [max(room - short, 0) for room in rooms[1:]]
    start = [int(rng.integers(0, room + 1)) for room in rooms]
    centre = np.array([a + s // 2 for a, s in zip(start, size, strict=True)])
    return Place(number, centred_box(centre, size, part.shape))


def class_of_any(part: SamplePart, rng: np.random.Generator) -> int:
    """The class of a voxel of a part, drawn evenly from all that count."""
    ends = np.cumsum(part.class_counts)
    return int(np.searchsorted(ends, rng.integers(0, ends[-1]), side="right"))


def jittered_box(part: SamplePart, class_index: int, size: Triple, rng: np.random.Generator) -> Box:
    """A patch that has a voxel of a class within a third of its sides from its middle, unless it is moved inwards."""
    voxels = part.class_voxels[class_index]
    voxel = voxels[int(rng.integers(len(voxels)))]
    reach = np.array(size) // 3
    return centred_box(voxel + rng.integers(-reach, reach + 1), size, part.shape)
