"""Whether all voxels of an HDF5 array can be read: filters, and the other files that may hold them.

Where a source is missing libhdf5 gives fill values without a word, so it is looked for before anything is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cristae.data.formats.stored import Index
from cristae.errors import FormatError

MAX_CHUNK_BYTES = 2**31
_MAX_NESTING = 8
_COUNTED_CHUNKS = 20_000
_FILTERS = {
    4: "SZIP", 305: "LZO", 307: "bzip2", 32000: "LZF", 32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle",
    32013: "ZFP", 32015: "Zstandard", 32017: "SZ", 32018: "FCIDECOMP", 32019: "JPEG", 32024: "SZ3", 32026: "Blosc2",
    32028: "SPERR",
}  # fmt: skip
"""https://github.com/HDFGroup/hdf5_plugins/blob/master/docs/RegisteredFilterPlugins.md"""


def check_stored(name: str, array: Any) -> str:
    """A note about an array whose voxels can all be read; empty where there is nothing to say.

    Args:
        name: File and array, for messages.
        array: The h5py dataset.

    Raises:
        FormatError: A filter, or a file that holds voxels, is missing; a chunk is too large; the file is truncated.
    """
    _check_filters(name, array)
    if array.chunks and math.prod(array.chunks) * array.dtype.itemsize > MAX_CHUNK_BYTES:
        raise FormatError(f"{name}: chunks of {array.chunks} are too large to decode; rewrite it with smaller ones")
    need = math.prod(array.shape) * array.dtype.itemsize
    if array.is_virtual:
        return _check_virtual(name, array)
    if array.external:
        _check_external(name, array, need)
        return ""
    if array.chunks is not None:
        return _unwritten(array)
    offset = array.id.get_offset()  # None before anything is written
    if offset is not None and offset + need > Path(array.file.filename).stat().st_size:
        raise FormatError(f"{name}: is truncated: {need} bytes of voxels do not fit the file")
    return ""


