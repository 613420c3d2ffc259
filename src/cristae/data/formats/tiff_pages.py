"""Where the pixels of each page of a TIFF file lie; strips and tiles are decoded one by one as they are needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.formats.cache import DECODED, file_key
from cristae.data.formats.tiff_tags import PageTags
from cristae.errors import FormatError, MissingFileError

MAX_SEGMENT_BYTES = 2**31
"""Larger strips and tiles are refused: they have to be decoded whole to read one voxel."""

Plane = Callable[[int, int, slice, slice], np.ndarray]
"""The pixels (rows, columns, samples) of a page, one of its planes, some rows and some columns, as stored."""


@dataclass(frozen=True)
class Pages:
    """The pages of one stack, which have the same size and type."""

    path: Path
    keys: Sequence[Any]
    """tifffile's description of each page: layout and compression."""
    tags: Sequence[PageTags]
    """Of each page."""
    offsets: Sequence[Sequence[int]]
    """For each page, the byte offsets of its strips or tiles; a single one when the page is stored raw."""
    counts: Sequence[Sequence[int]]
    dtype: np.dtype[Any]
    """As stored, with byte order."""

    @property
    def height(self) -> int:
        """Rows of a plane as stored."""
        return int(self.keys[0].imagelength)

    @property
    def width(self) -> int:
        """Columns of a plane as stored."""
        return int(self.keys[0].imagewidth)

    @property
    def samples(self) -> int:
        """Values that are stored side by side for each pixel of a plane."""
        return int(self.keys[0].samplesperpixel) if int(self.keys[0].planarconfig) == 1 else 1

    @cached_property
    def planes(self) -> int:
        """Planes of one page, stored one after the other."""
        shape = self.keys[0].shape
        return int(np.prod(shape, dtype=object)) // max(1, self.height * self.width * self.samples)

    @cached_property
    def is_raw(self) -> bool:
        """Whether the planes of every page lie in the file as they are, without a gap."""
        return all(map(_is_raw, self.keys, self.offsets, self.counts))

    @property
    def step(self) -> tuple[int, int]:
        """Rows and columns that are cheapest to read at once."""
        return (self.height, self.width) if self.is_raw else _segment_shape(self.keys[0])


def open_planes(pages: Pages) -> Callable[[], Plane]:
    """What gives a reader of planes for each box that is read.

    Raises:
        FormatError: The file is truncated, or its strips or tiles cannot be decoded in parts.
    """
    return _raw_planes(pages) if pages.is_raw else _segment_planes(pages)


def _is_raw(key: Any, offsets: Sequence[int], counts: Sequence[int]) -> bool:
    if not key.is_contiguous:
        return False
    follow = all(at + count == after for (at, after), count in zip(pairwise(offsets), counts, strict=False))
    return len(offsets) == 1 or follow


def _raw_planes(pages: Pages) -> Callable[[], Plane]:
    """Pixels stored as they are: only the bytes that are asked for are touched, through a memory map."""
    layout = (pages.height, pages.width, pages.samples)
    nbytes = int(np.prod(layout, dtype=object)) * pages.dtype.itemsize
    need = max(offsets[0] for offsets in pages.offsets) + nbytes * pages.planes
    if need > (size := pages.path.stat().st_size):
        raise FormatError(f"{pages.path}: is truncated: the pixels end at byte {need}, the file at byte {size}")

    def opened() -> Plane:
        # Mapped for each read: a folder may hold more slices than a process may keep mapped.
        try:
            content = np.memmap(pages.path, np.uint8, "r")
        except OSError as error:
            raise MissingFileError(f"{pages.path}: has vanished, or the disk it is on") from error
        if len(content) < need:
            raise FormatError(f"{pages.path}: has become shorter since it was opened")

        def read(page: int, plane: int, rows: slice, columns: slice) -> np.ndarray:
            start = pages.offsets[page][0] + plane * nbytes
            pixels: np.ndarray = content[start : start + nbytes].view(pages.dtype).reshape(layout)[rows, columns]
            return pixels.view(np.uint8) if pages.dtype.kind == "b" else pixels

        return read

    return opened


