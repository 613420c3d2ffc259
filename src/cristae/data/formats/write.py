"""Writing an image to a file whose format follows from its name; the file appears when it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from cristae.data.address import Address, Place, place_of
from cristae.data.box import Box, Triple
from cristae.data.files import require_new, storage_errors
from cristae.data.formats.hdf5 import write_hdf5
from cristae.data.formats.mrc import mrc_dtype, write_mrc
from cristae.data.formats.ome_zarr import (
    LabelClass,
    Method,
    ZarrSpec,
    ZarrWriter,
    build_pyramid,
    create_levels,
    create_multiscale,
    describe_multiscale,
    fill_levels,
    pyramid_levels,
)
from cristae.data.formats.room import check_room
from cristae.data.formats.stream import BAND_BYTES, bands, each_slice, slice_bytes
from cristae.data.formats.tiff_metadata import ome_xml
from cristae.data.image import Image
from cristae.errors import FormatError, StorageError
from cristae.progress import Progress, Task

SUFFIXES = (".zarr", ".tif", ".tiff", ".mrc", ".h5", ".hdf5")
_CLASSIC_TIFF_BYTES = 2**32 - 2**25
_NM_PER_CM = 1e7


def write_image(image: Image, path: str | Place, *, progress: Progress = Progress()) -> None:
    """Write an image slice by slice or block by block, with its voxel size, origin, colours and palette.

    Args:
        image: Any image, read only as fast as it is written.
        path: The new file; its ending chooses the format: .zarr (OME-Zarr 0.5), .tif or .tiff (OME-TIFF), .mrc,
            .h5 or .hdf5.
        progress: Where to report.

    Raises:
        OutputExistsError: There is something at `path`.
        FormatError: The format is not known, or cannot hold values of this type.
        VolumeError: Not even a part of a slice fits in memory.
        StorageError: The disk is full or too small, or the place may not be written.
    """
    path = place_of(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise FormatError(f"{path}: cannot be written: '{suffix}' is not one of {', '.join(SUFFIXES)}")
    if isinstance(path, Address):
        _write_to_store(image, path, progress)
        return
    _check_type(image, suffix)
    require_new(path, what="the image")
    check_room(image, path)
    with beside(path) as part, progress.task(f"Writing {path.name}", image.shape[0], unit="slice") as task:
        if suffix == ".zarr":
            _write_zarr(image, part, _shown_name(path), task)
            build_pyramid(part, method=_method(image), progress=progress)
        elif suffix == ".mrc":
            write_mrc(image, part, task)
        elif suffix in (".h5", ".hdf5"):
            write_hdf5(image, part, task)
        else:
            _write_tiff(image, part, path.stem.removesuffix(".ome"), task)


def _write_to_store(image: Image, path: Address, progress: Progress) -> None:
    """An OME-Zarr whose own metadata are written last, so that one that is cut short is no image."""
    if path.suffix.lower() != ".zarr":
        raise FormatError(f"{path}: cannot be written: only .zarr is written to a store, other files to a folder")
    require_new(path, what="the image")
    spec, levels = zarr_spec(image), len(pyramid_levels(image.shape, image.voxel_size_nm))
    try:
        with progress.task(f"Writing {path.name}", image.shape[0], unit="slice") as task:
            _fill(create_levels(path, spec, levels=levels), image, task)
        places = [path / str(number) for number in range(levels)]
        fill_levels(places, method=_method(image), progress=progress)
        describe_multiscale(path, spec, name=_shown_name(path), classes=_classes(image), levels=levels)
    except BaseException:
        with suppress(StorageError):
            path.remove_below()
        raise


def _check_type(image: Image, suffix: str) -> None:
    """Refuse what the format cannot hold before anything is written."""
    if suffix == ".mrc":
        mrc_dtype(image)
    elif suffix in (".tif", ".tiff"):
        ome_xml(image, "")


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A hidden place in the same folder that becomes `path` at the end, and is removed if writing fails."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            if path.is_dir():
                path.rmdir()
            part.rename(path)
    except BaseException as error:
        # On a file system that may not be written, even removing what is not there is refused.
        with suppress(OSError):
            _remove(part)
            for folder in made:
                folder.rmdir()
        if isinstance(error, StorageError):
            _, _, why = str(error).rpartition("cannot write: ")
            raise StorageError(f"{path}: cannot write: {why}") from error
        raise


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    part.unlink(missing_ok=True)


def _write_tiff(image: Image, path: Path, name: str, task: Task) -> None:
    """An OME-TIFF of deflated strips; the resolution tags repeat the pixel size for programs that skip OME-XML."""
    colored = image.colors > 1
    size = image.voxel_size_nm
    options: dict[str, Any] = {}
    if size is not None:
        options |= {"resolution": (_NM_PER_CM / size[2], _NM_PER_CM / size[1]), "resolutionunit": "CENTIMETER"}
    if image.palette is not None and image.dtype == np.uint8:
        options |= {"photometric": "palette", "colormap": _colormap(image.palette)}
    else:
        options |= {"photometric": "rgb" if image.colors > 2 else "minisblack"}
    if colored:
        options |= {"planarconfig": "contig", "extrasamples": ["unassalpha"] if image.colors in (2, 4) else []}

    description: str | None = ome_xml(image, name)
    big = slice_bytes(image) * image.shape[0] > _CLASSIC_TIFF_BYTES
    with tifffile.TiffWriter(path, bigtiff=big, byteorder="<") as file:
        # Page by page: given all pages at once, tifffile keeps them in memory to compress them in parallel.
        for pixels in each_slice(image):
            file.write(
                np.ascontiguousarray(pixels),
                compression="zlib",
                description=description,
                metadata=None,
                contiguous=False,
                software="Cristae",
                **options,
            )
            description = None
            task.advance()


def _colormap(palette: tuple[str, ...]) -> np.ndarray:
    table = np.zeros((3, 256), np.uint16)
    for index, color in enumerate(palette[:256]):
        table[:, index] = [int(color[i : i + 2], 16) * 257 for i in (1, 3, 5)]
    return table


def _write_zarr(image: Image, path: Path, name: str, task: Task) -> None:
    spec = zarr_spec(image)
    levels = len(pyramid_levels(image.shape, image.voxel_size_nm))
    _fill(create_multiscale(path, spec, name=name, classes=_classes(image), levels=levels), image, task)


def _fill(writer: ZarrWriter, image: Image, task: Task) -> None:
    """Write all voxels, as few times as possible read."""
    spec = writer.spec
    whole_slices = image.chunks[1:] == image.shape[1:]
    for band in bands(image, step=spec.shards):
        slab = image.read(band) if whole_slices else None
        for box in band.blocks(spec.shards):
            voxels = image.read(box) if slab is None else slab[box.relative_to(band.start).slices]
            writer.write(box, _channels_first(voxels) if image.colors > 1 else voxels)
        task.advance(band.shape[0] if band.stop[1] == image.shape[1] else 0)


def _shown_name(path: Place) -> str:
    return path.name.removesuffix(".zarr").removesuffix(".ome")


def zarr_spec(image: Image) -> ZarrSpec:
    """Chunks and shards that suit the image: flat where sections are thick, and whole bands must fit in memory."""
    size = image.voxel_size_nm
    thick = size is None or size[0] > 2 * min(size[1:])
    # A band of shards is read at once from files that are stored slice by slice.
    fits = max(1, BAND_BYTES // max(1, slice_bytes(image)))
    wanted = (min(2, fits), 256, 256) if thick else (min(16, fits), 128, 128)
    deep = min(16 if thick else 32, fits)
    chunks = _clip(wanted, image.shape)
    shards = tuple(
        chunk * max(1, min(target, -(-extent // chunk) * chunk) // chunk)
        for chunk, target, extent in zip(chunks, (deep, 1024, 1024), image.shape, strict=True)
    )
    return ZarrSpec(
        shape=image.shape,
        dtype=image.dtype,
        chunks=chunks,
        shards=(shards[0], shards[1], shards[2]),
        voxel_size_nm=size,
        origin_nm=image.origin_nm,
        channels=image.colors if image.colors > 1 else None,
        colors=image.colors,
    )


def _clip(chunks: Triple, shape: Triple) -> Triple:
    z, y, x = (min(chunk, extent) for chunk, extent in zip(chunks, shape, strict=True))
    return z, y, x


def _channels_first(voxels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(voxels, -1, 0))


def _classes(image: Image) -> tuple[LabelClass, ...]:
    names = {i: image.details.get(f"label {i}", f"label {i}") for i in range(len(image.palette or ()))}
    listed = any(key.startswith("label ") for key in image.details)
    return tuple(
        (i, names[i], color)
        for i, color in enumerate(image.palette or ())
        if not listed or f"label {i}" in image.details
    )


def _method(image: Image) -> Method:
    """Ids must not be averaged: palettes, wide integers, and images with few values in their middle slice."""
    if image.dtype.kind == "f":
        return "mean"
    if image.palette or image.dtype.itemsize > 2:
        return "nearest"
    z, rows = image.shape[0] // 2, max(1, min(image.shape[1], BAND_BYTES * image.shape[1] // slice_bytes(image)))
    top = (image.shape[1] - rows) // 2
    values = np.unique(image.read(Box((z, top, 0), (z + 1, top + rows, image.shape[2]))))
    return "nearest" if len(values) <= 64 else "mean"
