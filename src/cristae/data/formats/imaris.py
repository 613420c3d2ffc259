"""Imaris files (`.ims`): HDF5 with one array for each channel, padded to whole chunks.

https://imaris.oxinst.com/support/imaris-file-format
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.formats.stored import Index, StoredArray
from cristae.data.formats.units import Calibration, calibrate, offset_to_nm, to_nm
from cristae.data.image import VoxelSize
from cristae.errors import FormatError

DATA_SET = "DataSet"


def is_imaris(file: Any) -> bool:
    """Whether an open HDF5 file is one of Imaris."""
    return "ImarisVersion" in file.attrs or f"{DATA_SET}/ResolutionLevel 0" in file


def imaris_array(path: Path, file: Any, wrap: Callable[[str, Any], Callable[[Index], np.ndarray]]) -> StoredArray:
    """The finest level of an Imaris file with all its channels.

    Args:
        path: The file, for messages.
        file: The open HDF5 file.
        wrap: Makes the reader of one HDF5 array, with its name for messages.

    Raises:
        FormatError: A part is missing, or there are several time points.
    """
    level = file.get(f"{DATA_SET}/ResolutionLevel 0")
    if level is None or "TimePoint 0" not in level:
        raise FormatError(f"{path}: is an Imaris file without '{DATA_SET}/ResolutionLevel 0'; export it again")
    channels = sorted(level["TimePoint 0"], key=lambda name: int(name.rpartition(" ")[2]))
    groups = [level["TimePoint 0"][name] for name in channels]
    data = [group["Data"] for group in groups]
    sizes = {tuple(int(_attribute(group, f"ImageSize{axis}", 0)) for axis in "ZYX") for group in groups}
    kinds = {(array.dtype, array.shape) for array in data}
    if len(sizes) != 1 or len(kinds) != 1:
        raise FormatError(f"{path}: the channels of this Imaris file differ in size or type; export them one by one")
    size = sizes.pop()
    if any(not 0 < used <= stored for used, stored in zip(size, data[0].shape, strict=True)):
        raise FormatError(f"{path}: the header says {size} voxels (z, y, x), but {data[0].shape} are stored")
    readers = [wrap(f"{path}:{array.name}", array) for array in data]
    return StoredArray(
        where=f"{path}",
        axes=("t", "c", "z", "y", "x"),
        shape=(len(level), len(data), *size),
        dtype=data[0].dtype,
        chunks=(1, 1, *(data[0].chunks or size)),
        read=lambda index: _read(readers, index),
        channel_names=tuple(_channel_name(file, channel) for channel in range(len(data))),
        details={"array": DATA_SET, "compression": str(data[0].compression or "none")},
    )


def imaris_calibration(file: Any, size: tuple[int, ...]) -> Calibration:
    """Voxel size and origin from the extent of the image; Imaris counts in micrometres unless it says otherwise."""
    image = file.get("DataSetInfo/Image")
    if image is None:
        return Calibration()
    unit = _attribute(image, "Unit", "um")
    edges, corner = [], []
    for axis, count in zip((2, 1, 0), size, strict=True):
        low, high = (_number(_attribute(image, f"Ext{end}{axis}", "")) for end in ("Min", "Max"))
        edge = None if low is None or high is None else to_nm(f"{(high - low) / count:.7g}", unit)
        place = None if low is None else offset_to_nm(f"{low:.7g}", unit)
        edges.append(edge)
        corner.append(None if place is None or edge is None else place + edge / 2)
    extent = [_number(_attribute(image, f"ExtMax{axis}", "")) for axis in (2, 1, 0)]
    if extent == list(size):
        return Calibration(note="1 unit on all axes, which is what programs write when they do not know")
    z, y, x = corner
    origin: VoxelSize | None = None if z is None or y is None or x is None else (z, y, x)
    starts = [_number(_attribute(image, f"ExtMin{axis}", "")) for axis in (2, 1, 0)]
    return calibrate(edges, origin if any(starts) else None)


def _read(readers: list[Callable[[Index], np.ndarray]], index: Index) -> np.ndarray:
    _, channel, *place = index
    if isinstance(channel, slice):
        return np.stack([read(tuple(place)) for read in readers[channel]])
    return readers[channel](tuple(place))


def _channel_name(file: Any, channel: int) -> str:
    described = file.get(f"DataSetInfo/Channel {channel}")
    return "" if described is None else _attribute(described, "Name", "")


def _attribute(group: Any, name: str, missing: Any) -> Any:
    """Imaris writes text as arrays of single letters."""
    value = group.attrs.get(name)
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        return b"".join(value.tolist()).decode("utf-8", "replace").strip()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    return missing if value is None else value


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
