"""TIFF stacks: plain, ImageJ, OME, BigTIFF, as microscopes write them; read as their tags say they are shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from cristae.data.box import Box
from cristae.data.formats.orientation import ORIENTATIONS, Orientation
from cristae.data.formats.paths import Reading, require_content
from cristae.data.formats.slice_tags import check_alike, shared_details, shared_palette, slice_name
from cristae.data.formats.tiff_layout import Layout, Stored, lay_out
from cristae.data.formats.tiff_metadata import calibration, channel_names, description_of
from cristae.data.formats.tiff_pages import Pages, Plane, open_planes
from cristae.data.formats.tiff_series import find_series, plain_pages, series_pages
from cristae.data.formats.tiff_tags import BITS, scan_pages
from cristae.data.formats.tiff_values import (
    color_samples,
    divide_alpha,
    inverter,
    is_premultiplied,
    keeps_white,
    sample_names,
    value_details,
)
from cristae.data.formats.units import Calibration
from cristae.data.image import Image, Reader
from cristae.errors import CristaeError, FormatError

# What tifffile has to say about a file reaches the user as an error of ours, not as a line on the screen.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def open_tiff(path: Path, reading: Reading = Reading()) -> Image:
    """Open a TIFF stack; nothing but its directories is read.

    Raises:
        ChannelError: There are several channels and none is chosen, or not the chosen one.
        FormatError: The file is damaged or truncated, or holds several images instead of one stack.
    """
    return _guarded(path, reading, _open_stack)


def open_tiff_slice(path: Path, reading: Reading = Reading()) -> Image:
    """Open a TIFF that holds exactly one slice, whatever its description says about files around it.

    Raises:
        ChannelError: There are several channels and none is chosen, or not the chosen one.
        FormatError: The file is damaged, or holds several slices.
    """
    return _guarded(path, reading, _open_slice)


def _guarded(path: Path, reading: Reading, open_it: Callable[[Path, Reading], Image]) -> Image:
    if reading.signed is not None:
        raise FormatError(f"{path}: ::signed is for 8-bit MRC files; leave it out")
    require_content(path, at_least=8)
    try:
        return open_it(path, reading)
    except CristaeError:
        raise
    except Exception as error:
        # tifffile raises whatever the damaged bytes make it stumble over.
        raise FormatError(
            f"{path}: is not a readable TIFF file, or is damaged; copy or export it again"
            f" ({error or type(error).__name__})"
        ) from error


def _open_stack(path: Path, reading: Reading) -> Image:
    directories = scan_pages(path)
    with tifffile.TiffFile(path) as tif:
        series = find_series(path, tif, directories)
        pages = plain_pages(path, tif, directories) if series is None else series_pages(path, tif, series, directories)
        details = {"TIFF": "BigTIFF" if tif.is_bigtiff else "classic"}
        details["written as"] = "plain pages" if series is None else series.kind
        extra = sum(tags.is_extra for tags in directories.values())
        if 0 < extra < len(directories):
            details["left out"] = f"{extra} of {len(directories)} pages, which are thumbnails or masks of others"
        _check_promises(path, tif, pages, series)
        return _image(path, tif, pages, _stored(path, tif, pages, series), reading, details)


def _open_slice(path: Path, reading: Reading) -> Image:
    directories = scan_pages(path)
    if sum(not tags.is_extra for tags in directories.values()) > 1:
        image = _open_stack(path, reading)
        if image.shape[0] > 1:
            raise FormatError(f"{path}: holds {image.shape[0]} slices; expected one. Open it as a stack by itself")
        return image
    with tifffile.TiffFile(path) as tif:
        pages = plain_pages(path, tif, directories)
        promised = _promised(tif)
        image = _image(path, tif, pages, _stored(path, tif, pages, None), reading, {})
        if max(image.shape[0], promised) > 1:
            many = max(image.shape[0], promised)
            raise FormatError(f"{path}: holds {many} slices; expected one. Open it as a stack by itself")
        return image


def _promised(tif: Any) -> int:
    """Planes that the file's own description speaks of; 1 where it says nothing."""
    if tif.is_imagej:
        return int((tif.imagej_metadata or {}).get("images", 1))
    shape = description_of(tif).get("shape", ())
    return max(1, int(prod(shape)) // max(1, int(prod(tif.pages.first.shape))))


def _check_promises(path: Path, tif: Any, pages: Pages, series: Any) -> None:
    """Refuse stacks that are shorter than their own description says."""
    kind, many = (None, len(pages.keys)) if series is None else (series.kind, len(pages.keys))
    description = tif.pages.first.shaped_description
    if description and kind != "shaped":
        raise FormatError(f"{path}: the description {description[:80]} does not fit the {many} images in the file")
    if tif.is_imagej and kind != "imagej" and (promised := _promised(tif)) > many:
        raise FormatError(f"{path}: is truncated: ImageJ's description promises {promised} slices, found {many}")


def _stored(path: Path, tif: Any, pages: Pages, series: Any) -> Stored:
    """The axes of the file."""
    key, tags, many = pages.keys[0], pages.tags[0], len(pages.keys)
    described = "axes" not in description_of(tif) and bool(key.shaped_description)
    if series is None:
        axes, shape = ("I" if many > 1 else "") + key.axes, ((many,) if many > 1 else ()) + tuple(key.shape)
    else:
        axes, shape = series.axes, tuple(series.shape)
    names, labels = channel_names(tif)
    return Stored(
        where=str(path),
        axes=axes,
        shape=shape,
        samples=pages.samples,
        colors=color_samples(tags, pages.dtype),
        sample_names=sample_names(tags),
        channel_names=names,
        plane_names=labels,
        planes_are_slices=described and tags.samples > 1 and pages.samples == 1,
    )


def _image(path: Path, tif: Any, pages: Pages, stored: Stored, reading: Reading, details: dict[str, str]) -> Image:
    layout = lay_out(stored, reading)
    height, width = _shown_size(path, pages)
    alike = list({id(tags): tags for tags in pages.tags}.values())
    inverters = {
        id(tags): None if keeps_white(tags, imagej=tif.is_imagej) else inverter(tags, pages.dtype) for tags in alike
    }
    palette = shared_palette(path, [tags.palette for tags in alike], lambda i: slice_name(pages.tags.index(alike[i])))
    rows, columns = _orientation(pages, 0).size(*pages.step)
    found = _calibration(tif, pages)
    native = np.dtype(np.uint8) if pages.dtype.kind == "b" else pages.dtype.newbyteorder("=")
    shown = _details(tif, pages)
    if layout.colors not in (2, 4):
        shown.pop("alpha", None)
    image = Image(
        path=path,
        format="tiff",
        shape=(len(layout.planes), height, width),
        dtype=native,
        reader=_reader(pages, layout, native, [inverters[id(tags)] for tags in pages.tags]),
        colors=layout.colors,
        chunks=(1, min(rows, height), min(columns, width)),
        voxel_size_nm=found.voxel_size_nm,
        origin_nm=found.origin_nm,
        palette=palette if layout.colors == 1 else None,
        details={"axes": stored.axes, **details, **shown, **layout.details, **_note(found)},
    )
    divides = layout.colors in (2, 4) and is_premultiplied(pages.tags[0]) and "alpha" in stored.sample_names
    return image.map(divide_alpha, native, colors=layout.colors) if divides else image


def _note(found: Calibration) -> dict[str, str]:
    return {"voxel size": found.note} if found.note else {}


def _details(tif: Any, pages: Pages) -> dict[str, str]:
    """The tags that `inspect` shows, of all pages."""
    alike = {id(tags): tags for tags in pages.tags}
    shown = {key: value_details(tags, imagej=tif.is_imagej) for key, tags in alike.items()}
    details = shared_details([shown[id(tags)] for tags in pages.tags])
    if len({tags.orientation for tags in alike.values()}) > 1:
        details["note"] = "slices differ in how they are turned; each is read as its own tag says"
    elif {(tags.photometric, tags.one(BITS, 1)) for tags in alike.values()} == {(0, 1)} and _is_by_tifffile(tif):
        details["note"] = (
            "0 is white in this mask, so stored 1 is read as 0, as most programs show it; but tifffile tags boolean "
            "arrays in this way whatever they mean: look at it, and if it is inverted, save it as uint8"
        )
    return details


def _is_by_tifffile(tif: Any) -> bool:
    page = tif.pages.first
    return bool(page.shaped_description) or str(page.software).startswith("tifffile")


def _orientation(pages: Pages, page: int) -> Orientation:
    return ORIENTATIONS[pages.tags[page].orientation]


def _shown_size(path: Path, pages: Pages) -> tuple[int, int]:
    """Rows and columns of every slice as it is shown."""
    if len({tags.orientation for tags in pages.tags}) > 1:
        sizes = [_orientation(pages, i).size(pages.height, pages.width) for i in range(len(pages.tags))]
        check_alike(path, "size as shown", ["{} x {} pixels".format(*size) for size in sizes], slice_name)
    return _orientation(pages, 0).size(pages.height, pages.width)


def _calibration(tif: Any, pages: Pages) -> Calibration:
    transposed = {ORIENTATIONS[tags.orientation].transposed for tags in pages.tags}
    found = calibration(tif, pages.tags, pages.width, transposed=True in transposed)
    size = found.voxel_size_nm
    if len(transposed) > 1 and size is not None and size[1] != size[2]:
        return Calibration(None, found.origin_nm, "some slices are stored transposed, and their pixels are no squares")
    return found


def _reader(
    pages: Pages, layout: Layout, dtype: np.dtype[Any], inverters: Sequence[Callable[[np.ndarray], np.ndarray] | None]
) -> Reader:
    opened = open_planes(pages)
    height, width = _orientation(pages, 0).size(pages.height, pages.width)
    samples = list(layout.samples)
    every = samples == list(range(pages.samples))

    def read_plane(read: Plane, number: int, rows: slice, columns: slice) -> np.ndarray:
        page, plane = divmod(number, pages.planes)
        way, invert = _orientation(pages, page), inverters[page]
        pixels = read(page, plane, *way.stored(rows, columns, height, width))
        pixels = way.shown(pixels if every else pixels[..., samples])
        sample = plane // max(1, pages.planes // pages.tags[page].samples) if pages.samples == 1 else samples[0]
        if invert is not None and sample == 0:
            # Alpha, and channels beyond the first, have no white.
            pixels = np.concatenate([invert(pixels[..., :1]), pixels[..., 1:]], axis=-1)
        return pixels

    def read(box: Box) -> np.ndarray:
        read_stored, many = opened(), len(samples)
        out = np.empty((*box.shape, layout.colors), dtype)
        for i, planes in enumerate(layout.planes[box.start[0] : box.stop[0]]):
            for k, number in enumerate(planes):
                out[i, ..., k * many : (k + 1) * many] = read_plane(read_stored, number, *box.slices[1:])
        return out if layout.colors > 1 else out[..., 0]

    return read
