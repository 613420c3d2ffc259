"""What a path written by a person names: a file, a folder, a glob, or an array inside a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cristae.errors import FormatError, MissingFileError

SLICE_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")
"""Files that a folder of slices may hold."""
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".ilp")
MRC_SUFFIXES = (".mrc", ".mrcs", ".map", ".rec", ".st", ".ali", ".preali")
TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
FLAT_SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg")
KNOWN = "TIFF, MRC, HDF5, OME-Zarr, PNG, BMP, JPEG, or a folder of slices"


@dataclass(frozen=True)
class Source:
    """Where an image is."""

    path: Path
    """The file or folder."""
    inner: str = ""
    """The array inside an HDF5 file or a Zarr hierarchy, without a leading slash."""
    files: tuple[Path, ...] = ()
    """The slices in natural order, for a folder or a glob."""


def find_source(path: str | Path) -> Source:
    """Resolve a path, `folder/*.png`, `file.h5:/inner/array` or `x.zarr:/labels/segmentation`.

    Raises:
        MissingFileError: There is nothing by this name, or the glob matches no file.
        FormatError: A folder holds no slices, or slices of several formats.
    """
    text = str(path)
    place = Path(path)
    if place.is_dir():
        return Source(place) if is_zarr(place) else Source(place, files=list_slices(place))
    if place.exists():
        return Source(place)
    outer, inner = _split(text)
    if inner and outer.exists():
        if not is_zarr(outer) and outer.suffix.lower() not in HDF5_SUFFIXES:
            raise FormatError(f"{text}: only HDF5 and Zarr files hold arrays inside; '{outer.name}' does not")
        return Source(outer, inner=inner)
    if any(sign in text for sign in "*?["):
        found = sorted(_glob(place), key=natural_key)
        if not found:
            raise MissingFileError(f"{text}: no file matches this pattern")
        return Source(found[0]) if len(found) == 1 else Source(place, files=tuple(found))
    missing = outer if inner else place
    raise MissingFileError(f"{missing}: does not exist")


def list_slices(folder: Path) -> tuple[Path, ...]:
    """The image files of a folder in natural order (9 before 10), hidden ones left out.

    Raises:
        FormatError: There are none, or they have several formats.
        MissingFileError: The folder may not be read.
    """
    try:
        files = [f for f in folder.iterdir() if f.suffix.lower() in SLICE_SUFFIXES and not f.name.startswith(".")]
    except PermissionError as error:
        raise MissingFileError(f"{folder}: may not be read: permission denied") from error
    kinds = sorted({_family(file) for file in files})
    if len(kinds) > 1:
        counts = ", ".join(f"{sum(_family(f) == kind for f in files)} {kind}" for kind in kinds)
        raise FormatError(f"{folder}: holds slices of several formats ({counts}); choose with {folder}/*{kinds[0]}")
    if not files:
        raise FormatError(f"{folder}: {_describe_empty(folder)}")
    return tuple(sorted(files, key=natural_key))


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Sorts numbers inside names by their value."""
    parts = re.split(r"(\d+)", path.name.lower())
    key = [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts if part]
    return (*key, (2, 0, path.name))


def is_zarr(path: Path) -> bool:
    """Whether a folder is a node of a Zarr hierarchy."""
    return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray", ".zattrs"))


def require_content(path: Path, *, at_least: int = 1) -> int:
    """The size of a file in bytes.

    Raises:
        MissingFileError: It does not exist, or may not be read.
        FormatError: It has fewer than `at_least` bytes.
    """
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except PermissionError as error:
        raise MissingFileError(f"{path}: may not be read: permission denied") from error
    except OSError as error:
        raise MissingFileError(f"{path}: cannot be read: {error.strerror}") from error
    if size == 0:
        raise FormatError(f"{path}: is empty (0 bytes); copy or export it again")
    if size < at_least:
        raise FormatError(f"{path}: is truncated: {size} bytes are too few for this format")
    return size


def check_files(files: Sequence[Path]) -> tuple[Path, ...]:
    """An explicit list of slices, all of which exist."""
    if not files:
        raise FormatError("an image needs at least one slice file")
    for file in files:
        require_content(file)
    return tuple(files)


def _split(text: str) -> tuple[Path, str]:
    # A drive letter such as C:\ is not followed by a forward slash and a name inside a file.
    match = re.fullmatch(r"(?P<outer>.{2,}?):/?(?P<inner>[^:\\]+)", text)
    if match is None:
        return Path(text), ""
    return Path(match["outer"]), match["inner"].strip("/")


def _glob(pattern: Path) -> list[Path]:
    fixed = Path(pattern.anchor) if pattern.anchor else Path()
    parts = pattern.parts[1:] if pattern.anchor else pattern.parts
    while parts and not any(sign in parts[0] for sign in "*?["):
        fixed, parts = fixed / parts[0], parts[1:]
    return [file for file in fixed.glob("/".join(parts)) if file.is_file()] if parts else []


def _family(path: Path) -> str:
    return {".tiff": ".tif", ".jpeg": ".jpg"}.get(path.suffix.lower(), path.suffix.lower())


def _describe_empty(folder: Path) -> str:
    names = sorted(child.name for child in folder.iterdir() if not child.name.startswith("."))
    if not names:
        return "is an empty folder; expected slices such as 001.png"
    shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
    return f"holds no slices ({', '.join(SLICE_SUFFIXES[:2])} ...), only {shown}; name one of these instead"