def _unwritten(array: Any) -> str:
    """A note about chunks that hold nothing; counting takes about 2 us for each, so many are not counted."""
    expected = math.prod(-(-size // step) for size, step in zip(array.shape, array.chunks, strict=True))
    missing = expected - int(array.id.get_num_chunks()) if expected <= _COUNTED_CHUNKS else 0
    if missing <= 0:
        return ""
    return f"{missing} of {expected} chunks were never written, and hold the fill value {array.fillvalue:g} only"


def raw_reader(name: str, array: Any) -> Callable[[Index], np.ndarray]:
    """Reads an array whose voxels are in raw files beside its HDF5 file, where `check_stored` found them.

    libhdf5 would look for them in the folder of work, and give zeros for what it does not find.
    """
    folder = Path(array.file.filename).parent
    parts = [(folder / file, int(offset), int(size)) for file, offset, size in array.external]
    shape, dtype = array.shape, array.dtype
    plane = math.prod(shape[1:]) * dtype.itemsize

    def read(index: Index) -> np.ndarray:
        first = index[0]
        places = range(shape[0])[first] if isinstance(first, slice) else (first,)
        try:
            planes = [np.frombuffer(_raw_bytes(parts, i * plane, plane), dtype).reshape(shape[1:]) for i in places]
        except (OSError, ValueError) as error:
            raise FormatError(f"{name}: a raw file that holds its voxels has shrunk or vanished") from error
        found = np.stack([voxels[tuple(index[1:])] for voxels in planes])
        return found if isinstance(first, slice) else found[0]

    return read


def _raw_bytes(parts: list[tuple[Path, int, int]], start: int, count: int) -> bytes:
    pieces = []
    for place, offset, size in parts:
        here = min(count, size - start)
        if here > 0:
            with place.open("rb") as file:
                file.seek(offset + max(0, start))
                pieces.append(file.read(here))
            start, count = start + here, count - here
        start -= size
    return b"".join(pieces)


def _check_filters(name: str, array: Any) -> None:
    properties = array.id.get_create_plist()
    used = [properties.get_filter(i) for i in range(properties.get_nfilters())]
    if all(h5py.h5z.filter_avail(code) for code, *_ in used):
        return
    if find_spec("hdf5plugin") is not None:
        import hdf5plugin  # noqa: F401  registers its filters with libhdf5
    for code, _, _, title in used:
        if not h5py.h5z.filter_avail(code):
            called = _FILTERS.get(code) or title.decode("utf-8", "replace").split(";")[0].strip() or "unknown"
            raise FormatError(
                f"{name}: is compressed with {called} (HDF5 filter {code}), which is not installed here. "
                "`pip install hdf5plugin` brings most filters; or rewrite the array with gzip: "
                "`h5repack -f GZIP=1 in.h5 out.h5`"
            )


def _check_external(name: str, array: Any, need: int) -> None:
    folder, given = Path(array.file.filename).parent, 0
    for file, offset, size in array.external:
        place = folder / file
        if not place.is_file():
            raise FormatError(f"{name}: its voxels are in {file}, which is missing; put it beside the HDF5 file")
        room = max(0, place.stat().st_size - offset)
        part = min(size, need - given)
        if room < part:
            raise FormatError(f"{name}: its voxels are in {file}, which is truncated: {room} bytes instead of {part}")
        given += part
    if given < need:
        raise FormatError(f"{name}: its raw files hold {given} bytes, but its voxels take {need}")


def _check_virtual(name: str, array: Any, depth: int = 0) -> str:
    if depth > _MAX_NESTING:
        raise FormatError(f"{name}: is made of arrays that are made of others, {_MAX_NESTING} deep or in a circle")
    given = 0
    for source in array.virtual_sources():
        if "%" in re.sub("%%", "", source.file_name + source.dset_name):
            _check_series(name, array, source)
            given = math.prod(array.shape)
            continue
        _check_source(name, array, source, depth)
        given += int(source.vspace.get_select_npoints())
    missing = math.prod(array.shape) - given
    return f"{missing} voxels belong to no source and hold the fill value {array.fillvalue:g}" if missing > 0 else ""


def _check_source(name: str, array: Any, source: Any, depth: int) -> None:
    folder = Path(array.file.filename).parent
    told = f"{name}: refers to voxels in {source.file_name}:/{source.dset_name.strip('/')}"
    if source.file_name != "." and not (folder / source.file_name).exists():
        raise FormatError(f"{told}; the file is missing, put it beside this one")
    try:
        file = array.file if source.file_name == "." else h5py.File(folder / source.file_name, "r")
        found = file[source.dset_name]
    except Exception as error:
        raise FormatError(f"{told}, where no such array can be read") from error
    need = _reach(source)
    fits = (
        math.prod(found.shape) == source.vspace.get_select_npoints()
        if need is None
        else (len(need) == found.ndim and all(have >= want for have, want in zip(found.shape, need, strict=True)))
    )
    if not fits:
        raise FormatError(f"{told}, which has another shape than when it was linked: {found.shape}")
    _check_filters(told, found)
    if found.is_virtual:
        _check_virtual(told, found, depth + 1)


def _reach(source: Any) -> tuple[int, ...] | None:
    """How far the part of a source that is used reaches along each of its axes; None where it is the whole source."""
    if not source.src_space.shape:
        return None
    return tuple(int(end) + 1 for end in source.src_space.get_select_bounds()[1])


def _check_series(name: str, array: Any, source: Any) -> None:
    """A series of files, `part_%b.h5`: the first must be there; libhdf5 ends the array where the series ends."""
    first = source.file_name.replace("%b", "0")
    if source.file_name != "." and not (Path(array.file.filename).parent / first).exists():
        raise FormatError(f"{name}: refers to voxels in {first}, which is missing; put it beside this file")


def enumeration(array: Any) -> dict[int, str]:
    """Names that an enumeration gives to values; empty where the array has none."""
    names = h5py.check_enum_dtype(array.dtype) or {}
    return {int(value): str(word) for word, value in names.items()} if array.dtype != np.bool_ else {}
