"""Zarr arrays whose codecs only zarr-python knows, and words for those that are not read."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.address import Address, Place
from cristae.data.formats.stored import Index
from cristae.data.formats.tensor_store import LazyArray, check_voxels, reason, undecodable
from cristae.errors import FormatError

_NUMCODECS = frozenset(
    {
        "blosc", "zstd", "lz4", "lzma", "zlib", "gzip", "bz2", "delta", "fixedscaleoffset", "quantize", "bitround",
        "packbits", "shuffle", "astype", "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3",
    }
)  # fmt: skip
"""Compressors and filters of plain bytes and numbers. None of them runs code that the file brings, as pickles do."""
_CORE = frozenset({"bytes", "transpose", "gzip", "zstd", "blosc", "crc32c", "sharding_indexed"})
"""Codecs of Zarr 3 itself."""
_OBJECTS = frozenset({"pickle", "json2", "msgpack2", "msgpack", "vlen-utf8", "vlen-bytes", "vlen-array", "categorize"})
_TYPES = ("dtype", "astype", "encode_dtype", "decode_dtype")
_KINDS = {"O": "Python objects, which are never loaded", "U": "text", "S": "text", "V": "records or uncommon numbers",
          "M": "dates", "m": "durations", "c": "complex numbers"}  # fmt: skip


def needs_zarr_python(metadata: Mapping[str, Any]) -> bool:
    """Whether an array has codecs that tensorstore lacks, and all of its codecs are known to zarr-python and safe."""
    codecs = list(_codecs(metadata))
    beyond = bool(metadata.get("filters")) or any(name not in _CORE | {"zlib", "bz2"} for name, _ in codecs)
    return beyond and _voxel_kind(metadata) in "iufb" and all(_is_safe(name, given) for name, given in codecs)


def open_with_zarr_python(path: Place, version: int) -> LazyArray:
    """An array read by zarr-python, without a cache of decoded chunks.

    Raises:
        FormatError: The metadata do not describe an array of plain numbers.
    """
    if isinstance(path, Address):
        raise FormatError(
            f"{path}: its codecs are only read from a folder of this machine; download the array, or write it again "
            "compressed by zstd, gzip or blosc"
        )
    import zarr
    from zarr.storage import LocalStore

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that numcodecs are no part of the standard of Zarr 3
            array = zarr.open_array(LocalStore(path, read_only=True), mode="r", zarr_format=3 if version == 3 else 2)
    except Exception as error:
        raise FormatError(_damaged(path, error)) from error
    # A file stores numbers in either byte order; what is read has that of this machine.
    dtype = np.dtype(array.dtype).newbyteorder("=")
    lazy = LazyArray(tuple(array.shape), dtype, tuple(array.chunks), _reader(array, dtype, path))
    check_voxels(lazy, str(path))
    return lazy


def not_opened(path: Place, metadata: Mapping[str, Any], error: BaseException) -> str:
    """Why an array cannot be opened, and what to do, for a message."""
    stated = str(metadata.get("dtype", metadata.get("data_type")))[:80]
    if (kind := _voxel_kind(metadata)) in _KINDS:
        return (
            f"{path}: cannot be opened: it holds {_KINDS[kind]} ({stated}); expected integers or floats. Name another "
            "array"
        )
    for name, given in _codecs(metadata):
        if name in _OBJECTS:
            return (
                f"{path}: cannot be opened: it stores Python objects (codec '{name}'), and loading these could run any "
                "code; write the array again with numbers, such as uint8"
            )
        if not _is_safe(name, given):
            return (
                f"{path}: cannot be opened: its codec '{name}' is not read; write the array again with the program it "
                "came from, compressed by zstd, gzip or blosc"
            )
    if kind == "?":
        return f"{path}: cannot be opened: its type '{stated}' is not read; expected integers or floats"
    if metadata.get("storage_transformers"):
        return f"{path}: cannot be opened: storage transformers are not read; write the array again without them"
    grid = metadata.get("chunk_grid")
    if isinstance(grid, dict) and grid.get("name") not in ("regular", None):
        return f"{path}: cannot be opened: a chunk grid '{grid['name']}' is not read; write it again in equal chunks"
    return _damaged(path, error)


def _damaged(path: Place, error: BaseException) -> str:
    return (
        f"{path}: cannot be opened as a Zarr array, its metadata are damaged: {reason(error)}. Copy it again from its "
        "source"
    )


def _reader(array: Any, dtype: np.dtype[Any], path: Path) -> Callable[[Index], np.ndarray]:
    def read(index: Index) -> np.ndarray:
        if array.shards is not None:
            _refuse_empty_shards(array, index, path)
        try:
            voxels = np.asarray(array[index])
        except Exception as error:
            raise FormatError(undecodable(path, error)) from error
        return voxels.view(np.uint8) if voxels.dtype == bool else voxels.astype(dtype, copy=False)

    return read


def _refuse_empty_shards(array: Any, index: Index, path: Path) -> None:
    """zarr-python takes a shard of 0 bytes for one that was never written."""
    ranges = []
    for part, size, shard in zip(index, array.shape, array.shards, strict=True):
        start, stop, _ = part.indices(size) if isinstance(part, slice) else (part, part + 1, 1)
        ranges.append(range(start // shard, -(-stop // shard)))
    for place in product(*ranges):
        file = path / array.metadata.encode_chunk_key(place)
        if file.is_file() and file.stat().st_size == 0:
            raise FormatError(f"{path}: a block does not decode, the file is damaged: {file} is empty. Copy it again")


def _voxel_kind(metadata: Mapping[str, Any]) -> str:
    """The kind of a NumPy type that the metadata name, '?' where it is none that NumPy knows."""
    stated = metadata.get("dtype", metadata.get("data_type"))
    if isinstance(stated, list) or (isinstance(stated, dict) and stated.get("name") in ("struct", "structured")):
        return "V"
    if stated in ("string", "bytes", "variable_length_utf8", "variable_length_bytes"):
        return "S"
    try:
        return np.dtype(stated).kind if isinstance(stated, str) else "?"
    except (TypeError, ValueError):
        return "?"


def _codecs(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and settings of each codec, those inside shards too."""
    for codec in (metadata.get("compressor"), *_listed(metadata.get("filters")), *_listed(metadata.get("codecs"))):
        if isinstance(codec, str):
            yield codec, {}
        elif isinstance(codec, dict):
            given = codec.get("configuration", codec)
            given = given if isinstance(given, dict) else {}
            yield str(codec.get("id") or codec.get("name")), given
            yield from _codecs({"codecs": [*_listed(given.get("codecs")), *_listed(given.get("index_codecs"))]})


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_safe(name: str, given: Mapping[str, Any]) -> bool:
    plain = name.removeprefix("numcodecs.")
    known = plain in _NUMCODECS or name in _CORE
    return known and all(_voxel_kind({"dtype": given[key]}) in "iufb" for key in _TYPES if key in given)
