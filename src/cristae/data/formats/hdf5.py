"""HDF5 arrays: ilastik's axis tags, ImageJ's element sizes, dimension labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import h5py
import numpy as np

from cristae.data.formats.conventions import attribute_calibration
from cristae.data.formats.full_disk import PatientFile
from cristae.data.formats.paths import Reading, require_content
from cristae.data.formats.stored import Index, StoredArray, assumed_axes, axis_names, open_stored
from cristae.data.formats.stream import bands
from cristae.data.formats.units import Calibration, calibrate, to_nm
from cristae.data.image import Image, VoxelSize
from cristae.errors import CristaeError, FormatError
from cristae.progress import Task

_COLORS = "cristae_colors"
"""Attribute of arrays that Cristae writes: channels are the samples of one colour image."""
ARRAY = "data"
"""Name of the array in files that Cristae writes."""
MAX_CHUNK_BYTES = 2**31
CACHE_BYTES = 64 * 2**20


def open_hdf5(path: Path, inner: str = "", *, reading: Reading = Reading()) -> Image:
    """Open one array of an HDF5 file; nothing but metadata is read.

    Axes come from ilastik's `axistags`, then from dimension labels, then z, y, x (or y, x) are assumed for 3 (or 2)
    axes. The voxel size comes from the attributes (see `conventions`), or from `axistags` with units.

    Args:
        path: The file.
        inner: The array, such as 'volumes/raw'; may be left out when there is only one.
        reading: What the person says about it.

    Raises:
        ChannelError: There are several channels and none is chosen, or not the chosen one.
        FormatError: The file is damaged or truncated, holds several arrays, or the array has no such axes.
    """
    require_content(path, at_least=8)
    try:
        file = h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES)
        return _image(path, file[_choose(path, file, inner)], reading)
    except CristaeError:
        raise
    except Exception as error:
        raise FormatError(f"{path}: is not a readable HDF5 file: {str(error).split(chr(10))[0][:300]}") from error


def list_hdf5(path: Path) -> tuple[str, ...]:
    """Inner paths of the arrays that have at least two axes and hold numbers.

    Raises:
        FormatError: The file is damaged or truncated.
    """
    require_content(path, at_least=8)
    try:
        with h5py.File(path, "r") as file:
            return _arrays(file)
    except Exception as error:
        raise FormatError(f"{path}: is not a readable HDF5 file: {str(error)[:300]}") from error


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
    if inner and inner in file:
        if isinstance(file[inner], h5py.Dataset):
            return inner
        below = [name for name in _arrays(file) if name.startswith(f"{inner}/")]
    else:
        below = list(_arrays(file))
    if len(below) == 1 and (not inner or inner in file):
        return below[0]
    listed = ", ".join(f"{path}:/{name}" for name in below[:8]) or "none"
    problem = f"has no array '/{inner}'" if inner and inner not in file else f"holds {len(below)} arrays"
    raise FormatError(f"{path}: {problem}; name one of them: {listed}")


def _arrays(file: Any) -> tuple[str, ...]:
    found: list[str] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "iufb" and node.ndim >= 2:
            found.append(name)

    file.visititems(visit)
    return tuple(found)


def _image(path: Path, array: Any, reading: Reading) -> Image:
    name = f"{path}:{array.name}"
    dtype = array.dtype
    if dtype.kind not in "iufb" or array.shape is None or 0 in array.shape:
        raise FormatError(f"{name}: holds no voxels: shape {array.shape}, type {dtype}")
    _check_stored(name, path, array)
    axes, tags = _axes(name, array, reading)
    details = {"array": array.name, "compression": str(array.compression or "none")}
    if array.chunks is None:
        details["chunks"] = "stored in one piece"
    stored = StoredArray(
        where=name,
        axes=axes,
        shape=array.shape,
        dtype=dtype,
        chunks=array.chunks or tuple(1 if a in "tz" else s for a, s in zip(axes, array.shape, strict=True)),
        read=_reader(name, array),
        colors=bool(array.attrs.get(_COLORS, False)),
        details=details,
    )
    calibration = _calibration(array, axes, tags)
    return open_stored(stored, path, format="hdf5", reading=reading, calibration=calibration)


def _reader(name: str, array: Any) -> Callable[[Index], np.ndarray]:
    lock = Lock()

    def read(index: Index) -> np.ndarray:
        try:
            with lock:
                return np.asarray(array[index])
        except Exception as error:
            raise FormatError(f"{name}: does not decode, the file is damaged: {str(error)[:300]}") from error

    return read


def _check_stored(name: str, path: Path, array: Any) -> None:
    if array.chunks and int(np.prod(array.chunks, dtype=object)) * array.dtype.itemsize > MAX_CHUNK_BYTES:
        raise FormatError(f"{name}: chunks of {array.chunks} are too large to decode; rewrite it with smaller ones")
    if array.chunks is None and not array.is_virtual and not array.external:
        need = int(np.prod(array.shape, dtype=object)) * array.dtype.itemsize
        if array.id.get_offset() is not None and array.id.get_offset() + need > path.stat().st_size:
            raise FormatError(f"{name}: is truncated: {need} bytes of voxels do not fit the file")
    for source in array.virtual_sources() if array.is_virtual else ():
        if source.file_name != "." and not (path.parent / source.file_name).exists():
            raise FormatError(f"{name}: refers to voxels in {source.file_name}, which is missing")


def _axes(name: str, array: Any, reading: Reading) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    tags: list[dict[str, Any]] = []
    if "axistags" in array.attrs:
        try:
            tags = json.loads(array.attrs["axistags"])["axes"]
            axes = [str(tag["key"]) for tag in tags]
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{name}: the attribute 'axistags' is damaged: {error}") from error
        if len(axes) != array.ndim:
            raise FormatError(f"{name}: has {array.ndim} axes {array.shape}, but 'axistags' names {','.join(axes)}")
        return axis_names(axes, reading, name), tags
    labels = [str(dimension.label) for dimension in array.dims]
    if all(labels):
        return axis_names(labels, reading, name), tags
    return assumed_axes(array.shape, reading, name), tags


def _calibration(array: Any, axes: Sequence[str], tags: list[dict[str, Any]]) -> Calibration:
    found = attribute_calibration(dict(array.attrs), axes)
    if found != Calibration():
        return found
    units = _units(array.attrs.get("axis_units"))
    edges = {tag["key"]: to_nm(tag.get("resolution", 0), units.get(tag["key"])) for tag in tags}
    return calibrate([edges.get(axis) for axis in "zyx"])


def _units(text: Any) -> Mapping[str, str]:
    """ilastik's `axis_units`: without it the resolutions of the axis tags have no unit and say nothing."""
    try:
        units = json.loads(text) if isinstance(text, str | bytes) else {}
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in units.items()} if isinstance(units, dict) else {}


def _axistags(voxel_size_nm: VoxelSize | None, colored: bool) -> str:
    size = dict(zip("zyx", voxel_size_nm or (0.0, 0.0, 0.0), strict=True))
    axes = [{"key": axis, "typeFlags": 2, "resolution": size[axis], "description": ""} for axis in "zyx"]
    axes += [{"key": "c", "typeFlags": 1, "resolution": 0, "description": ""}] if colored else []
    return json.dumps({"axes": axes})
