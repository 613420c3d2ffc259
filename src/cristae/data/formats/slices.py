"""Folders of slices: PNG, TIFF, BMP or JPEG files that together are one stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cristae.data.box import Box
from cristae.data.formats.flat import open_flat
from cristae.data.formats.paths import TIFF_SUFFIXES, Reading, check_files
from cristae.data.formats.slice_tags import check_alike, differing, shared_details, shared_palette
from cristae.data.formats.tiff import open_tiff_slice
from cristae.data.image import Image
from cristae.errors import FormatError


class UnequalSlicesError(FormatError):
    """Files that were opened as one stack differ in size, so they may be unrelated images."""


def open_slices(path: Path, files: Sequence[Path], reading: Reading = Reading()) -> Image:
    """Open files as the slices of one stack, in the order given.

    One-bit slices among eight-bit grey ones count as black and white: 0 and 255.

    Raises:
        UnequalSlicesError: The slices differ in size.
        ChannelError: They have several channels and none is chosen, or not the chosen one.
        FormatError: They differ in type, colours or palette, or one of them is damaged.
    """
    slices = [open_slice(file, reading) for file in check_files(files)]
    slices = _widen_bits(slices)

    def name(place: int) -> str:
        return slices[place].path.name

    if message := differing(path, "size", [f"{s.shape[1]} x {s.shape[2]} pixels" for s in slices], name):
        raise UnequalSlicesError(
            f"{message}. Slices of one stack must be equal; for unrelated 2D images set `kind: images`"
        )
    check_alike(path, "type", [_kind(s) for s in slices], name)
    palette = shared_palette(path, [s.palette for s in slices], name)
    first = slices[0]
    details = shared_details([s.details for s in slices]) | {"slices": f"{len(slices)} files, {first.format}"}
    if len({s.details.get("bits") for s in slices}) > 1:
        details["bits"] = "1-bit slices among 8-bit ones are read as 0 and 255"
    sizes = [f"{s.voxel_size_nm} {s.details.get('voxel size', 'none')}" for s in slices]
    if message := differing(path, "pixel size", [text.removeprefix("None ") for text in sizes], name):
        details["voxel size"] = message.removeprefix(f"{path}: ")
    return replace(
        first,
        path=path,
        format=f"{first.format} slices",
        shape=(len(slices), *first.shape[1:]),
        reader=_reader(slices),
        voxel_size_nm=first.voxel_size_nm if len(set(sizes)) == 1 else None,
        slice_names=tuple(file.stem for file in files),
        palette=palette,
        details=details,
    )


def open_slice(file: Path, reading: Reading = Reading()) -> Image:
    """One file as a stack of one slice.

    Raises:
        ChannelError: It has several channels and none is chosen, or not the chosen one.
        FormatError: The file is damaged, or holds several slices.
    """
    image = open_tiff_slice(file, reading) if file.suffix.lower() in TIFF_SUFFIXES else open_flat(file, reading)
    return replace(image, slice_names=(file.stem,))


def _reader(slices: Sequence[Image]) -> Callable[[Box], np.ndarray]:
    first = slices[0]

    def read(box: Box) -> np.ndarray:
        shape = box.shape if first.colors == 1 else (*box.shape, first.colors)
        out = np.empty(shape, first.dtype)
        flat = Box((0, *box.start[1:]), (1, *box.stop[1:]))
        for i, z in enumerate(range(box.start[0], box.stop[0])):
            out[i] = slices[z].read(flat)[0]
        return out

    return read


def _widen_bits(slices: list[Image]) -> list[Image]:
    bits = {s.details.get("bits") for s in slices}
    plain = all(s.colors == 1 and s.palette is None and s.dtype == np.uint8 for s in slices)
    if not plain or bits != {"1", "8"}:
        return slices
    white = np.uint8(255)
    return [s.map(lambda part: part * white, s.dtype) if s.details["bits"] == "1" else s for s in slices]


def _kind(image: Image) -> str:
    return f"{image.dtype}" + (f" with {image.colors} colours" if image.colors > 1 else "")
