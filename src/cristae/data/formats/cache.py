"""Decoded pieces of files kept in memory up to a stated number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path
from threading import Lock

import numpy as np

from cristae.errors import MissingFileError


class DecodedCache:
    """Least-recently-used arrays, safe to use from many threads; a piece is decoded once however many ask for it."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._lock = Lock()
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._pending: dict[Hashable, Future[np.ndarray]] = {}
        self._bytes = 0

    def get(self, key: Hashable, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of `key`, read-only; `decode` is called when it is not in memory."""
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
            future = self._pending.get(key)
            mine = future is None
            if future is None:
                future = self._pending[key] = Future()
        if mine:
            self._decode(key, decode, future)
        return future.result()

    def _decode(self, key: Hashable, decode: Callable[[], np.ndarray], future: Future[np.ndarray]) -> None:
        try:
            array = decode()
        except BaseException as error:
            with self._lock:
                del self._pending[key]
            future.set_exception(error)
            return
        array.setflags(write=False)
        with self._lock:
            del self._pending[key]
            self._keep(key, array)
        future.set_result(array)

    def _keep(self, key: Hashable, array: np.ndarray) -> None:
        if array.nbytes > self.limit_bytes:
            return
        self._arrays[key] = array
        self._bytes += array.nbytes
        while self._bytes > self.limit_bytes:
            _, dropped = self._arrays.popitem(last=False)
            self._bytes -= dropped.nbytes


LARGEST = 256 * 2**20
DECODED = DecodedCache(LARGEST)
"""Shared by all slices, pages and tiles that have to be decompressed; arrays in chunks have one of the same size."""


def cache_within(most: int | None) -> int:
    """Bytes for the cache of a process that may use so many; None for one without a ceiling."""
    return LARGEST if most is None else min(LARGEST, most // 8)


def limit_cache(size: int) -> None:
    """Let images that are opened from now on keep no more than so many bytes."""
    DECODED.limit_bytes = size


def file_key(path: Path) -> tuple[str, int, int]:
    """Names the present content of a file, so that a file written anew is not mistaken for the old one.

    Raises:
        MissingFileError: The file has vanished since it was opened.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise MissingFileError(f"{path}: has vanished, or the disk it is on") from error
    return str(path), state.st_mtime_ns, state.st_size