def _segment_shape(key: Any) -> tuple[int, int]:
    if key.is_tiled:
        return int(key.tilelength), int(key.tilewidth)
    return min(int(key.rowsperstrip), int(key.imagelength)), int(key.imagewidth)


def _segment_planes(pages: Pages) -> Callable[[], Plane]:
    """Compressed strips or tiles: those that are asked for are decoded, and kept for the next caller."""
    for key in {id(key): key for key in pages.keys}.values():
        _check_segments(pages, key)
        key.init_decode()
    for page, key in enumerate(pages.keys):
        down, across = _grid(key)
        expected = pages.planes * down * across
        if not len(pages.offsets[page]) == len(pages.counts[page]) == expected:
            raise FormatError(f"{pages.path}: is damaged: slice {page} does not have its {expected} strips or tiles")
    name = file_key(pages.path)
    native = np.dtype(np.uint8) if pages.dtype.kind == "b" else pages.dtype.newbyteorder("=")

    def read(page: int, plane: int, rows: slice, columns: slice) -> np.ndarray:
        key = pages.keys[page]
        (height, width), (down, across) = _segment_shape(key), _grid(key)
        out = np.empty((rows.stop - rows.start, columns.stop - columns.start, pages.samples), native)
        for row, column in _touched(rows, columns, height, width):
            index = (plane * down + row) * across + column
            pixels = DECODED.get((*name, "tiff", page, index), _decoder(pages, page, index))
            into, out_of = _overlap(rows, row * height, min(pages.height, (row + 1) * height))
            along, within = _overlap(columns, column * width, min(pages.width, (column + 1) * width))
            out[into, along] = pixels[out_of, within]
        return out

    return lambda: read


def _check_segments(pages: Pages, key: Any) -> None:
    height, width = _segment_shape(key)
    if int(key.imagedepth) != 1:
        raise FormatError(f"{pages.path}: stores several slices in one page, which is not supported; save it again")
    if height * width * pages.samples * pages.dtype.itemsize > MAX_SEGMENT_BYTES:
        raise FormatError(f"{pages.path}: strips of {height} x {width} pixels are too large; save it as tiled TIFF")
    if min(height, width) < 1:
        raise FormatError(f"{pages.path}: says its strips have {height} x {width} pixels; it is damaged")


def _grid(key: Any) -> tuple[int, int]:
    height, width = _segment_shape(key)
    return -(-int(key.imagelength) // height), -(-int(key.imagewidth) // width)


def _touched(rows: slice, columns: slice, height: int, width: int) -> Iterator[tuple[int, int]]:
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return iter(())
    down = range(rows.start // height, (rows.stop - 1) // height + 1)
    return product(down, range(columns.start // width, (columns.stop - 1) // width + 1))


def _overlap(wanted: slice, start: int, stop: int) -> tuple[slice, slice]:
    """Where a segment from `start` to `stop` lies in what is wanted, and the other way round."""
    low, high = max(wanted.start, start), min(wanted.stop, stop)
    return slice(low - wanted.start, high - wanted.start), slice(low - start, high - start)


def _decoder(pages: Pages, page: int, index: int) -> Callable[[], np.ndarray]:
    def decode() -> np.ndarray:
        offset, count = pages.offsets[page][index], pages.counts[page][index]
        try:
            with pages.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(min(offset, size))
                content = file.read(min(count, size))
        except OSError as error:
            raise MissingFileError(f"{pages.path}: has vanished, or the disk it is on") from error
        if count == 0 or len(content) < count:
            raise FormatError(
                f"{pages.path}: is truncated or damaged: slice {page} should have {count} bytes at byte {offset} for"
                f" its strip or tile {index}, but the file has {size} bytes"
            )
        key = pages.keys[page]
        try:
            pixels, _, _ = key.decode(content, index, jpegtables=key.jpegtables)
        except Exception as error:
            # Codecs raise whatever the damaged bytes make them stumble over.
            raise FormatError(
                f"{pages.path}: slice {page} does not decode, so the file is damaged; copy or export it again"
                f" ({error or type(error).__name__})"
            ) from error
        return np.ascontiguousarray(pixels[0])

    return decode
