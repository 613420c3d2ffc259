"""NumPy's `.npy` arrays, read through a memory map and never unpickled.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cristae.data.formats.mapped import require_whole
from cristae.data.formats.paths import Reading, require_content
from cristae.data.formats.stored import Index, StoredArray, assumed_axes, open_stored
from cristae.data.formats.units import Calibration
from cristae.data.image import Image
from cristae.errors import FormatError


def open_npy(path: Path, *, reading: Reading = Reading()) -> Image:
    """Open an array that numpy.save wrote; it has no voxel size, and its axes are z, y, x unless `reading` says more.

    Raises:
        ChannelError: There are several channels and none is chosen, or not the chosen one.
        FormatError: It is truncated or damaged, holds objects, or its axes make no volume.
    """
    require_content(path, at_least=16)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header makes NumPy raise whatever it stumbles over
        text = str(error)
        if "Python objects" in text or "allow_pickle" in text:
            raise FormatError(
                f"{path}: holds Python objects, which could run any code when loaded, so they are not; save one array "
                "of numbers with numpy.save(..., allow_pickle=False)"
            ) from error
        what = "truncated" if "greater than file size" in text else "no readable NumPy array, or damaged"
        raise FormatError(f"{path}: is {what}; save it again with numpy.save") from error
    where = str(path)
    if array.ndim < 2:
        what = "one number" if array.ndim == 0 else f"a list of {len(array)} numbers"
        raise FormatError(f"{path}: holds {what}; expected an array with axes z, y, x")

    def read(index: Index) -> np.ndarray:
        require_whole(array, path)
        return np.asarray(array[index])

    axes = assumed_axes(array.shape, reading, where)
    stored = StoredArray(
        where=where,
        axes=axes,
        shape=array.shape,
        dtype=array.dtype,
        chunks=tuple(size if axis in "yxc" else 1 for axis, size in zip(axes, array.shape, strict=True)),
        read=read,
    )
    return open_stored(stored, path, format="npy", reading=reading, calibration=Calibration())
