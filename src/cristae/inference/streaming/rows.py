"""How operations work on some rows of a feature map: which rows of their inputs that takes, and what these give.

Rows are positions along one axis of the image, the one that a network is streamed along. An operation is given the
rows that it needs, as far as they exist; where its padding lies it adds that itself, so that the borders of the map are
those of one pass and the borders between two groups of rows are none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

Rows = tuple[int, int]
"""First row and the one behind the last."""


class RowOperation(Protocol):
    """An operation on feature maps of which each knows some rows."""

    def needs(self, rows: Rows) -> Rows:
        """The rows of its inputs that decide `rows` of its output; they may lie outside the inputs."""
        ...

    def run(self, given: Sequence[Tensor], first: int, rows: Rows) -> Tensor:
        """Rows of the output.

        Args:
            given: For each input the rows that are needed and exist.
            first: The first of them.
            rows: Which are wanted.
        """
        ...


@dataclass(frozen=True, eq=False)
class Pointwise:
    """Every row depends on the same row of each input."""

    function: Callable[..., Tensor]

    def needs(self, rows: Rows) -> Rows:
        """The same."""
        return rows

    def run(self, given: Sequence[Tensor], first: int, rows: Rows) -> Tensor:
        """See `RowOperation`."""
        return self.function(*given)


@dataclass(frozen=True)
class Window:
    """The taps of a kernel along the rows."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def needs(self, rows: Rows) -> Rows:
        """The rows under the taps."""
        start, stop = rows
        last = (stop - 1) * self.stride - self.padding + (self.kernel - 1) * self.dilation
        return start * self.stride - self.padding, last + 1


@dataclass(frozen=True, eq=False)
class Windowed:
    """Convolutions and pooling: a window slides along the rows."""

    window: Window
    length: int
    """Rows of the input."""
    dim: int
    """Of the rows, counted from behind."""
    fill: float
    """What lies around the input."""
    function: Callable[[Tensor], Tensor]
    """The operation without padding along the rows."""

    def needs(self, rows: Rows) -> Rows:
        """The rows under the taps."""
        return self.window.needs(rows)

    def run(self, given: Sequence[Tensor], first: int, rows: Rows) -> Tensor:
        """See `RowOperation`."""
        return self.function(_extended(given[0], self.needs(rows), self.length, self.dim, self.fill))


@dataclass(frozen=True, eq=False)
class PoolingPlaces:
    """Where in the map the maximum of each window was, as `max_pool2d` numbers it."""

    pooling: Windowed
    width: int
    """Positions of a row of the input."""

    def needs(self, rows: Rows) -> Rows:
        """The rows under the windows."""
        return self.pooling.needs(rows)

    def run(self, given: Sequence[Tensor], first: int, rows: Rows) -> Tensor:
        """See `RowOperation`."""
        return self.pooling.run(given, first, rows) + first * self.width


@dataclass(frozen=True, eq=False)
class Unpooling:
    """`max_unpool2d` of maps that were pooled in windows side by side."""

    factor: int
    width: int
    """Positions of a row of the output."""

    def needs(self, rows: Rows) -> Rows:
        """The rows of the windows."""
        return rows[0] // self.factor, -(-rows[1] // self.factor)

    def run(self, given: Sequence[Tensor], first: int, rows: Rows) -> Tensor:
        """See `RowOperation`."""
        values, places = given
        top = first * self.factor
        size = [values.shape[-2] * self.factor, self.width]
        found: Tensor = torch.ops.aten.max_unpool2d(values, places - top * self.width, size)
        return found.narrow(-2, rows[0] - top, rows[1] - rows[0])


@dataclass(frozen=True, eq=False)
class Spread:
    """Transposed convolutions: every row is added to several of the output."""

    window: Window
    length: int
    dim: int
    function: Callable[[Tensor], Tensor]
    """The operation without padding along the rows."""

    def needs(self, rows: Rows) -> Rows:
        """The rows that reach there."""
        reach = (self.window.kernel - 1) * self.window.dilation
        low = -((reach - rows[0] - self.window.padding) // self.window.stride)
        return low, (rows[1] - 1 + self.window.padding) // self.window.stride + 1

    def run(self, given: Sequence[Tensor], first: int, rows: Rows) -> Tensor:
        """See `RowOperation`."""
        low, _ = needed = self.needs(rows)
        found = self.function(_extended(given[0], needed, self.length, self.dim, 0.0))
        start = rows[0] + self.window.padding - low * self.window.stride
        return found.narrow(self.dim, start, rows[1] - rows[0])


@dataclass(frozen=True, eq=False)
class Enlarged:
    """Enlargement by a whole factor: of the nearest position, or between the two nearest."""

    factor: int
    dim: int
    linear: bool
    function: Callable[[Tensor, int], Tensor]
    """From the rows given, and how many they become."""

    def needs(self, rows: Rows) -> Rows:
        """The rows that the positions lie between."""
        start, stop = rows
        if not self.linear:
            return start // self.factor, (stop - 1) // self.factor + 1
        # Position p lies at (2 p + 1 - factor) / (2 factor) of the input.
        return _between(start, self.factor), _between(stop - 1, self.factor) + 2

    def run(self, given: Sequence[Tensor], first: int, rows: Rows) -> Tensor:
        """See `RowOperation`."""
        count = given[0].shape[self.dim] * self.factor
        return self.function(given[0], count).narrow(self.dim, rows[0] - first * self.factor, rows[1] - rows[0])


@dataclass(frozen=True, eq=False)
class Shifted:
    """Padding and cropping along the rows: the output's row 0 is the input's row `start`."""

    start: int
    length: int
    dim: int
    fill: float
    function: Callable[[Tensor], Tensor]
    """What else happens, along other axes."""

    def needs(self, rows: Rows) -> Rows:
        """The same rows, moved."""
        return rows[0] + self.start, rows[1] + self.start

    def run(self, given: Sequence[Tensor], first: int, rows: Rows) -> Tensor:
        """See `RowOperation`."""
        return self.function(_extended(given[0], self.needs(rows), self.length, self.dim, self.fill))


def _extended(given: Tensor, needed: Rows, length: int, dim: int, value: float) -> Tensor:
    """Rows that are needed, from those of them that a map of some length has: around it lies one value."""
    (low, high), count = needed, needed[1] - needed[0]
    top, bottom = min(max(0, -low), count), min(max(0, high - length), count)
    if top == 0 and bottom == 0:
        return given
    return functional.pad(given, [0, 0] * (-dim - 1) + [top, bottom], value=value)


def _between(position: int, factor: int) -> int:
    return (2 * position + 1 - factor) // (2 * factor)


def unchanged(given: Tensor, *_: Any) -> Tensor:
    """The rows as they are."""
    return given
