"""Windows: how a network that is not local, or was trained on small pieces, is applied to a whole volume.

The network is applied to windows of the size that it was trained on. Where they lie is counted from the volume's first
voxel and depends on nothing else, so that a voxel gets the same probability in whichever block it is predicted. Beyond
its borders the volume is mirrored; a volume smaller than a window lies in its centre.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from cristae.data.box import Box, Triple
from cristae.inference.borders import Border
from cristae.models.form import Blend

_LEAST = 1e-3
"""Smallest Gaussian weight along an axis, of 1 at the centre of a window."""
_Z_STEP = 4
"""Distance between slices, in voxels of a slice, when distances to the border of a window are measured."""


@dataclass(frozen=True, eq=False)
class WindowPart:
    """What one window contributes to a box."""

    window: Box
    """The output patch of the network; it may reach outside the volume."""
    box: Box
    """Its voxels that lie in the box and count."""
    weight: np.ndarray
    """float32 (Z, Y, X) of `box`; over all windows the weights of a voxel add up to 1."""


@dataclass(frozen=True)
class Windows:
    """A rule, and the size of its windows.

    gaussian: half a window apart; averaged with Gaussian weights around each centre (sigma an eighth of the window).
    centre_third: a third of a window apart; only the central third of each window counts (Meyer et al. 2021,
        https://github.com/Cyril-Meyer/NeNISt).
    farthest: a third of a window overlaps; every voxel counts in the window in which it lies farthest from the border
        (Guay et al. 2021, https://doi.org/10.1038/s41598-021-81590-0).
    tiles: side by side; the last one ends with the volume.
    """

    rule: Blend
    size: Triple
    """Voxels (z, y, x) of the output patch of one forward pass; z is 1 for 2D networks."""
    ndim: int
    """Spatial axes of the network; 2D ones take slices one by one."""

    @property
    def border(self) -> Border:
        """How the volume is extended for windows that reach outside."""
        return "repeat" if self.rule == "centre_third" else "mirror"

    def starts(self, axis: int, length: int) -> list[int]:
        """First voxels of the windows along an axis of the volume, in order; they may lie outside."""
        side = self.size[axis]
        if axis < 3 - self.ndim:
            return list(range(length))
        if self.rule == "centre_third" and side >= 3:
            before, _, starts = third_steps(length, side)
            return [start - before for start in starts]
        if length <= side:
            return [-((side - length) // 2)]
        step = {"gaussian": max(1, side // 2), "farthest": side - side // 3}.get(self.rule, side)
        # ceil(a / b), and one more window that ends with the volume unless one does.
        starts = [step * i for i in range(-(-(length - side + 1) // step))]
        return starts if starts[-1] == length - side else [*starts, length - side]

    def hull(self, box: Box, shape: Triple) -> Box:
        """The box of all windows that decide the voxels of `box`."""
        axes = [self._touching(axis, box, shape[axis]) for axis in range(3)]
        z, y, x = ((rows[0].start, rows[-1].stop) for rows in axes)
        return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))

    def parts(self, box: Box, shape: Triple) -> Iterator[WindowPart]:
        """The windows that decide the voxels of a box, z slowest, and what they contribute.

        Args:
            box: Inside the volume.
            shape: The volume's (z, y, x).
        """
        axes = [self._touching(axis, box, shape[axis]) for axis in range(3)]
        if self.rule == "gaussian":
            return _averaged(box, axes, self.size)
        return _chosen(box, axes, self._nearness)

    def _touching(self, axis: int, box: Box, length: int) -> list[_Row]:
        """The windows along an axis that have voxels to contribute to a box."""
        low, high = box.start[axis], box.stop[axis]
        first, count = self._kept(axis)
        rows = []
        for start in self.starts(axis, length):
            kept = range(max(low, start + first), min(high, start + first + count))
            if kept:
                rows.append(_Row(start, start + self.size[axis], kept))
        return rows

    def _kept(self, axis: int) -> tuple[int, int]:
        """The first position of a window that counts along an axis, and how many do."""
        side = self.size[axis]
        third = side // 3
        return (third, third) if self.rule == "centre_third" and third else (0, side)

    def _nearness(self, axis: int, row: _Row) -> np.ndarray:
        """How far the kept positions of a window are from its border; all the same for the slices of a 2D network."""
        if axis < 3 - self.ndim or self.rule == "centre_third":
            return np.full(len(row.kept), np.iinfo(np.int32).max, np.int32)
        place = np.arange(row.kept.start, row.kept.stop, dtype=np.int32)
        near: np.ndarray = np.minimum(place - row.start + 1, row.stop - place) * (_Z_STEP if axis == 0 else 1)
        return near


@dataclass(frozen=True)
class _Row:
    """A window along one axis."""

    start: int
    stop: int
    kept: range
    """Voxels of the volume that it contributes to the box."""


def third_steps(length: int, side: int) -> tuple[int, int, list[int]]:
    """The tiling of Meyer et al. (2021): voxels added before and after an axis, and where its windows start in that.

    Example:
        >>> before, after, starts = third_steps(256, 256)
        >>> before, after, len(starts), starts[-1]
        (298, 298, 7, 510)
    """
    third = side // 3
    extra = -length % third
    before, after = side + extra // 2, side + extra - extra // 2
    return before, after, list(range(0, length + before + after - side - 1, third))


def _boxes(axes: list[list[_Row]]) -> Iterator[tuple[tuple[_Row, ...], Box, Box]]:
    """Every window, as a row of each axis, with its box and the part of it that counts."""
    for rows in product(*axes):
        z, y, x = rows
        window = Box((z.start, y.start, x.start), (z.stop, y.stop, x.stop))
        yield (
            rows,
            window,
            Box((z.kept.start, y.kept.start, x.kept.start), (z.kept.stop, y.kept.stop, x.kept.stop)),
        )


def _averaged(box: Box, axes: list[list[_Row]], size: Triple) -> Iterator[WindowPart]:
    """Windows with Gaussian weights, which are divided by their sum along each axis, and so are their products."""
    weights: list[dict[int, np.ndarray]] = []
    for axis, rows in enumerate(axes):
        total = np.zeros(box.shape[axis])
        raw = {}
        for row in rows:
            place = np.arange(row.kept.start, row.kept.stop)
            away = (place - row.start - (size[axis] - 1) / 2) / (size[axis] / 8)
            raw[row.start] = np.maximum(np.exp(-(away**2) / 2), _LEAST)
            total[place - box.start[axis]] += raw[row.start]
        weights.append({row.start: raw[row.start] / total[_within(row, box.start[axis])] for row in rows})
    for window_rows, window, part in _boxes(axes):
        z, y, x = (weights[axis][row.start].astype(np.float32) for axis, row in enumerate(window_rows))
        yield WindowPart(window, part, z[:, None, None] * y[:, None] * x)


def _chosen(box: Box, axes: list[list[_Row]], nearness: Callable[[int, _Row], np.ndarray]) -> Iterator[WindowPart]:
    """Windows of which one decides each voxel: that with the farthest border, the earlier one of equals."""
    near = [{row.start: nearness(axis, row) for row in rows} for axis, rows in enumerate(axes)]
    owner, best = np.full(box.shape, -1, np.int32), np.zeros(box.shape, np.int32)
    windows = list(_boxes(axes))
    for number, (place, _, part) in enumerate(windows):
        z, y, x = (near[axis][row.start] for axis, row in enumerate(place))
        here = part.relative_to(box.start).slices
        distance = np.minimum(np.minimum(z[:, None, None], y[:, None]), x)
        better = distance > best[here]
        best[here][better] = distance[better]
        owner[here][better] = number
    for number, (_, window, part) in enumerate(windows):
        mine = owner[part.relative_to(box.start).slices] == number
        if mine.any():
            yield WindowPart(window, part, mine.astype(np.float32))


def _within(row: _Row, start: int) -> slice:
    return slice(row.kept.start - start, row.kept.stop - start)
