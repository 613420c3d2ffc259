"""Which planes of a TIFF file are the slices of one volume, which are channels, and which make a colour image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from cristae.data.formats.paths import Reading
from cristae.data.formats.stored import channel_text, chosen_channel
from cristae.errors import ChannelError, FormatError

_PLAIN = frozenset("ziq")
"""Axes that are taken as z without a remark: depth, a sequence, and what programs write for 'some other'."""


@dataclass(frozen=True)
class Stored:
    """The axes of a file, as its metadata and its pages say them."""

    where: str
    """The file, for messages."""
    axes: str
    """Letters of tifffile, slowest first: Y rows, X columns, Z, C, T, S samples, I and Q some sequence."""
    shape: tuple[int, ...]
    samples: int
    """Values stored side by side for each pixel."""
    colors: tuple[int, ...]
    """The samples that make a colour; none where the samples are channels."""
    sample_names: Sequence[str]
    channel_names: Sequence[str] = ()
    """Of axis C."""
    plane_names: Sequence[str] = ()
    """Of every plane, in the order of the file."""
    planes_are_slices: bool = False
    """The file's description counts the samples, each stored as a plane, like the slices of a stack."""


@dataclass(frozen=True)
class Layout:
    """What is read of a file."""

    planes: tuple[tuple[int, ...], ...]
    """For each slice, the planes that are read: one, or as many as there are colours in planes of their own."""
    samples: tuple[int, ...]
    """The samples that are taken of each pixel of a plane."""
    details: Mapping[str, str]

    @property
    def colors(self) -> int:
        """1 for grey, 2 for grey + alpha, 3 for RGB, 4 for RGBA."""
        return len(self.planes[0]) * len(self.samples)


@dataclass(frozen=True)
class _Axis:
    letter: str
    size: int
    stride: int
    """Planes from one to the next; 0 for the samples of a pixel."""


@dataclass
class _Choice:
    """What is taken along each axis."""

    stack: _Axis | None = None
    color: _Axis | None = None
    colors: Sequence[int] = (0,)
    fixed: list[tuple[_Axis, int]] = field(default_factory=list)
    details: dict[str, str] = field(default_factory=dict)


def lay_out(stored: Stored, reading: Reading) -> Layout:
    """Which planes and samples are read, as the file says it and the person chooses.

    Raises:
        ChannelError: There are several channels and none is chosen, or not the chosen one.
        FormatError: The axes make no volume.
    """
    axes = _axes(stored, reading)
    choice = _Choice()
    others = [axis for axis in axes if axis.letter not in "sc"]
    channels = [axis for axis in axes if axis.letter in "sc"]
    asked = reading.axes is not None or reading.channel is not None
    if stored.planes_are_slices and not others and not asked:
        # The description knows no channels: a stack of three or four slices, whose planes tifffile tags as RGB(A).
        choice.stack, channels = channels[0], []
        choice.details["planes"] = "tagged as RGB, but the description counts slices; ::channel=color for colours"
    else:
        choice.stack = _stack(stored, others, reading)
        _choose_channels(stored, choice, channels, reading)
    if choice.stack is not None and reading.axes is None and choice.stack.letter not in (*_PLAIN, "s"):
        choice.details["note"] = f"axis {choice.stack.letter.upper()} was taken as z"
    return _layout(choice)


def _axes(stored: Stored, reading: Reading) -> list[_Axis]:
    """Axes of more than one plane or sample, rows and columns left out."""
    letters, shape = _named(stored, reading)
    if 0 in shape:
        raise FormatError(
            f"{stored.where}: says it has {' x '.join(map(str, shape))} pixels, which is no image; it is damaged"
        )
    tail = 3 if stored.samples > 1 else 2
    if letters[len(letters) - tail :][:2] != "yx" or (tail == 3 and letters[-1] not in "sc"):
        raise FormatError(
            f"{stored.where}: has axes {letters.upper()} ({_sizes(stored.axes, stored.shape)}), but a TIFF file stores "
            f"rows (y) and columns (x){' and then channels (c)' if tail == 3 else ''} last; where it names them "
            "wrongly, name them after the path, for instance ::axes=zyx"
        )
    leading = list(zip(letters[:-tail], shape[:-tail], strict=True))
    axes = [_Axis(letter, size, prod(shape[i + 1 : -tail])) for i, (letter, size) in enumerate(leading)]
    if tail == 3:
        axes.append(_Axis(letters[-1], stored.samples, 0))
    return [axis for axis in axes if axis.size > 1]


