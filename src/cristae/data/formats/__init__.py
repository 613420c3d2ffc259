"""File formats: every one is opened as an `Image` that is read box by box, and most can be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cristae.data.formats.flat import as_read, open_flat
from cristae.data.formats.hdf5 import open_hdf5
from cristae.data.formats.mrc import open_mrc
from cristae.data.formats.ome_zarr import open_ome_zarr
from cristae.data.formats.paths import (
    FLAT_SUFFIXES,
    HDF5_SUFFIXES,
    KNOWN,
    MRC_SUFFIXES,
    TIFF_SUFFIXES,
    Reading,
    Source,
    check_files,
    find_source,
    is_zarr,
)
from cristae.data.formats.slices import UnequalSlicesError, open_slice, open_slices
from cristae.data.formats.tiff import open_tiff
from cristae.data.formats.write import write_image
from cristae.data.image import Image
from cristae.errors import ChannelError, FormatError

__all__ = ["UnequalSlicesError", "open_channels", "open_image", "open_images", "write_image"]


def open_image(path: str | Path, *, files: Sequence[Path] | None = None) -> Image:
    """Open one stack lazily: TIFF, MRC, HDF5, OME-Zarr, a flat image (one slice), or a folder of slices.

    Args:
        path: A file, a folder of slices (natural order), a glob such as `slices/*.png`, or an array inside a file,
            `file.h5:/inner/array` or `cell.zarr:/labels/segmentation`. What the file does not say stands behind
            it: `::channel=1`, `::channel=color`, `::signed=false`, `::axes=czyx`.
        files: The slices in order, instead of those that `path` would list; `path` then only gives the name.

    Raises:
        MissingFileError: There is nothing by this name.
        ChannelError: There are several channels and none is chosen, or not the chosen one.
        FormatError: A file is truncated, corrupt, empty, not what its name says, or the slices do not fit each other.

    Example:
        >>> open_image("nothing.tif")
        Traceback (most recent call last):
        cristae.errors.MissingFileError: nothing.tif: does not exist
    """
    if files is not None:
        return open_slices(Path(path), check_files(files))
    source = find_source(path)
    image = _open_file(source)
    return replace(image, path=Path(path)) if source.inner or source.reading != Reading() else image


def open_channels(path: str | Path) -> tuple[Image, ...]:
    """Open every channel of a stack as an image of its own; the samples of a colour image stay together.

    Raises:
        MissingFileError: There is nothing by this name.
        FormatError: The file is damaged, or not what its name says.
    """
    try:
        return (open_image(path),)
    except ChannelError as error:
        if find_source(path).reading.channel is not None:
            raise
        return tuple(open_image(Reading(channel=channel).on(path)) for channel in range(len(error.channels)))


def open_images(path: str | Path) -> tuple[Image, ...]:
    """Open unrelated flat images, which may differ in size: each file of a folder or glob is a stack of one slice.

    Args:
        path: A folder, a glob, or a single file.

    Raises:
        MissingFileError: There is nothing by this name.
        FormatError: A file is damaged, or holds several slices.
    """
    source = find_source(path)
    if source.inner or is_zarr(source.path):
        raise FormatError(f"{path}: is a volume; expected a folder of flat images such as PNG or TIFF")
    return tuple(open_slice(file, source.reading) for file in source.files or (source.path,))


def _open_file(source: Source) -> Image:
    path, inner, reading = source.path, source.inner, source.reading
    suffix = path.suffix.lower()
    if source.files:
        return open_slices(path, source.files, reading)
    if path.is_dir():
        return open_ome_zarr(path, inner, reading=reading)
    if suffix in HDF5_SUFFIXES:
        return open_hdf5(path, inner, reading=reading)
    if suffix in MRC_SUFFIXES:
        return as_read(open_mrc(path, signed=reading.signed), replace(reading, signed=None))
    if suffix in TIFF_SUFFIXES:
        return open_tiff(path, reading)
    if suffix in FLAT_SUFFIXES:
        return open_flat(path, reading)
    raise FormatError(f"{path}: files ending in '{path.suffix}' are not known; expected {KNOWN}")
