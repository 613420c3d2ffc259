"""Finding the pages of a TIFF file that are its slices, in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import tifffile

from cristae.data.formats.slice_tags import check_alike, slice_name
from cristae.data.formats.tiff_pages import Pages
from cristae.data.formats.tiff_tags import PageTags
from cristae.data.formats.tiff_values import check_values, kind_text, storage_text, type_text
from cristae.errors import FormatError

Directories = Mapping[int, PageTags]
"""Tags of all pages by the place of their directory."""

Listed = tuple[int, int, PageTags]
"""Number of a page, place of its directory, and its tags."""

_WITH_AXES = ("shaped", "lsm", "mmstack", "ome", "imagej", "ndtiff", "fluoview", "stk", "sis", "svs", "scn", "qpi",
              "ndpi", "bif", "avs", "eer", "philips", "scanimage", "mdgel")  # fmt: skip
"""Kinds of TIFF whose metadata say how the pages are ordered; in all others each page is a slice."""


def find_series(path: Path, tif: Any, directories: Directories) -> Any:
    """tifffile's series of pages where the file's metadata say how they are ordered; None for plain pages.

    Raises:
        FormatError: There are several images, or the metadata do not fit the pages.
    """
    if not any(getattr(tif, f"is_{kind}") for kind in _WITH_AXES):
        return None
    try:
        found = list(tif.series)
    except RuntimeError:
        # Pages whose strips differ in number cannot share a description in tifffile.
        _check_pages(path, list(directories.values()), storage=True)
        raise
    except ValueError as error:
        raise FormatError(
            f"{path}: its description of the pages is damaged, or does not fit them; save it again ({error})"
        ) from error
    series = [each for each in found if not each.keyframe.is_reduced] or found
    if len(series) == 1 and series[0].kind == "generic":
        return None
    if len(series) != 1:
        shapes = ", ".join(" x ".join(map(str, item.shape)) for item in series[:5]) or "none"
        raise FormatError(f"{path}: holds {len(series)} images of different kinds ({shapes}); expected one stack")
    return series[0]


def series_pages(path: Path, tif: Any, series: Any, directories: Directories) -> Pages:
    """The pages of a series.

    Raises:
        FormatError: Pages are missing, lie in other files, or differ.
    """
    key = series.keyframe
    directories = _inherited(directories)
    if series.dataoffset is not None and key.is_contiguous:
        # ImageJ, STK and tifffile may describe the first page only, and store the others behind it.
        many = prod(series.shape) // max(1, prod(key.shape))
        need, size = series.dataoffset + many * key.nbytes, path.stat().st_size
        if need > size:
            raise FormatError(f"{path}: is truncated: the pixels end at byte {need}, the file at byte {size}")
        listed = [entry for entry in _listed(directories) if entry[0] >= key.index][:many]
        if len(listed) < many:
            listed = [listed[0]] * many
        tags = [tags for _, _, tags in listed]
        if any(t.layout != tags[0].layout for t in {id(t): t for t in tags}.values()):
            return _pages(path, tif, listed, key)
        _check_pages(path, tags)
        places = [(series.dataoffset + i * key.nbytes,) for i in range(many)]
        dtype = check_values(path, tags[0], key, imagej=tif.is_imagej)
        return Pages(path, [key] * many, tags, places, [(key.nbytes,)] * many, dtype)
    found = list(series.pages)
    if any(page is None or page.parent.filehandle.path != tif.filehandle.path for page in found):
        raise FormatError(f"{path}: slices are missing, or lie in other files; open the folder of these files instead")
    return _pages(path, tif, [(page.index, page.offset, directories[page.offset]) for page in found], key, found)


def _inherited(directories: Directories) -> Directories:
    first = next(iter(directories.values()))
    complete = {id(tags): tags.inherit(first) for tags in directories.values()}
    return {at: complete[id(tags)] for at, tags in directories.items()}


def plain_pages(path: Path, tif: Any, directories: Directories) -> Pages:
    """All pages of a file but its thumbnails, in their order.

    Raises:
        FormatError: They differ in size or type, so that they are no stack.
    """
    listed = _listed(directories)
    first, at, _ = listed[0]
    return _pages(path, tif, listed, tif.pages.first if first == 0 else _page(tif, first, at))


def _listed(directories: Directories) -> list[Listed]:
    """All pages but thumbnails and transparency masks; some programs call every page a thumbnail."""
    listed = [(i, at, tags) for i, (at, tags) in enumerate(directories.items())]
    return [entry for entry in listed if not entry[2].is_extra] or listed


def _pages(path: Path, tif: Any, listed: Sequence[Listed], key: Any, found: Sequence[Any] | None = None) -> Pages:
    """Pages that may differ in how they are compressed: each is decoded in its own way.

    Args:
        path: The file.
        tif: It, opened.
        listed: Number, directory and tags of each page.
        key: tifffile's description of one of them.
        found: tifffile's pages, where it has read them already.
    """
    tags = [tags for _, _, tags in listed]
    _check_pages(path, tags)
    layout = next((t.layout for _, at, t in listed if at == key.offset), tags[0].layout)
    pages, keys = [], []
    for i, (index, at, own) in enumerate(listed):
        if own.layout != layout:
            page = _page(tif, index, at)
            keys.append(page)
        else:
            # Only where the pixels lie is read of each page that is stored like the first.
            page = found[i] if found else key if at == key.offset else _frame(tif, index, at, key)
            keys.append(key)
        pages.append(page)
    for each, own in {id(own): (each, own) for each, own in zip(keys, tags, strict=True)}.values():
        dtype = check_values(path, own, each, imagej=tif.is_imagej)
    return Pages(path, keys, tags, [p.dataoffsets for p in pages], [p.databytecounts for p in pages], dtype)


def _frame(tif: Any, index: int, at: int, key: Any) -> Any:
    return tifffile.TiffFrame(tif, index, offset=at, keyframe=key)


def _page(tif: Any, index: int, at: int) -> Any:
    tif.filehandle.seek(at)
    return tifffile.TiffPage(tif, index)


def _check_pages(path: Path, tags: Sequence[PageTags], *, storage: bool = False) -> None:
    """Refuse pages that do not make one stack; how they are compressed may differ, but for `storage`."""
    known = {id(each): each for each in tags}
    if len(known) == 1:
        return
    checks: list[tuple[str, Callable[[PageTags], str]]] = [
        ("size", lambda t: "{} x {} pixels".format(*t.size)),
        ("type", type_text),
        ("kind", kind_text),
    ]
    if storage:
        checks.append(("how they are stored", storage_text))
    for what, describe in checks:
        texts = {key: describe(each) for key, each in known.items()}
        check_alike(path, what, [texts[id(each)] for each in tags], slice_name)
