"""File formats: every one is opened as an `Image` that is read box by box, and most can be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cristae.data.address import Address, Place, place_of
from cristae.data.formats.flat import as_read, open_flat
from cristae.data.formats.hdf5 import open_hdf5
from cristae.data.formats.kinds import require_kind
from cristae.data.formats.microscope import open_dm
from cristae.data.formats.mrc import open_mrc
from cristae.data.formats.n5 import open_n5
from cristae.data.formats.nifti import open_nifti
from cristae.data.formats.npy import open_npy
from cristae.data.formats.ome_zarr import open_ome_zarr
from cristae.data.formats.paths import (
    DM_SUFFIXES,
    HDF5_SUFFIXES,
    MRC_SUFFIXES,
    NIFTI_SUFFIXES,
    NPY_SUFFIXES,
    SLICE_SUFFIXES,
    TIFF_SUFFIXES,
    Reading,
    Source,
    check_files,
    find_source,
    is_array_folder,
    is_n5,
    is_precomputed,
    is_zarr,
    suffix_of,
)
from cristae.data.formats.precomputed import open_precomputed
from cristae.data.formats.slices import UnequalSlicesError, open_slice, open_slices
from cristae.data.formats.tiff import open_tiff
from cristae.data.formats.write import write_image
from cristae.data.image import Image
from cristae.errors import ChannelError, FormatError

__all__ = ["UnequalSlicesError", "open_channels", "open_image", "open_images", "write_image"]


def open_image(path: str | Place, *, files: Sequence[Path] | None = None) -> Image:
    """Open one stack lazily, whatever file, folder or array inside one holds it.

    Args:
        path: A file, a folder of slices (natural order), a glob such as `slices/*.png`, or an array inside a file,
            `file.h5:/inner/array`, `cell.zarr:/labels/segmentation` or `cell.n5:/raw/s0`; Zarr, N5 and precomputed may
            lie at an address, `s3://bucket/cell.zarr`, `gs://...` or `https://...`. What the file does not say stands
            behind it: `::channel=1`, `::channel=color`, `::signed=false`, `::axes=czyx`.
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
        return open_slices(Path(str(path)), check_files(files))
    source = find_source(path)
    image = _open_file(source)
    return replace(image, path=place_of(path)) if source.inner or source.reading != Reading() else image


def open_channels(path: str | Place) -> tuple[Image, ...]:
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
    if source.inner or isinstance(source.path, Address) or is_array_folder(source.path):
        raise FormatError(f"{path}: is a volume; expected a folder of flat images such as PNG or TIFF")
    files = source.files or (source.path,)
    _require_flat(path, files)
    return tuple(open_slice(file, source.reading) for file in files)


def _open_file(source: Source) -> Image:
    path, inner, reading = source.path, source.inner, source.reading
    if isinstance(path, Address):
        return _open_folder(path, inner, reading)
    if source.files:
        return _open_slices(path, source.files, reading)
    if path.is_dir():
        return _open_folder(path, inner, reading)
    require_kind(path)
    suffix = suffix_of(path)
    if suffix in HDF5_SUFFIXES:
        return open_hdf5(path, inner, reading=reading)
    if suffix in NIFTI_SUFFIXES:
        return open_nifti(path, reading=reading)
    if suffix in NPY_SUFFIXES:
        return open_npy(path, reading=reading)
    if suffix in MRC_SUFFIXES:
        return as_read(open_mrc(path, signed=reading.signed), replace(reading, signed=None))
    if suffix in DM_SUFFIXES:
        return as_read(open_dm(path), reading)
    return open_tiff(path, reading) if suffix in TIFF_SUFFIXES else open_flat(path, reading)


def _open_slices(path: Path, files: Sequence[Path], reading: Reading) -> Image:
    """A stack of slices; where one of them cannot be opened, it may be because it is something else."""
    _require_flat(path, files)
    try:
        return open_slices(path, files, reading)
    except UnequalSlicesError:
        raise
    except FormatError:
        for file in files:
            require_kind(file)
        raise


def _require_flat(path: str | Path, files: Sequence[Path]) -> None:
    """Refuse files of kinds that hold volumes where slices are expected."""
    if volumes := [file for file in files if file.suffix.lower() not in (*SLICE_SUFFIXES, *TIFF_SUFFIXES)]:
        listed = ", ".join(file.name for file in volumes[:4]) + (" ..." if len(volumes) > 4 else "")
        raise FormatError(
            f"{path}: holds files that are no slices ({listed}); expected flat images such as PNG or TIFF"
        )


def _open_folder(path: Place, inner: str, reading: Reading) -> Image:
    asked = path / inner if isinstance(path, Address) else path  # a store has no folder around an array
    if not is_zarr(asked) and is_precomputed(asked):
        return open_precomputed(path, inner, reading=reading)
    if not is_zarr(asked) and is_n5(asked):
        return open_n5(path, inner, reading=reading)
    return open_ome_zarr(path, inner, reading=reading)