def _named(stored: Stored, reading: Reading) -> tuple[str, tuple[int, ...]]:
    """The axes in small letters; those that the person names go first."""
    own = stored.axes.lower()
    if reading.axes is None:
        return own, stored.shape
    shown = [(axis, size) for axis, size in zip(own, stored.shape, strict=True) if size > 1 or axis in "yx"]
    for axes in (list(zip(own, stored.shape, strict=True)), shown):
        if len(axes) == len(reading.axes):
            return reading.axes, tuple(size for _, size in axes)
    raise FormatError(
        f"{stored.where}: has {len(shown)} axes ({_sizes(stored.axes, stored.shape)}), but '::axes={reading.axes}' "
        f"names {len(reading.axes)}; name each once, in the order in which the file lists them"
    )


def _stack(stored: Stored, others: Sequence[_Axis], reading: Reading) -> _Axis | None:
    if len(others) > 1:
        found = ", ".join(f"{axis.letter.upper()}={axis.size}" for axis in others)
        raise FormatError(
            f"{stored.where}: holds several stacks (axes {stored.axes}, {found}); expected one. Save one as a file "
            "of its own; or, if one of these axes are channels, say so behind the path: ::axes=czyx"
        )
    if others and reading.axes is not None and others[0].letter == "t":
        raise FormatError(f"{stored.where}: has {others[0].size} time points; expected one volume. Save one by itself")
    return others[0] if others else None


def _choose_channels(stored: Stored, choice: _Choice, channels: list[_Axis], reading: Reading) -> None:
    """Split the channels into the samples of a colour and what has to be chosen."""
    own = next((a for a in channels if a.letter == "s" and stored.colors and not stored.planes_are_slices), None)
    if own is None and reading.channel == "color" and len(channels) == 1:
        own = channels[0]
        if own.size > 4:
            raise ChannelError(
                f"{stored.where}: has {own.size} channels; a colour image has 2 to 4", _names(stored, channels)
            )
    rest = [axis for axis in channels if axis is not own]
    if own is not None and (reading.channel in (None, "color") or rest):
        choice.color = own
        choice.colors = stored.colors if own.letter == "s" and stored.colors else range(own.size)
        if choice.colors != range(own.size) and len(choice.colors) < own.size:
            choice.details["samples"] = f"{own.size}; the last has no stated meaning and is left out"
    else:
        rest = channels
    if own is not None and not rest:
        return
    names = _names(stored, rest)
    try:
        channel = chosen_channel(stored.where, reading, names)
    except ChannelError as error:
        if choice.stack is not None or reading != Reading() or len(rest) != 1 or rest[0].stride == 0:
            raise
        raise ChannelError(f"{error}; if they are slices, say so by ::axes=zyx", error.channels) from None
    if len(names) > 1:
        choice.details["channel"] = channel_text(channel, names)
    for axis in reversed(rest):
        channel, index = divmod(channel, axis.size)
        choice.fixed.append((axis, index))


def _names(stored: Stored, channels: Sequence[_Axis]) -> tuple[str, ...]:
    """Names of all combinations of the channels along these axes, '' where they have none."""
    names = [""]
    for axis in channels:
        own = stored.sample_names if axis.letter == "s" or axis.stride == 0 else stored.channel_names
        if len(own) != axis.size and axis.stride and len(stored.plane_names) > axis.stride * (axis.size - 1):
            own = [stored.plane_names[axis.stride * i] for i in range(axis.size)]
        own = own if len(own) == axis.size else [""] * axis.size
        names = [" ".join(filter(None, (first, name))) for first in names for name in own]
    return tuple(names)


def _layout(choice: _Choice) -> Layout:
    start = sum(axis.stride * index for axis, index in choice.fixed)
    planar = choice.color is not None and choice.color.stride > 0
    step = choice.color.stride if choice.color is not None else 0
    across = [step * color for color in choice.colors] if planar else [0]
    depth, stride = (choice.stack.size, choice.stack.stride) if choice.stack is not None else (1, 0)
    samples: Sequence[int] = (0,)
    if choice.color is not None and not planar:
        samples = choice.colors
    else:
        samples = next(([index] for axis, index in choice.fixed if axis.stride == 0), samples)
    planes = tuple(tuple(start + z * stride + plane for plane in across) for z in range(depth))
    return Layout(planes, tuple(samples), choice.details)


def _sizes(axes: str, shape: Sequence[int]) -> str:
    return ", ".join(f"{axis}={size}" for axis, size in zip(axes, shape, strict=True))
