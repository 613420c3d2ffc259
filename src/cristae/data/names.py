"""Short names of files, made from the paths that people write."""

from __future__ import annotations

import re

from cristae.data.address import Place
from cristae.data.formats.paths import (
    DM_SUFFIXES,
    FLAT_SUFFIXES,
    HDF5_SUFFIXES,
    MRC_SUFFIXES,
    NIFTI_SUFFIXES,
    NPY_SUFFIXES,
    TIFF_SUFFIXES,
    split_inner,
    split_options,
)

_SUFFIXES = {
    suffix.removeprefix(".")
    for suffix in (
        *DM_SUFFIXES, *FLAT_SUFFIXES, *HDF5_SUFFIXES, *MRC_SUFFIXES, *NIFTI_SUFFIXES, *NPY_SUFFIXES, *TIFF_SUFFIXES,
        ".zarr", ".n5",
    )
}  # fmt: skip
_SUFFIX = re.compile(rf"\.({'|'.join(map(re.escape, sorted(_SUFFIXES, key=len, reverse=True)))})$", re.IGNORECASE)
_CONTAINERS = (*HDF5_SUFFIXES, ".zarr", ".n5")


def stem_of(path: str | Place) -> str:
    """A file's name without folder, image suffix and options; other dots stay (`images.010.png` gives `images.010`).

    Example:
        >>> stem_of("cells/prob.ome.zarr::channel=1")
        'prob'
    """
    base = re.split(r"[/\\]", split_options(path)[0])[-1]
    stem = _SUFFIX.sub("", base)
    return (stem[:-4] if stem.lower().endswith(".ome") else stem) or base


def volume_name(path: str | Place) -> str:
    """The short name of the file that a path names, whatever array inside it is meant.

    Example:
        >>> volume_name("cell.h5:/raw/data::channel=1")
        'cell'
    """
    return stem_of(file_in(path))


def file_in(path: str | Place) -> str:
    """The file or folder of a path, without the array inside it and without options.

    Example:
        >>> file_in("C:/data/cell.h5:/raw::channel=1")
        'C:/data/cell.h5'
    """
    return _split(path)[0]


def name_of(path: str | Place) -> str:
    """A short name for what a path names: an array inside a file by its own name, all else by the file's.

    Example:
        >>> name_of("cell.h5:/exported_data::channel=1"), name_of("cell.h5::channel=1")
        ('exported_data', 'cell')
    """
    outer, inner = _split(path)
    return stem_of(inner or outer)


def _split(path: str | Place) -> tuple[str, str]:
    """A file and the array inside it; without a slash between, only files of arrays have one."""
    text = split_options(path)[0].rstrip("/\\")
    outer, inner = split_inner(text)
    named = text.startswith(f"{outer}:/") or outer.lower().endswith(_CONTAINERS)
    return (outer, inner) if named else (text, "")
