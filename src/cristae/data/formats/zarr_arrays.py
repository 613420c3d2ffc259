"""Zarr arrays, version 2 and 3: what their metadata say, and blocks read and written with tensorstore."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

from cristae.data.formats.paths import readable
from cristae.errors import FormatError, StorageError

CACHE_BYTES = 256 * 2**20
MAX_CHUNK_BYTES = 2**31
"""Larger chunks would have to be decoded whole to read one voxel, so they are refused."""

_FULL = ("No space left", "RESOURCE_EXHAUSTED", "Disk quota exceeded", "File too large")
_FORBIDDEN = ("PERMISSION_DENIED", "Permission denied", "Read-only file system", "Operation not permitted")


@dataclass(frozen=True)
class Node:
    """A group or an array of a Zarr hierarchy, as its metadata say."""

    path: Path
    kind: str
    """'group' or 'array'."""
    version: int
    """Zarr format: 2 or 3."""
    attributes: dict[str, Any]
    metadata: dict[str, Any]
    """The array's own metadata; empty for groups of version 2."""


def find_node(path: Path) -> Node | None:
    """The node at `path`, or None when there is none.

    Raises:
        MissingFileError: There are metadata that may not be read.
        FormatError: There are metadata, but they are not JSON objects.
    """
    if (path / "zarr.json").is_file():
        metadata = _load(path / "zarr.json")
        kind = metadata.get("node_type")
        if kind not in ("group", "array"):
            raise FormatError(f"{path / 'zarr.json'}: node_type is {kind!r}; expected 'group' or 'array'")
        return Node(path, kind, 3, _mapping(metadata.get("attributes", {}), path), metadata)
    attributes = _load(path / ".zattrs") if (path / ".zattrs").is_file() else {}
    if (path / ".zarray").is_file():
        return Node(path, "array", 2, attributes, _load(path / ".zarray"))
    if (path / ".zgroup").is_file() or attributes:
        return Node(path, "group", 2, attributes, {})
    return None


def find_arrays(path: Path, *, depth: int = 3) -> tuple[str, ...]:
    """Inner paths of the images and plain arrays below a group, a few levels deep, in order of name."""
    found: list[str] = []
    for folder in sorted(child for child in path.iterdir() if child.is_dir()):
        node = find_node(folder)
        if node is not None and (node.kind == "array" or _is_image(node)):
            found.append(folder.name)
        elif node is not None and depth > 1:
            found.extend(f"{folder.name}/{inner}" for inner in find_arrays(folder, depth=depth - 1))
    return tuple(found)


@cache
def _context(cache_bytes: int) -> tensorstore.Context:
    return tensorstore.Context({"cache_pool": {"total_bytes_limit": cache_bytes}})


def open_array(node: Node, *, cache_bytes: int = CACHE_BYTES) -> Any:
    """A tensorstore of the array, checked to hold plain numbers in chunks of a sensible size.

    Raises:
        FormatError: The metadata do not describe such an array, or use a codec that tensorstore does not know.
    """
    spec = {
        "driver": "zarr3" if node.version == 3 else "zarr",
        "kvstore": {"driver": "file", "path": f"{_plain(node.path).as_posix()}/"},
        "recheck_cached_data": "open",
        "recheck_cached_metadata": "open",
    }
    try:
        store = tensorstore.open(spec, context=_context(cache_bytes), open=True).result()
        dtype = np.dtype(store.dtype.numpy_dtype)
        shape = tuple(int(size) for size in store.shape)
        chunks = read_chunks(store)
    except Exception as error:
        raise FormatError(f"{node.path}: cannot be opened as a Zarr array: {reason(error)}") from error
    if dtype.kind not in "iufb":
        raise FormatError(f"{node.path}: holds '{dtype}' values; expected integers or floats")
    if not shape or 0 in shape:
        raise FormatError(f"{node.path}: the array of shape {shape} holds no voxels")
    if (size := int(np.prod(chunks, dtype=object)) * dtype.itemsize) > MAX_CHUNK_BYTES:
        raise FormatError(
            f"{node.path}: chunks of {chunks} are {size / 2**30:.0f} GiB each, more than can be read at once;"
            " rewrite the array with smaller chunks"
        )
    return store


def read_chunks(store: Any) -> tuple[int, ...]:
    """The extent that is decoded at once: inner chunks of a sharded array, else its chunks."""
    return tuple(int(size) for size in store.chunk_layout.read_chunk.shape)


def read_block(store: Any, index: tuple[slice | int, ...], where: Path) -> np.ndarray:
    """Voxels of one block, bool as uint8, in the byte order of this machine.

    Raises:
        FormatError: A chunk is truncated or corrupt.
    """
    try:
        voxels = np.asarray(store[index].read().result())
    except Exception as error:
        raise FormatError(f"{where}: a block does not decode, the file is damaged: {reason(error)}") from error
    return voxels.view(np.uint8) if voxels.dtype == bool else voxels


def write_block(store: Any, index: tuple[slice, ...], voxels: np.ndarray, where: Path) -> None:
    """Write one block and return when it is on disk.

    Raises:
        StorageError: The disk is full or the place may not be written.
    """
    try:
        store[index].write(voxels).result()
    except Exception as error:
        text = str(error)
        if any(word in text for word in _FULL):
            raise StorageError(
                f"{where}: cannot write: the disk is full; free some space and run the same command again"
            ) from error
        if any(word in text for word in _FORBIDDEN):
            raise StorageError(f"{where}: cannot write: permission denied; choose a place you may write to") from error
        raise StorageError(f"{where}: cannot write: {reason(error)}") from error


def array_metadata(
    shape: Sequence[int], dtype: np.dtype[Any], chunks: Sequence[int], shards: Sequence[int], axes: Sequence[str]
) -> dict[str, Any]:
    """The `zarr.json` of an empty, sharded, zstd-compressed array of Zarr version 3."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    plain = {"name": "bytes"} if dtype.itemsize == 1 else little
    sharding = {
        "chunk_shape": list(chunks),
        "codecs": [plain, {"name": "zstd", "configuration": {"level": 1, "checksum": True}}],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shards)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0 if dtype.kind == "f" else 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {},
        "dimension_names": list(axes),
    }


def reason(error: BaseException) -> str:
    """The first sentence of a library's message, without the dump of settings that some add."""
    text = str(error).split(" [tensorstore_spec=")[0].split("\n")[0].strip()
    return text[:300] or type(error).__name__


def _plain(path: Path) -> Path:
    """The absolute path without '..', which tensorstore refuses."""
    path = path.absolute()
    if ".." not in path.parts:
        return path  # not resolved: of a mapped Windows drive that would make a server's name, which is refused too
    return Path(os.path.abspath(path)) if os.name == "nt" else path.resolve()  # noqa: PTH100


def _is_image(node: Node) -> bool:
    return "multiscales" in node.attributes or "multiscales" in (node.attributes.get("ome") or {})


def _load(path: Path) -> dict[str, Any]:
    with readable(path):
        content = path.read_bytes()
    try:
        return _mapping(json.loads(content.decode()), path)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: is not valid JSON, the metadata are damaged: {reason(error)}") from error


def _mapping(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value
