"""Arrays of the training cache: sharded, compressed, and decoded into memory that all of them share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from cristae.data.box import Box, Triple
from cristae.data.files import write_json
from cristae.data.formats.zarr_arrays import array_metadata, begin_block, find_node, open_array
from cristae.errors import RunError
from cristae.training.cache_folder import FACTS

_DECODED_BYTES = min(2 << 30, psutil.virtual_memory().total // 8)
"""Decoded patches that stay in memory."""


@dataclass(frozen=True, eq=False)
class CachedArray:
    """An array (..., Z, Y, X) of an entry of the cache; all parts that lie in it share it."""

    entry: Path
    name: str
    box: Box
    """Its voxels, in their volume."""

    @cached_property
    def _store(self) -> Any:
        return open_cached(self.entry / self.name)

    def begin(self, box: Box) -> Callable[[], np.ndarray]:
        """Start to read a box of the volume; what is returned waits for its voxels. `require` comes after it."""
        store = self._store
        lead = (slice(None),) * (len(store.shape) - 3)
        return begin_block(store, (*lead, *box.relative_to(self.box.start).slices), self.entry)

    def read(self, box: Box) -> np.ndarray:
        """The voxels (..., Z, Y, X) of a box of the volume.

        Raises:
            RunError: They are not there any more.
        """
        voxels = self.begin(box)()
        self.require()
        return voxels

    def require(self) -> None:
        """Make sure that what was read was there: a missing chunk reads as zeros.

        Raises:
            RunError: The entry was removed.
        """
        if not os.path.exists(f"{self.entry}/{FACTS}"):  # noqa: PTH110  # pathlib takes several times as long
            raise RunError(_removed(self.entry))


def create_array(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], *, chunk: Triple, shard: Triple) -> Any:
    """A new array of zeros.

    Args:
        path: Its folder.
        shape: Of the array; axes before the last three are never divided.
        dtype: Of its values.
        chunk: Voxels (z, y, x) that are decoded at once.
        shard: Voxels of a file.
    """
    lead = shape[:-3]
    sides = (min(s, -(-n // c) * c) for s, n, c in zip(shard, shape[-3:], chunk, strict=True))
    axes = ("c", "z", "y", "x")[-len(shape) :]
    write_json(path / "zarr.json", array_metadata(shape, dtype, (*lead, *chunk), (*lead, *sides), axes))
    return open_cached(path)


def open_cached(path: Path) -> Any:
    """An array that was created before.

    Raises:
        RunError: It is not there any more.
    """
    node = find_node(path)
    if node is None:
        raise RunError(_removed(path))
    return open_array(node, cache_bytes=_DECODED_BYTES)


def _removed(path: Path) -> str:
    return f"{path}: the cached training data was removed while in use; resume with --resume"
