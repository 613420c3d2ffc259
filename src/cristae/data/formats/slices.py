"""Folders of slices: PNG, TIFF, BMP or JPEG files that together are one stack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cristae.data.box import Box
from cristae.data.formats.flat import open_flat
from cristae.data.formats.paths import TIFF_SUFFIXES, check_files
from cristae.data.formats.tiff import open_tiff_slice
from cristae.data.image import Image
from cristae.errors import FormatError


class UnequalSlicesError(FormatError):
    """Files that were opened as one stack differ in size, so they may be unrelated images."""


def open_slices(path: Path, files: Sequence[Path]) -> Image:
    """Open files as the slices of one stack, in the order given.

    One-bit slices among eight-bit grey ones count as black and white: 0 and 255.

    Raises:
        UnequalSlicesError: The slices differ in size.
        FormatError: They differ in type, colours or palette, or one of them is damaged.
    """
    slices = [open_slice(file) for file in check_files(files)]
    slices = _widen_bits(slices)
    _check_same(path, slices, "size", lambda s: f"{s.shape[1]} x {s.shape[2]} pixels")
    _check_same(path, slices, "type", lambda s: _kind(s))
    _check_same(path, slices, "palette", lambda s: "none" if s.palette is None else f"palette {hash(s.palette):x}")
    first = slices[0]
    details = dict(first.details) | {"slices": f"{len(slices)} files, {first.format}"}
    if len({s.details.get("bits") for s in slices}) > 1:
        details["bits"] = "1-bit slices among 8-bit ones are read as 0 and 255"
    sizes = {s.voxel_size_nm for s in slices}
    return replace(
        first,
        path=path,
        format=f"{first.format} slices",
        shape=(len(slices), *first.shape[1:]),
        reader=_reader(slices),
        voxel_size_nm=first.voxel_size_nm if len(sizes) == 1 else None,
        slice_names=tuple(file.stem for file in files),
        details=details,
    )


def open_slice(file: Path) -> Image:
    """One file as a stack of one slice.

    Raises:
        FormatError: The file is damaged, or holds several slices.
    """
    image = open_tiff_slice(file) if file.suffix.lower() in TIFF_SUFFIXES else open_flat(file)
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


def _check_same(path: Path, slices: Sequence[Image], what: str, describe: Callable[[Image], str]) -> None:
    found = Counter(describe(s) for s in slices)
    if len(found) == 1:
        return
    usual = found.most_common(1)[0][0]
    odd = next(s for s in slices if describe(s) != usual)
    message = (
        f"{path}: slices differ in {what}: {found[usual]} of {len(slices)} have {usual},"
        f" but {odd.path.name} has {describe(odd)}"
    )
    if what == "size":
        raise UnequalSlicesError(
            f"{message}. Slices of one stack must be equal; for unrelated 2D images set `kind: images`"
        )
    raise FormatError(f"{message}. Save all slices in the same way")
