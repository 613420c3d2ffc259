"""Voxels that are read through a memory map of their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cristae.errors import FormatError


def require_whole(voxels: np.memmap[Any, Any], path: Path) -> None:
    """Make sure, before voxels are touched, that the file still holds them all: touching what is gone would end the
    process. A file that is cut short while they are being touched is not noticed in time.

    Raises:
        FormatError: The file has become shorter since it was opened.
    """
    size = int(voxels._mmap.size())  # type: ignore[attr-defined]  # of the mapped file, whatever its name names now
    if size < voxels.offset + voxels.nbytes:
        raise FormatError(
            f"{path}: has become shorter since it was opened, {size} bytes instead of at least "
            f"{voxels.offset + voxels.nbytes}; is it being written? Wait, or copy it again"
        )
