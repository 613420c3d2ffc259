"""Arrays with named axes, as HDF5, Zarr, N5, NIfTI and others store them, opened as stacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cristae.data.address import Place
from cristae.data.box import Box
from cristae.data.formats.paths import Reading
from cristae.data.formats.units import Calibration
from cristae.data.image import Image, Reader
from cristae.errors import ChannelError, FormatError

Index = tuple[slice | int, ...]

_NAMES = {
    **dict.fromkeys(("c", "channel", "channels", "ch", "class", "classes", "label^", "c^"), "c"),
    **dict.fromkeys(("t", "time", "frame", "timepoint"), "t"),
    **dict.fromkeys(("z", "depth", "slice", "slices", "plane", "section"), "z"),
    **dict.fromkeys(("y", "height", "row", "rows"), "y"),
    **dict.fromkeys(("x", "width", "col", "cols", "column", "columns"), "x"),
}

FEW = 4
"""An axis of up to this many may be the samples of colours as well as slices."""
MANY = 16
"""Sides of an image; below this, three axes without names are not doubted."""


@dataclass(frozen=True, eq=False)
class StoredArray:
    """An array as its file describes it."""

    where: str
    """File and array, for messages."""
    axes: tuple[str, ...]
    """Names of the axes, slowest first, as the file lists them; see `axis_names`."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    """What is decoded at once."""
    read: Callable[[Index], np.ndarray]
    """The voxels of an index with one entry for each axis."""
    channel_names: tuple[str, ...] = ()
    """Where the file names its channels."""
    colors: bool = False
    """Whether the file says that its channels are the samples of one colour image."""
    details: Mapping[str, str] = field(default_factory=dict)


def short_name(name: str) -> str:
    """The short name of an axis; a name that is not known stays, in small letters.

    Example:
        >>> short_name("Height"), short_name("phase")
        ('y', 'phase')
    """
    return _NAMES.get(name.lower(), name.lower())


def axis_names(names: Sequence[str], reading: Reading, where: str) -> tuple[str, ...]:
    """The axes by their short names t, c, z, y, x; other names stay. What the person says goes first.

    Raises:
        FormatError: The person named another number of axes, or one twice.
    """
    if reading.axes is not None and len(reading.axes) != len(names):
        raise FormatError(
            f"{where}: has {len(names)} axes, but '::axes={reading.axes}' names {len(reading.axes)}; name each once, "
            "in the order in which the file lists them"
        )
    named = tuple(short_name(name) for name in (reading.axes or names))
    if twice := [name for name in named if named.count(name) > 1]:
        raise FormatError(
            f"{where}: has two axes named {twice[0]} ({', '.join(names)}); say which is which: ::axes=czyx"
        )
    return named


def assumed_axes(shape: Sequence[int], reading: Reading, where: str) -> tuple[str, ...]:
    """z, y, x (or y, x) of an array that names no axes, unless it may as well hold colours or channels.

    Axes of one voxel before or behind those three say nothing. What the person says goes first.

    Raises:
        FormatError: It has other axes, or may hold colours, and the person does not name them.
    """
    if reading.axes is not None:
        return axis_names([""] * len(shape), reading, where)
    many = [i for i, size in enumerate(shape) if size > 1]
    core = range(many[0], many[-1] + 1) if len(shape) > 3 and many else range(len(shape))
    sizes = [shape[i] for i in core]
    if len(sizes) == 3 and 2 <= sizes[2] <= FEW and min(sizes[:2]) >= MANY:
        raise FormatError(
            f"{where}: has axes without names, of {', '.join(map(str, shape))}: a volume {sizes[2]} voxels wide, or "
            "colours or channels? Name them, for instance ::axes=yxc or ::axes=zyx after the path"
        )
    if len(shape) > 3 and (len(sizes) == 2 or (len(sizes) == 3 and sizes[0] > FEW)):
        names = dict(zip(core, ("z", "y", "x")[3 - len(sizes) :], strict=True))
        return tuple(names.get(i, f"single{i}") for i in range(len(shape)))
    if len(shape) in (2, 3):
        return ("z", "y", "x")[3 - len(shape) :]
    raise FormatError(
        f"{where}: has {len(shape)} axes without names, of {', '.join(map(str, shape))}; write a letter for each "
        f"behind the path, in this order, such as ::axes={_example(shape)} where c are channels"
    )


def _example(shape: Sequence[int]) -> str:
    """Letters for so many axes: channels are most often first, or last where that is short."""
    if len(shape) == 4:
        return "zyxc" if shape[3] <= FEW else "czyx"
    return "tczyx"[-len(shape) :] if len(shape) <= 5 else "tczyx..."


def open_stored(array: StoredArray, path: Place, *, format: str, reading: Reading, calibration: Calibration) -> Image:
    """A stack of an array: one channel, or the samples of a colour image.

    Args:
        array: What the file holds.
        path: The file, as the image's path.
        format: Short name of the format.
        reading: What the person says about it.
        calibration: Voxel size and origin.

    Raises:
        ChannelError: There are several channels and none is chosen, or not the chosen one.
        FormatError: The axes make no volume.
    """
    if reading.signed is not None:
        raise FormatError(f"{array.where}: ::signed is for 8-bit MRC files; leave it out")
    sizes = dict(zip(array.axes, array.shape, strict=True))
    _check_axes(array, sizes)
    many = sizes.get("c", 1)
    as_colors = many > 1 and (reading.channel == "color" or (array.colors and reading.channel is None))
    if as_colors and not 2 <= many <= 4:
        raise ChannelError(f"{array.where}: has {many} channels; a colour image has 2 to 4", _names_of(array, many))
    channel = None if as_colors else chosen_channel(array.where, reading, _names_of(array, many))
    native = np.dtype(np.uint8) if array.dtype.kind == "b" else array.dtype.newbyteorder("=")
    chunks = dict(zip(array.axes, array.chunks, strict=True))
    details = {"axes": ",".join(array.axes), **array.details}
    if channel is not None and many > 1:
        details["channel"] = channel_text(channel, _names_of(array, many))
    return Image(
        path=path,
        format=format,
        shape=(sizes.get("z", 1), sizes["y"], sizes["x"]),
        dtype=native,
        reader=_reader(array, channel, native),
        colors=many if as_colors else 1,
        chunks=(chunks.get("z", 1), chunks["y"], chunks["x"]),
        voxel_size_nm=calibration.voxel_size_nm,
        origin_nm=calibration.origin_nm,
        details=details | ({"voxel size": calibration.note} if calibration.note else {}),
    )


def chosen_channel(where: str, reading: Reading, names: Sequence[str]) -> int:
    """The channel to read: the one that the person names, or the only one.

    Args:
        where: The file, for messages.
        reading: What the person says.
        names: Of the channels, '' where they have none.

    Raises:
        ChannelError: There are several and none is named, or the named one is not there.
    """
    channel, many = reading.channel, len(names)
    if channel is None and many == 1:
        return 0
    listed = ", ".join(channel_text(i, names) for i in range(min(many, 8))) + (" ..." if many > 8 else "")
    if channel is None:
        raise ChannelError(
            f"{where}: has {many} channels ({listed}); name one by ::channel=0 to ::channel={many - 1} after the path",
            tuple(names),
        )
    if channel == "color":
        raise ChannelError(
            f"{where}: has {many} channel{'' if many == 1 else 's'} and is no colour image; leave out ::channel=color",
            tuple(names),
        )
    if not channel < many:
        raise ChannelError(f"{where}: has no channel {channel}; its channels are {listed}", tuple(names))
    return channel


def channel_text(channel: int, names: Sequence[str]) -> str:
    """A channel for a person.

    Example:
        >>> channel_text(1, ("", "mito"))
        "1 'mito'"
    """
    return f"{channel} '{names[channel]}'" if names[channel] else str(channel)


def _names_of(array: StoredArray, many: int) -> tuple[str, ...]:
    return array.channel_names if len(array.channel_names) == many else ("",) * many


def _check_axes(array: StoredArray, sizes: Mapping[str, int]) -> None:
    shown = ", ".join(f"{axis}={size}" for axis, size in sizes.items())
    if 0 in sizes.values():
        raise FormatError(f"{array.where}: holds no voxels ({shown})")
    if array.dtype.kind not in "iufb":
        raise FormatError(f"{array.where}: holds '{array.dtype}' values; expected integers or floats")
    if not {"y", "x"} <= set(sizes):
        raise FormatError(f"{array.where}: has axes {shown}; expected z, y, x. Name them by ::axes=zyx after the path")
    if odd := [axis for axis, size in sizes.items() if axis not in ("z", "y", "x", "c") and size > 1]:
        what = f"{sizes[odd[0]]} time points" if odd[0] == "t" else f"an axis '{odd[0]}' of {sizes[odd[0]]}"
        raise FormatError(f"{array.where}: has {what} ({shown}); expected one volume. Save one by itself")


def _reader(array: StoredArray, channel: int | None, dtype: np.dtype[Any]) -> Reader:
    kept = [axis for axis in array.axes if axis in ("z", "y", "x") or (axis == "c" and channel is None)]
    order = [kept.index(axis) for axis in ("z", "y", "x", "c") if axis in kept]
    no_z = "z" not in kept

    def read(box: Box) -> np.ndarray:
        pick: dict[str, slice | int] = dict(zip("zyx", box.slices, strict=True))
        pick["c"] = slice(None) if channel is None else channel
        voxels = array.read(tuple(pick.get(axis, 0) for axis in array.axes)).transpose(order)
        if no_z:
            voxels = voxels[None][: box.shape[0]]
        whole = np.ascontiguousarray(voxels, dtype)
        return whole if whole.flags.writeable else whole.copy()

    return read
