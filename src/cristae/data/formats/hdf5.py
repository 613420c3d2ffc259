"""HDF5 arrays, as the programs of `hdf5_dialects` write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import h5py
import numpy as np

from cristae.data.formats.full_disk import PatientFile
from cristae.data.formats.hdf5_dialects import (
    array_calibration,
    counted_as,
    default_array,
    stored_axes,
    values_note,
)
from cristae.data.formats.hdf5_links import broken_link, find_contents, hdf5_errors, open_file, why_no_image
from cristae.data.formats.hdf5_storage import check_stored, enumeration, raw_reader
from cristae.data.formats.imaris import DATA_SET, imaris_array, imaris_calibration, is_imaris
from cristae.data.formats.paths import Reading
from cristae.data.formats.stored import Index, StoredArray, open_stored
from cristae.data.formats.stream import bands
from cristae.data.image import Image, VoxelSize
from cristae.errors import FormatError
from cristae.progress import Task

_COLORS = "cristae_colors"
"""Attribute of arrays that Cristae writes: channels are the samples of one colour image."""
ARRAY = "data"
"""Name of the array in files that Cristae writes."""


def open_hdf5(path: Path, inner: str = "", *, reading: Reading = Reading()) -> Image:
    """Open one array of an HDF5 file; nothing but metadata is read.

    Links are followed, into other files too. Axes and voxel size are those of the program that wrote the file (see
    `hdf5_dialects`); where it names no axes they are z, y, x (or y, x).

    Args:
        path: The file.
        inner: The array, such as 'volumes/raw'; may be left out when there is only one, or NeXus names a default.
        reading: What the person says about it.

    Raises:
        ChannelError: There are several channels and none is chosen, or not the chosen one.
        FormatError: The file is damaged or truncated, holds several arrays, a part of it is missing, or the array has
            no such axes.
    """
    with hdf5_errors(path):
        file = open_file(path)
        if is_imaris(file):
            return _imaris_image(path, file, inner, reading)
        chosen = _choose(path, file, inner)
        return _image(path, chosen, file[chosen], reading)


def list_hdf5(path: Path) -> tuple[str, ...]:
    """Inner paths of the arrays that have at least two axes and hold numbers; each once, whatever links lead to it.

    Raises:
        FormatError: The file is damaged or truncated.
    """
    with hdf5_errors(path), open_file(path) as file:
        return (DATA_SET,) if is_imaris(file) else find_contents(file).arrays


def write_hdf5(image: Image, path: Path, task: Task) -> None:
    """Write a chunked, compressed array `/data` with ilastik axis tags, band by band.

    Raises:
        OSError: The disk is full or the place may not be written.
    """
    colored = image.colors > 1
    shape = (*image.shape, image.colors) if colored else image.shape
    chunks = tuple(min(size, step) for size, step in zip(shape, (8, 128, 128, image.colors), strict=False))
    with PatientFile(path) as target:
        with h5py.File(target, "w", track_order=True) as file:
            array = file.create_dataset(
                ARRAY, shape, image.dtype, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True,
                track_times=False,
            )  # fmt: skip
            array.attrs["axistags"] = _axistags(image.voxel_size_nm, colored)
            if image.voxel_size_nm is not None:
                array.attrs["element_size_um"] = np.array(image.voxel_size_nm) / 1000
                array.attrs["voxel_size_nm"] = np.array(image.voxel_size_nm)
            if image.voxel_size_nm is not None and image.origin_nm is not None:
                array.attrs["origin_nm"] = np.array(image.origin_nm)
            if colored:
                array.attrs[_COLORS] = True
            for box in bands(image, step=(max(8, image.chunks[0]), *image.chunks[1:])):
                array[box.slices] = image.read(box)
                if target.failure is not None:
                    break
                task.advance(box.shape[0] if box.stop[1] == image.shape[1] else 0)
        if target.failure is not None:
            raise target.failure


def _choose(path: Path, file: Any, inner: str) -> str:
    """The inner path of the one array that is meant."""
    try:
        found = file[inner] if inner else file
    except (KeyError, OSError, RuntimeError, ValueError):
        if why := broken_link(file, inner):
            raise FormatError(f"{path}: '/{inner}' is {why}") from None
        listed = _listed(path, find_contents(file).arrays)
        raise FormatError(f"{path}: has no array '/{inner}'; name one of them: {listed}") from None
    if isinstance(found, h5py.Dataset):
        return inner
    if named := default_array(found):
        return f"{inner}/{named}".lstrip("/")
    contents = find_contents(found)
    below = tuple(f"{inner}/{name}".lstrip("/") for name in contents.arrays)
    if len(below) == 1:
        return below[0]
    if not below:
        raise FormatError(f"{path}: holds no image{': ' if contents.others else ''}{'; '.join(contents.others[:5])}")
    raise FormatError(f"{path}: holds {len(below)} arrays; name one of them: {_listed(path, below)}")


def _listed(path: Path, names: tuple[str, ...]) -> str:
    return ", ".join(f"{path}:/{name}" for name in names[:8]) + (" ..." if len(names) > 8 else "") or "it holds none"


def _image(path: Path, inner: str, array: Any, reading: Reading) -> Image:
    name = f"{path}:/{inner}"
    if why := why_no_image(array):
        raise FormatError(f"{name}: {why}; expected an array of numbers with axes z, y, x")
    if 0 in array.shape:
        raise FormatError(f"{name}: holds no voxels: its shape is {array.shape}")
    notes = [note for note in (check_stored(name, array), values_note(array)) if note]
    axes, dtype = stored_axes(name, array, reading), counted_as(array)
    there = Path(array.file.filename)
    details = {
        "array": array.name if there == path else f"{there.name}:{array.name}",
        "compression": str(array.compression or "none"),
    }
    if array.chunks is None:
        details["chunks"] = "stored in one piece"
    if dtype != array.dtype:
        details["values"] = "stored as signed and counted as unsigned, as the file means them"
    stored = StoredArray(
        where=name,
        axes=axes,
        shape=array.shape,
        dtype=dtype,
        chunks=array.chunks or tuple(s if a in "yxc" else 1 for a, s in zip(axes, array.shape, strict=True)),
        read=_reader(name, array, dtype),
        channel_names=_channel_names(array),
        colors=bool(array.attrs.get(_COLORS, False)),
        details=details | {f"label {value}": word for value, word in enumeration(array).items()},
    )
    image = open_stored(stored, path, format="hdf5", reading=reading, calibration=array_calibration(array, axes))
    return replace(image, details={**image.details, "note": "; ".join(notes)}) if notes else image


def _imaris_image(path: Path, file: Any, inner: str, reading: Reading) -> Image:
    if inner not in ("", DATA_SET):
        raise FormatError(f"{path}: an Imaris file is opened whole; leave out ':/{inner}', and choose ::channel=0")
    stored = imaris_array(path, file, _reader)
    calibration = imaris_calibration(file, stored.shape[2:])
    return open_stored(stored, path, format="imaris", reading=reading, calibration=calibration)


def _reader(name: str, array: Any, dtype: np.dtype[Any] | None = None) -> Callable[[Index], np.ndarray]:
    if array.external:
        return raw_reader(name, array)
    lock = Lock()

    def read(index: Index) -> np.ndarray:
        try:
            with lock:
                voxels = np.asarray(array[index])
        except Exception as error:
            raise FormatError(f"{name}: does not decode, the file is damaged: {str(error)[:300]}") from error
        return voxels if dtype is None or voxels.dtype == dtype else voxels.view(dtype)

    return read


def _channel_names(array: Any) -> tuple[str, ...]:
    names = array.attrs.get("channel_names", ())
    listed = names.tolist() if isinstance(names, np.ndarray) else ()
    return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in listed)


def _axistags(voxel_size_nm: VoxelSize | None, colored: bool) -> str:
    size = dict(zip("zyx", voxel_size_nm or (0.0, 0.0, 0.0), strict=True))
    axes = [{"key": axis, "typeFlags": 2, "resolution": size[axis], "description": ""} for axis in "zyx"]
    axes += [{"key": "c", "typeFlags": 1, "resolution": 0, "description": ""}] if colored else []
    return json.dumps({"axes": axes})
