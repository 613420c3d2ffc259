"""What the positions of a feature map depend on, and the calls that make one map from others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

_NEVER = 1 << 40
"""First voxel of a position that depends on none, such as zero padding; its last voxel is the negative."""


class NotLocalError(Exception):
    """A network does something whose reach is not bounded, or not known to be."""


@dataclass(frozen=True, eq=False)
class Span:
    """The first and last voxel of the image, along one of its axes, that each position along a dimension depends on."""

    axis: int
    """Of the image, from 0."""
    first: np.ndarray
    """(n,) int64."""
    last: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def of_image(cls, axis: int, side: int) -> Span:
        """Every voxel depends on itself."""
        return cls(axis, np.arange(side), np.arange(side))

    @classmethod
    def nothing(cls, axis: int, side: int) -> Span:
        """No position depends on anything."""
        return cls(axis, np.full(side, _NEVER), np.full(side, -_NEVER))

    def take(self, positions: np.ndarray) -> Span:
        """The intervals at some positions; those outside depend on nothing."""
        inside = (positions >= 0) & (positions < len(self))
        at = np.where(inside, positions, 0)
        return Span(self.axis, np.where(inside, self.first[at], _NEVER), np.where(inside, self.last[at], -_NEVER))

    def hull(self, other: Span) -> Span:
        """Both together, position by position."""
        return Span(self.axis, np.minimum(self.first, other.first), np.maximum(self.last, other.last))


Field = tuple[Span | None, ...]
"""For each dimension of a tensor what its positions depend on; None where it is no axis of the image."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a torch function on feature maps, after it was made."""

    name: str
    args: tuple[Any, ...]
    given: dict[str, Any]
    outputs: list[Tensor]
    field_of: Callable[[Tensor], Field | None]
    note_kernel: Callable[[int, int, int], None]
    """Remembers, for an axis of the image, how many positions a kernel spans on a map of how many."""

    def bind(self, *names: str) -> dict[str, Any]:
        """Arguments by name; those that were not given are missing."""
        return {**dict(zip(names, self.args, strict=False)), **self.given}

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among the arguments."""
        return list(tensors_in((self.args, self.given)))

    def field(self, tensor: Tensor) -> Field:
        """What an argument depends on; all None when it is a constant."""
        return self.field_of(tensor) or (None,) * tensor.ndim

    @property
    def main(self) -> Field:
        """What the first argument depends on. The other tensors must be constants.

        Raises:
            NotLocalError: They are not.
        """
        first, *others = self.tensors
        if any(self.field_of(tensor) is not None for tensor in others):
            raise self.refusal("with parameters that come from the image")
        return self.field(first)

    def refusal(self, why: str) -> NotLocalError:
        """An error that names the function."""
        return NotLocalError(f"it uses '{self.name}' {why}")


Rule = Callable[[Call], Sequence[Field]]
"""From a call to the fields of its outputs."""


def tensors_in(values: Any) -> Iterator[Tensor]:
    """All tensors among arguments or results, however nested."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from tensors_in(value)
    elif isinstance(values, dict):
        yield from tensors_in(tuple(values.values()))


def untouched(call: Call, dims: int | Sequence[int] | None) -> Field:
    """The field of a map that a function changes along some dimensions, none of which may be an axis of the image.

    Raises:
        NotLocalError: One is; None stands for all.
    """
    field = call.main
    wanted = range(len(field)) if dims is None else [dims] if isinstance(dims, int) else dims
    if any(field[dim] is not None for dim in wanted):
        raise call.refusal("along an axis of the image, and so depends on the whole of it")
    return field
