"""Whether an image can be written at all, asked before the first voxel is read."""

from __future__ import annotations

import shutil
from math import prod
from pathlib import Path

import psutil

from cristae.data.files import storage_errors
from cristae.data.formats.mrc import mrc_dtype
from cristae.data.formats.stream import bands, slice_bytes
from cristae.data.image import Image
from cristae.errors import StorageError, VolumeError
from cristae.words import memory

BEST_COMPRESSION = 50
"""Label volumes shrink about this much at best; what would have to shrink more is a mistake or a damaged header."""


def check_room(image: Image, path: Path) -> None:
    """Refuse an image of which no part fits in memory, or which cannot fit on the disk of `path`.

    Raises:
        VolumeError: What has to be in memory at once is more than what is free.
        StorageError: The voxels do not fit the free disk: as they are in an MRC file, or however well compressed.
    """
    at_once, free = _bytes_at_once(image, path), int(psutil.virtual_memory().available)
    if at_once > free:
        raise VolumeError(
            f"{image.path}: writing {path.name} needs {memory(at_once)} of memory at once, but {memory(free)} are free."
            f" Check that the image really is {_voxels(image)}; if so, write .zarr instead, or save it in"
            " smaller chunks first"
        )
    plain = path.suffix.lower() == ".mrc"
    itemsize = (mrc_dtype(image) if plain else image.dtype).itemsize
    need, disk = prod(image.shape) * image.colors * itemsize, _free_disk(path)
    if need > disk * (1 if plain else BEST_COMPRESSION):
        raise StorageError(
            f"{path}: cannot write: {memory(need)} of voxels do not fit the {memory(disk)} that are free on this disk"
            f"{'' if plain else ', even compressed'}; free some space or choose another disk. If {image.path} should"
            f" not have {_voxels(image)}, its metadata are damaged"
        )


def _bytes_at_once(image: Image, path: Path) -> int:
    if path.suffix.lower() in (".tif", ".tiff"):
        return slice_bytes(image)
    return next(bands(image)).size * image.colors * image.dtype.itemsize


def _free_disk(path: Path) -> int:
    with storage_errors(path):
        return shutil.disk_usage(next(folder for folder in path.absolute().parents if folder.exists())).free


def _voxels(image: Image) -> str:
    return f"{' x '.join(map(str, image.shape))} voxels (z, y, x)"
