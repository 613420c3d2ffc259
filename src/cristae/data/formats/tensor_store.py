"""Chunked arrays in folders, opened by tensorstore: blocks read and written, and words for what goes wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

from cristae.data.address import Address, Patience, Place, cause_of, context_of_stores, is_of_store, patience
from cristae.data.formats.cache import DECODED
from cristae.data.formats.stored import Index
from cristae.errors import FormatError, MissingFileError, StorageError

MAX_CHUNK_BYTES = 2**31
"""Larger chunks would have to be decoded whole to read one voxel, so they are refused."""
MAX_EXTENT = 2**31
"""More voxels along an axis than any volume has."""

NO_CHUNKS = "no chunk is stored, so every voxel has the fill value; unless that is meant, the copy is incomplete"

_METADATA = frozenset({"zarr.json", "attributes.json", "info"})
_FULL = ("No space left", "RESOURCE_EXHAUSTED", "Disk quota exceeded", "File too large")
_FORBIDDEN = ("PERMISSION_DENIED", "Permission denied", "Read-only file system", "Operation not permitted")


@dataclass(frozen=True, eq=False)
class LazyArray:
    """An array of which blocks are read from any number of threads."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    """What is decoded at once."""
    read: Callable[[Index], np.ndarray]


def open_store(spec: Mapping[str, Any], folder: Place, *, cache_bytes: int | None = None) -> Any:
    """A tensorstore of the array that `spec` describes.

    Args:
        spec: The driver and its settings.
        folder: Where the array is.
        cache_bytes: Ceiling of the cache of decoded chunks that all arrays opened with the same ceiling share;
            None for that of other formats.

    Raises:
        Exception: Whatever tensorstore raises; see `reason`.
    """
    limit = DECODED.limit_bytes if cache_bytes is None else cache_bytes
    if isinstance(folder, Address):
        kvstore = folder.kvstore()
    else:
        kvstore = {"driver": "file", "path": f"{_plain(folder).as_posix()}/"}
    rules = {"open": True, "recheck_cached_data": "open", "recheck_cached_metadata": "open"}
    return tensorstore.open({"kvstore": kvstore, **rules, **spec}, context=_context(limit, patience())).result()


def lazy_array(store: Any, where: str) -> LazyArray:
    """What is read of a tensorstore, as `check_voxels` allows it.

    Raises:
        FormatError: It holds no numbers, or chunks that are too large.
    """
    array = LazyArray(
        shape=tuple(int(size) for size in store.shape),
        dtype=np.dtype(store.dtype.numpy_dtype),
        chunks=read_chunks(store),
        read=lambda index: read_block(store, index, where),
    )
    check_voxels(array, where)
    return array


def check_voxels(array: LazyArray, where: str) -> None:
    """Do nothing for an array of plain numbers in chunks of a sensible size.

    Raises:
        FormatError: It is not one.
    """
    if array.dtype.kind not in "iufb":
        raise FormatError(
            f"{where}: holds '{array.dtype}' values; expected integers or floats. Save what is to be read as such"
        )
    if not array.shape or 0 in array.shape:
        raise FormatError(f"{where}: the array of shape {array.shape} holds no voxels; name another array")
    if max(array.shape) > MAX_EXTENT or min(array.chunks) < 1:
        raise FormatError(
            f"{where}: a shape {array.shape} in chunks of {array.chunks} is no volume; the metadata are damaged: copy "
            "them again"
        )
    if (size := int(np.prod(array.chunks, dtype=object)) * array.dtype.itemsize) > MAX_CHUNK_BYTES:
        raise FormatError(
            f"{where}: chunks of {array.chunks} are {size / 2**30:.0f} GiB each, more than can be read at once;"
            " rewrite the array with smaller chunks"
        )


def read_chunks(store: Any) -> tuple[int, ...]:
    """The extent that is decoded at once: inner chunks of a sharded array, else its chunks."""
    return tuple(int(size) for size in store.chunk_layout.read_chunk.shape)


def read_block(store: Any, index: Index, where: Place | str) -> np.ndarray:
    """Voxels of one block, bool as uint8, in the byte order of this machine.

    Raises:
        FormatError: A chunk is truncated or corrupt.
        MissingFileError: The server that has it does not answer, or not any more.
    """
    return begin_block(store, index, where)()


def begin_block(store: Any, index: Index, where: Place | str) -> Callable[[], np.ndarray]:
    """Start to read one block; what is returned waits for it, and gives and raises what `read_block` does."""
    reading = store[index].read()

    def finish() -> np.ndarray:
        try:
            voxels = np.asarray(reading.result())
        except Exception as error:
            if is_of_store(error):
                raise MissingFileError(f"{where}: a block cannot be read: {cause_of(error)}") from error
            raise FormatError(undecodable(where, error)) from error
        return voxels.view(np.uint8) if voxels.dtype == bool else voxels

    return finish


def undecodable(where: Place | str, error: BaseException) -> str:
    """What is wrong with a block that does not decode, and what to do, for a message."""
    if any(word in str(error) for word in _FORBIDDEN):
        return f"{where}: a block may not be read: permission denied; ask its owner, or copy it to a place you may read"
    return f"{where}: a block does not decode, the file is damaged: {reason(error)}. Copy it again from its source"


def write_block(store: Any, index: tuple[slice, ...], voxels: np.ndarray, where: Place) -> None:
    """Write one block and return when it is on disk.

    Raises:
        StorageError: The disk is full or the place may not be written.
    """
    try:
        store[index].write(voxels).result()
    except Exception as error:
        text = str(error)
        if isinstance(where, Address):
            raise StorageError(f"{where}: cannot write: {cause_of(error)}") from error
        if any(word in text for word in _FULL):
            raise StorageError(
                f"{where}: cannot write: the disk is full; free some space and run the same command again"
            ) from error
        if any(word in text for word in _FORBIDDEN):
            raise StorageError(f"{where}: cannot write: permission denied; choose a place you may write to") from error
        raise StorageError(f"{where}: cannot write: {reason(error)}") from error


def holds_chunks(folder: Place | str) -> bool:
    """Whether a folder of an array holds any file beside its metadata; a missing chunk counts as filled evenly.

    Stores are not asked: they would have to list all their chunks.
    """
    if isinstance(folder, Address):
        return True
    below: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    return True  # wherever it leads; it may lead round in a circle
                if entry.is_dir():
                    below.append(entry.path)
                elif not entry.name.startswith(".") and entry.name not in _METADATA:
                    return True
    except OSError:
        return True  # whoever reads it reports what is wrong
    return any(holds_chunks(child) for child in below)


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder in order of name, without links that lead round in a circle."""
    found = sorted(child for child in folder.iterdir() if child.is_dir())
    place = folder.resolve()
    return [child for child in found if not (child.is_symlink() and place.is_relative_to(child.resolve()))]


def reason(error: BaseException) -> str:
    """The first sentence of a library's message, without the dump of settings that some add."""
    text = str(error).split(" [tensorstore_spec=")[0].split(" [source locations=")[0].split("\n")[0]
    text = re.sub(r'^[A-Z_]+: |Error opening "\w+" driver: ', "", text.strip()).strip()
    return text[:300].rstrip(" .") or type(error).__name__


@cache
def _context(cache_bytes: int, waiting: Patience) -> tensorstore.Context:
    return tensorstore.Context({"cache_pool": {"total_bytes_limit": cache_bytes}, **context_of_stores(waiting)})


def _plain(path: Path) -> Path:
    """The absolute path without '..', which tensorstore refuses."""
    path = path.absolute()
    if ".." not in path.parts:
        return path  # not resolved: of a mapped Windows drive that would make a server's name, which is refused too
    return Path(os.path.abspath(path)) if os.name == "nt" else path.resolve()  # noqa: PTH100
