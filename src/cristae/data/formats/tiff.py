"""TIFF stacks: plain, ImageJ, OME, BigTIFF; strips and tiles are decoded one by one as they are needed."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from cristae.data.box import Box, Triple
from cristae.data.formats.cache import DECODED, file_key
from cristae.data.formats.paths import require_content
from cristae.data.formats.tiff_metadata import (
    imagej_calibration,
    ome_calibration,
    palette_of,
    stack_axes,
    tag_calibration,
)
from cristae.data.formats.units import Calibration
from cristae.data.image import Image, Reader
from cristae.errors import CristaeError, FormatError, MissingFileError

# What tifffile has to say about a file reaches the user as an error of ours, not as a line on the screen.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

MAX_SEGMENT_BYTES = 2**31
"""Larger strips and tiles are refused: they have to be decoded whole to read one voxel."""


@dataclass(frozen=True)
class Pages:
    """Where the pixels of each slice lie in the file."""

    path: Path
    key: Any
    """The first page: layout and compression, the same for all."""
    offsets: Sequence[Sequence[int]]
    """For each slice, the byte offsets of its strips or tiles; a single one when the slice is stored raw."""
    counts: Sequence[Sequence[int]]
    dtype: np.dtype[Any]
    """As stored, with byte order."""


def open_tiff(path: Path) -> Image:
    """Open a TIFF stack; nothing but its directories is read.

    Raises:
        FormatError: The file is damaged or truncated, or holds several images instead of one stack.
    """
    return _guarded(path, lambda: _open_stack(path))


def open_tiff_slice(path: Path) -> Image:
    """Open a TIFF that holds exactly one slice, whatever its description says about files around it.

    Raises:
        FormatError: The file is damaged, or holds several slices.
    """
    return _guarded(path, lambda: _open_slice(path))


def _guarded(path: Path, open_it: Callable[[], Image]) -> Image:
    require_content(path, at_least=8)
    try:
        return open_it()
    except CristaeError:
        raise
    except Exception as error:
        # tifffile raises whatever the damaged bytes make it stumble over.
        raise FormatError(f"{path}: is not a readable TIFF file: {error or type(error).__name__}") from error


def _open_stack(path: Path) -> Image:
    count = _count_directories(path)
    with tifffile.TiffFile(path) as tif:
        series = tif.series
        if len(series) != 1:
            shapes = ", ".join(" x ".join(map(str, item.shape)) for item in series[:5]) or "none"
            raise FormatError(f"{path}: holds {len(series)} images of different kinds ({shapes}); expected one stack")
        only = series[0]
        z, y, x, colors, letter = stack_axes(only.axes, only.shape, path)
        _check_promises(path, tif, z, only.kind, count)
        pages = _stack_pages(path, only, z)
        details = {"axes": only.axes, "TIFF": "BigTIFF" if tif.is_bigtiff else "classic", "written as": only.kind}
        if letter not in ("", "Z", "I", "Q"):
            details["note"] = f"axis {letter} was taken as z"
        return _image(pages, (z, y, x), colors, _calibration(tif), details)


def _open_slice(path: Path) -> Image:
    count = _count_directories(path)
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        promised = int((tif.imagej_metadata or {}).get("images", 1))
        if max(count, promised) > 1:
            raise FormatError(
                f"{path}: holds {max(count, promised)} slices; expected one. Open it as a stack by itself"
            )
        z, y, x, colors, _ = stack_axes(page.axes, page.shape, path)
        pages = Pages(path, page, [page.dataoffsets], [page.databytecounts], _stored_dtype(path, page))
        return _image(pages, (z, y, x), colors, _calibration(tif), {"axes": page.axes})


def _count_directories(path: Path) -> int:
    """Follow the chain of image directories to its end: a truncated chain would look like a shorter stack.

    Raises:
        FormatError: The chain leaves the file, is broken, or runs in a circle.
    """
    size = path.stat().st_size
    seen: set[int] = set()
    with path.open("rb") as file:
        start = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(start[:2])
        version = struct.unpack(f"{order}H", start[2:4])[0] if order else 0
        if version not in (42, 43) or (version == 43 and len(start) < 16):
            raise FormatError(f"{path}: is not a TIFF file although its name says so, or its first bytes are damaged")
        number, entry, link = ("Q", 20, "Q") if version == 43 else ("H", 12, "I")
        at = struct.unpack(f"{order}{link}", start[8:16] if version == 43 else start[4:8])[0]
        while at:
            if at in seen:
                raise FormatError(f"{path}: is damaged: its list of images runs in a circle")
            seen.add(at)
            # A damaged place far outside the file is more than the system can seek to.
            file.seek(min(at, size))
            width = struct.calcsize(number)
            head = file.read(width)
            tags = struct.unpack(f"{order}{number}", head)[0] if len(head) == width else 0
            after = at + width + tags * entry
            if not 0 < tags <= 4096 or after + struct.calcsize(link) > size:
                raise FormatError(
                    f"{path}: is truncated or damaged: image {len(seen)} is described at byte {at},"
                    f" but the file has {size} bytes"
                )
            file.seek(after)
            at = struct.unpack(f"{order}{link}", file.read(struct.calcsize(link)))[0]
    if not seen:
        raise FormatError(f"{path}: holds no image")
    return len(seen)


def _check_promises(path: Path, tif: Any, z: int, kind: str, count: int) -> None:
    """Refuse stacks that are shorter than their own description says."""
    promised = int((tif.imagej_metadata or {}).get("images", 1)) if tif.is_imagej else 1
    description = tif.pages.first.shaped_description
    if description and kind != "shaped":
        raise FormatError(f"{path}: the description {description[:80]} does not fit the {count} images in the file")
    if promised > z and kind != "imagej":
        raise FormatError(f"{path}: is truncated: ImageJ's description promises {promised} slices, found {z}")


def _stack_pages(path: Path, series: Any, z: int) -> Pages:
    key = series.keyframe
    dtype = _stored_dtype(path, key)
    if series.dataoffset is not None and key.is_contiguous:
        step = key.nbytes
        return Pages(path, key, [(series.dataoffset + i * step,) for i in range(z)], [(step,)] * z, dtype)
    found = list(series.pages)
    if len(found) != z:
        raise FormatError(f"{path}: is truncated or damaged: {z} slices are described, {len(found)} are there")
    if any(page is None or page.parent.filehandle.path != series.parent.filehandle.path for page in found):
        raise FormatError(f"{path}: slices are missing, or lie in other files; open the folder of these files instead")
    return Pages(path, key, [p.dataoffsets for p in found], [p.databytecounts for p in found], dtype)


def _stored_dtype(path: Path, page: Any) -> np.dtype[Any]:
    dtype = page.dtype
    if dtype is None or np.dtype(dtype).kind not in "iufb":
        raise FormatError(f"{path}: holds {page.bitspersample}-bit values of a kind that cannot be read as grey values")
    stored: np.dtype[Any] = np.dtype(dtype).newbyteorder(page.parent.byteorder)
    return stored


def _calibration(tif: Any) -> Calibration:
    page = tif.pages.first
    if tif.is_ome and tif.ome_metadata:
        return ome_calibration(tif.ome_metadata)
    if tif.is_imagej and tif.imagej_metadata:
        return imagej_calibration(tif.imagej_metadata, page)
    return tag_calibration(page)


def _image(pages: Pages, shape: Triple, colors: int, calibration: Calibration, details: dict[str, str]) -> Image:
    key = pages.key
    raw = bool(key.is_contiguous)
    details["compression"] = tifffile.COMPRESSION(int(key.compression)).name.lower()
    details["bits"] = str(key.bitspersample)
    if int(key.photometric) == 0:
        details["photometric"] = "0 is white"
    if calibration.note:
        details["voxel size"] = calibration.note
    reader = _raw_reader(pages, shape, colors) if raw else _segment_reader(pages, shape, colors)
    step = (1, shape[1], shape[2]) if raw else (1, *_segment_shape(key))
    native = pages.dtype.newbyteorder("=")
    return Image(
        path=pages.path,
        format="tiff",
        shape=shape,
        dtype=np.dtype(np.uint8) if native.kind == "b" else native,
        reader=reader,
        colors=colors,
        chunks=(step[0], min(step[1], shape[1]), min(step[2], shape[2])),
        voxel_size_nm=calibration.voxel_size_nm,
        origin_nm=calibration.origin_nm,
        palette=palette_of(key) if colors == 1 else None,
        details=details,
    )


def _raw_reader(pages: Pages, shape: Triple, colors: int) -> Reader:
    """Pixels stored as they are: only the bytes of the box are touched, through a memory map."""
    _, y, x = shape
    planar = int(pages.key.planarconfig) == 2 and colors > 1
    layout = (colors, y, x) if planar else (y, x, colors) if colors > 1 else (y, x)
    nbytes = y * x * colors * pages.dtype.itemsize
    need = max(offsets[0] for offsets in pages.offsets) + nbytes
    if need > (size := pages.path.stat().st_size):
        raise FormatError(f"{pages.path}: is truncated: the pixels end at byte {need}, the file at byte {size}")

    def read(box: Box) -> np.ndarray:
        # Mapped for each read: a folder may hold more slices than a process may keep mapped.
        try:
            content = np.memmap(pages.path, np.uint8, "r")
        except OSError as error:
            raise MissingFileError(f"{pages.path}: has vanished, or the disk it is on") from error
        if len(content) < need:
            raise FormatError(f"{pages.path}: has become shorter since it was opened")
        out = np.empty((*box.shape, colors) if colors > 1 else box.shape, pages.dtype.newbyteorder("="))
        for i, z in enumerate(range(box.start[0], box.stop[0])):
            start = pages.offsets[z][0]
            pixels = content[start : start + nbytes].view(pages.dtype).reshape(layout)
            out[i] = (np.moveaxis(pixels, 0, -1) if planar else pixels)[box.slices[1:]]
        return out.view(np.uint8) if out.dtype == bool else out

    return read


def _segment_shape(page: Any) -> tuple[int, int]:
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


def _segment_reader(pages: Pages, shape: Triple, colors: int) -> Reader:
    """Compressed strips or tiles: those that the box touches are decoded, and kept for the next caller."""
    key = pages.key
    _, y, x = shape
    height, width = _segment_shape(key)
    planes = colors if int(key.planarconfig) == 2 else 1
    if int(key.imagedepth) != 1:
        raise FormatError(f"{pages.path}: stores several slices in one page, which is not supported; save it again")
    if height * width * (colors // planes) * pages.dtype.itemsize > MAX_SEGMENT_BYTES:
        raise FormatError(f"{pages.path}: strips of {height} x {width} pixels are too large; save it as tiled TIFF")
    if min(height, width) < 1:
        raise FormatError(f"{pages.path}: says its strips have {height} x {width} pixels; it is damaged")
    down, across = -(-y // height), -(-x // width)
    if any(len(offsets) != planes * down * across for offsets in (*pages.offsets, *pages.counts)):
        raise FormatError(
            f"{pages.path}: is damaged: a slice does not have its {planes * down * across} strips or tiles"
        )
    key.init_decode()
    name = file_key(pages.path)

    def read(box: Box) -> np.ndarray:
        out = np.empty((*box.shape, colors), np.uint8 if pages.dtype.kind == "b" else pages.dtype.newbyteorder("="))
        for z, plane, row, column in _touched(box, planes, height, width):
            index = (plane * down + row) * across + column
            decode = _decoder(pages, z, index)
            pixels = DECODED.get((*name, "tiff", z, index), decode)
            place = Box(
                (z, row * height, column * width), (z + 1, min(y, (row + 1) * height), min(x, (column + 1) * width))
            )
            part = place.intersect(box)
            samples = slice(plane, plane + 1) if planes > 1 else slice(None)
            inner = part.relative_to(place.start).slices[1:]
            out[(*part.relative_to(box.start).slices, samples)] = pixels[inner][None]
        return out if colors > 1 else out[..., 0]

    return read


def _touched(box: Box, planes: int, height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    if box.size == 0:
        return iter(())
    rows = range(box.start[1] // height, (box.stop[1] - 1) // height + 1)
    columns = range(box.start[2] // width, (box.stop[2] - 1) // width + 1)
    return product(range(box.start[0], box.stop[0]), range(planes), rows, columns)


def _decoder(pages: Pages, z: int, index: int) -> Callable[[], np.ndarray]:
    def decode() -> np.ndarray:
        offset, count = pages.offsets[z][index], pages.counts[z][index]
        try:
            with pages.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(min(offset, size))
                content = file.read(min(count, size))
        except OSError as error:
            raise MissingFileError(f"{pages.path}: has vanished, or the disk it is on") from error
        if count == 0 or len(content) < count:
            raise FormatError(
                f"{pages.path}: is truncated or damaged: slice {z} should have {count} bytes at byte {offset} for its"
                f" strip or tile {index}, but the file has {size} bytes"
            )
        try:
            pixels, _, _ = pages.key.decode(content, index, jpegtables=pages.key.jpegtables)
        except Exception as error:
            raise FormatError(
                f"{pages.path}: slice {z} does not decode, the file is damaged: {error or type(error).__name__}"
            ) from error
        return np.ascontiguousarray(pixels[0])

    return decode
