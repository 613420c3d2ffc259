"""Boxes of voxels: where a piece of a volume lies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

Triple = tuple[int, int, int]


@dataclass(frozen=True, order=True)
class Box:
    """A half-open box of voxels, `start` inclusive and `stop` exclusive, in (z, y, x)."""

    start: Triple
    stop: Triple

    @classmethod
    def of_shape(cls, shape: Sequence[int]) -> Box:
        """The box that covers an array of this (z, y, x) shape."""
        return cls((0, 0, 0), (int(shape[0]), int(shape[1]), int(shape[2])))

    @classmethod
    def around(cls, boxes: Sequence[Box]) -> Box:
        """The smallest box that holds one or more others."""
        z, y, x = ((min(b.start[axis] for b in boxes), max(b.stop[axis] for b in boxes)) for axis in range(3))
        return cls((z[0], y[0], x[0]), (z[1], y[1], x[1]))

    @classmethod
    def parse(cls, text: str, shape: Sequence[int]) -> Box:
        """Read `Z0:Z1,Y0:Y1,X0:X1`; an empty side means the volume's own.

        Raises:
            ValueError: The text is not a box, or lies outside `shape`.
        """
        parts = text.replace(" ", "").split(",")
        if len(parts) != 3 or not all(re.fullmatch(r"\d*:\d*", part) for part in parts):
            raise ValueError(f"'{text}' is not a box; expected Z0:Z1,Y0:Y1,X0:X1 in voxels, such as 0:10,256:512,:")
        start, stop = [], []
        for part, size, axis in zip(parts, shape, "zyx", strict=True):
            low, high = part.split(":")
            start.append(int(low or 0))
            stop.append(int(high or size))
            if not start[-1] < stop[-1] <= size:
                raise ValueError(f"'{text}': {part} is empty or outside the {size} voxels of axis {axis}")
        return cls((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    @property
    def shape(self) -> Triple:
        """Extent in voxels (z, y, x); 0 where the box is empty."""
        z, y, x = (max(0, b - a) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def size(self) -> int:
        """Number of voxels."""
        z, y, x = self.shape
        return z * y * x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index of an array."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    def intersect(self, other: Box) -> Box:
        """The common part; its `size` is 0 when there is none."""
        start = tuple(max(a, b) for a, b in zip(self.start, other.start, strict=True))
        stop = tuple(max(s, min(a, b)) for s, a, b in zip(start, self.stop, other.stop, strict=True))
        return Box(start, stop)  # type: ignore[arg-type]

    def shift(self, offset: Sequence[int]) -> Box:
        """The same box moved by `offset` voxels."""
        start = tuple(a + d for a, d in zip(self.start, offset, strict=True))
        stop = tuple(b + d for b, d in zip(self.stop, offset, strict=True))
        return Box(start, stop)  # type: ignore[arg-type]

    def relative_to(self, origin: Sequence[int]) -> Box:
        """The same box counted from `origin`."""
        return self.shift([-o for o in origin])

    def grow(self, margin: Sequence[int]) -> Box:
        """The box enlarged by `margin` voxels on both sides of each axis."""
        start = tuple(a - m for a, m in zip(self.start, margin, strict=True))
        stop = tuple(b + m for b, m in zip(self.stop, margin, strict=True))
        return Box(start, stop)  # type: ignore[arg-type]

    def middle(self, shape: Sequence[int]) -> Box:
        """The box of this shape, or as much of it as there is, in the middle.

        Example:
            >>> Box((0, 2, 2), (1, 10, 12)).middle((4, 4, 4))
            Box(start=(0, 4, 5), stop=(1, 8, 9))
        """
        z, y, x = (min(pair) for pair in zip(shape, self.shape, strict=True))
        low = [start + (side - part) // 2 for start, side, part in zip(self.start, self.shape, (z, y, x), strict=True)]
        return Box.of_shape((z, y, x)).shift(low)

    def without(self, *others: Box) -> tuple[Box, ...]:
        """What is left when others are taken out: disjoint boxes, cut along z first, then y, then x.

        Example:
            >>> [str(box) for box in Box((0, 0, 0), (9, 5, 5)).without(Box((2, -1, -1), (4, 9, 9)))]
            ['0:2,0:5,0:5', '4:9,0:5,0:5']
        """
        left: tuple[Box, ...] = (self,)
        for other in others:
            left = tuple(rest for box in left for rest in box._without(other))
        return left

    def _without(self, other: Box) -> tuple[Box, ...]:
        hole, rest, left = self.intersect(other), self, list[Box]()
        if not hole.size:
            return (self,)
        for axis in range(3):
            below, above = list(rest.stop), list(rest.start)
            below[axis], above[axis] = hole.start[axis], hole.stop[axis]
            left += [Box(rest.start, (below[0], below[1], below[2])), Box((above[0], above[1], above[2]), rest.stop)]
            start, stop = list(rest.start), list(rest.stop)
            start[axis], stop[axis] = hole.start[axis], hole.stop[axis]
            rest = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
        return tuple(box for box in left if box.size)

    def contains(self, other: Box) -> bool:
        """Whether `other` lies wholly inside."""
        return self.intersect(other) == other

    def blocks(self, shape: Sequence[int]) -> Iterator[Box]:
        """Cut the box into disjoint blocks on the grid of multiples of `shape` counted from its start, z slowest."""
        axes = [range(a, b, step) for a, b, step in zip(self.start, self.stop, shape, strict=True)]
        for start in product(*axes):
            stop = tuple(min(s + step, b) for s, step, b in zip(start, shape, self.stop, strict=True))
            yield Box(start, stop)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return ",".join(f"{a}:{b}" for a, b in zip(self.start, self.stop, strict=True))
