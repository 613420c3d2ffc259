"""Arrays of the training cache: sharded, compressed, and decoded into memory that all of them share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import psutil

from cristae.data.box import Triple
from cristae.data.files import write_json
from cristae.data.formats.zarr_arrays import array_metadata, find_node, open_array
from cristae.errors import RunError

_DECODED_BYTES = min(2 << 30, psutil.virtual_memory().total // 8)
"""Decoded patches that stay in memory."""


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
        raise RunError(f"{path}: the cached training data was removed while in use; resume with --resume")
    return open_array(node, cache_bytes=_DECODED_BYTES)
