"""What a path written by a person names: a file, a folder, a glob, or an array inside a file, and how to read it."""

from __future__ import annotations

import errno
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cristae.data.address import Address, Place, place_of
from cristae.data.formats.stores import SCHEME, ZARR_FILES, find_address, kind_at
from cristae.errors import FormatError, MissingFileError

SLICE_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")
"""Files that a folder of slices may hold."""
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5", ".ilp", ".mat", ".ims", ".emd", ".nc", ".nxs")
MRC_SUFFIXES = (".mrc", ".mrcs", ".map", ".rec", ".st", ".ali", ".preali")
TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
FLAT_SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
NPY_SUFFIXES = (".npy",)
DM_SUFFIXES = (".dm3", ".dm4")
_ADDRESS = re.compile(r"(^|/)(ftp|sftp|file|az|abfss?|webdav):/")
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_FORBIDDEN = "may not be read: permission denied; ask its owner, or copy it to a place you may read"
_REFUSALS = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "does not exist: a part of the path is a file, not a folder",
    errno.ELOOP: "follows symbolic links round in a circle; name the file itself",
    errno.ENAMETOOLONG: "does not exist: the name is longer than the file system allows",
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
}
KNOWN = "TIFF, MRC, HDF5, NIfTI, NPY, OME-Zarr, N5, precomputed, PNG, BMP, JPEG, or a folder of slices"
_ARCHIVES = (".zip", ".ozx", ".tar", ".tgz", ".7z", ".rar")
_NESTED = 6
"""How deep groups lie in each other at most."""
_METADATA_BYTES = 2**20

_OPTION = re.compile(r"::(?P<key>[a-z]+)=(?P<value>[^:]*)$")


@dataclass(frozen=True)
class Reading:
    """What a person says about a file that the file does not say, after its path: `prob.h5::channel=1`."""

    channel: int | Literal["color"] | None = None
    """`::channel=1`: which of several channels, from 0. `::channel=color`: they are the samples of a colour image."""
    signed: bool | None = None
    """`::signed=false`: whether the 8-bit values of an MRC file are signed."""
    axes: str | None = None
    """`::axes=czyx`: what the axes of an array are, in the order in which the file lists them."""

    def on(self, path: str | Place) -> str:
        """A path with these options behind it; options that the path has already are replaced.

        Example:
            >>> Reading(channel=1).on("prob.h5:/exported_data")
            'prob.h5:/exported_data::channel=1'
        """
        plain, given = split_options(path)
        merged = {**vars(given), **{key: value for key, value in vars(self).items() if value is not None}}
        options = ((key, str(value).lower()) for key, value in merged.items() if value is not None)
        return plain + "".join(f"::{key}={value}" for key, value in options)


def signed_path(path: str | Path, signed: bool | None) -> str | Path:
    """A path with `::signed=` behind it, where somebody says whether 8-bit values are signed."""
    return path if signed is None else Reading(signed=signed).on(path)


def split_options(path: str | Place) -> tuple[str, Reading]:
    """A path without the options behind it, and the options.

    Raises:
        FormatError: An option is not known, or has no such value.

    Example:
        >>> split_options("cell.mrc::signed=false")
        ('cell.mrc', Reading(channel=None, signed=False, axes=None))
    """
    text, found = str(path), dict[str, Any]()
    while option := _OPTION.search(text):
        if option["key"] in found:
            raise FormatError(f"{path}: gives ::{option['key']} twice; give it once")
        found[option["key"]] = _option(str(path), option["key"], option["value"])
        text = text[: option.start()]
    return text, Reading(**found)


def split_inner(text: str) -> tuple[str, str]:
    """A path without options as the file or folder that it may name, and the array inside that; '' for none.

    Example:
        >>> split_inner("C:/data/cell.h5:/raw/x")
        ('C:/data/cell.h5', 'raw/x')
    """
    scheme = SCHEME.match(text)
    lead = scheme[0] if scheme is not None else ""
    # A drive letter such as C:\ is not followed by a forward slash and a name inside a file.
    match = re.fullmatch(r"(?P<outer>.{2,}?):/?(?P<inner>[^:\\]+)", text[len(lead) :])
    return (text, "") if match is None else (lead + match["outer"], match["inner"].strip("/"))


def _option(path: str, key: str, value: str) -> Any:
    if key == "channel" and (value.isdecimal() or value == "color"):
        return value if value == "color" else int(value)
    if key == "signed" and value in ("true", "false"):
        return value == "true"
    if key == "axes" and {"y", "x"} <= set(value) <= set("tczyx") and len(set(value)) == len(value):
        return value
    raise FormatError(
        f"{path}: '::{key}={value}' is not understood; expected ::channel=1 (from 0) or ::channel=color, "
        "::signed=true or ::signed=false, or ::axes=czyx (letters t, c, z, y, x)"
    )


@dataclass(frozen=True)
class Source:
    """Where an image is."""

    path: Place
    """The file or folder."""
    inner: str = ""
    """The array inside an HDF5 file, a Zarr hierarchy or an N5 container, without a leading slash."""
    files: tuple[Path, ...] = ()
    """The slices in natural order, for a folder or a glob."""
    reading: Reading = Reading()
    """What the person says about it."""


def find_source(path: str | Place) -> Source:
    """Resolve a path, `folder/*.png`, `file.h5:/inner/array` or `x.zarr:/labels/segmentation`, with its options.

    Raises:
        MissingFileError: There is nothing by this name, or the glob matches no file.
        FormatError: A folder holds no slices, or slices of several formats; the place is a pipe or a device; at an
            address there is something else than arrays in folders.
    """
    place = place_of(path)
    text, reading = split_options(place if isinstance(place, Address) else path)
    if isinstance(place, Address):
        outer, inner = split_inner(text)
        return Source(find_address(outer, inner), inner, reading=reading)
    return replace(_find(text), reading=reading)


def _find(text: str) -> Source:
    place = Path(text)
    kind = _look(place)
    if kind == "folder":
        return Source(place) if is_array_folder(place) else Source(place, files=list_slices(place))
    if kind == "file":
        _refuse_archive(place)
        return Source(place)
    file, inner = split_inner(text)
    outer = Path(file)
    if inner and _look(outer) != "nothing":
        _refuse_archive(outer)
        if not is_array_folder(outer) and outer.suffix.lower() not in HDF5_SUFFIXES:
            raise FormatError(f"{text}: only HDF5, Zarr and N5 hold arrays inside; '{outer.name}' does not")
        return Source(outer, inner=inner)
    if any(sign in text for sign in "*?["):
        found = sorted(_glob(place), key=natural_key)
        if not found:
            raise MissingFileError(f"{text}: no file matches this pattern")
        return Source(found[0]) if len(found) == 1 else Source(place, files=tuple(found))
    if _ADDRESS.search(text):
        raise MissingFileError(
            f"{text}: is an address of a kind that is not opened; name s3://, gs:// or https://, or download it"
        )
    missing = outer if inner else place
    with readable(missing):
        missing.stat()
    raise MissingFileError(f"{missing}: does not exist")


def _refuse_archive(path: Path) -> None:
    if path.suffix.lower() in _ARCHIVES:
        raise FormatError(
            f"{path}: is an archive, and archives are not read; unpack it and name the folder or file in it"
        )


def list_slices(folder: Path) -> tuple[Path, ...]:
    """The image files of a folder in natural order (9 before 10), hidden ones left out.

    Raises:
        FormatError: There are none, or they have several formats.
        MissingFileError: The folder may not be read.
    """
    with readable(folder):
        files = [f for f in folder.iterdir() if f.suffix.lower() in SLICE_SUFFIXES and not f.name.startswith(".")]
    kinds = sorted({_family(file) for file in files})
    if len(kinds) > 1:
        usual = max(kinds, key=[_family(file) for file in files].count)
        counts = ", ".join(f"{sum(_family(f) == kind for f in files)} {kind}" for kind in kinds)
        raise FormatError(f"{folder}: holds slices of several formats ({counts}); choose with {folder}/*{usual}")
    if not files:
        raise FormatError(f"{folder}: {_describe_empty(folder)}")
    return tuple(sorted(files, key=natural_key))


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Sorts numbers inside names by their value."""
    parts = re.split(r"(\d+)", path.name.lower())
    key = [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]
    return (*key, (2, 0, path.name))


def is_array_folder(path: Place) -> bool:
    """Whether a folder is an array, or holds arrays, rather than slices: Zarr, N5 or neuroglancer precomputed."""
    return is_zarr(path) or is_n5(path) or is_precomputed(path)


def is_missing(path: Place) -> bool:
    """Whether there is no folder at a path, and no folder of arrays at an address."""
    return kind_at(path) is None if isinstance(path, Address) else not path.is_dir()


def suffix_of(path: Place) -> str:
    """The end of a file's name that says its kind, in small letters; `.nii.gz` counts as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def is_zarr(path: Place) -> bool:
    """Whether a folder is a node of a Zarr hierarchy, where groups of version 2 need no metadata of their own."""
    if isinstance(path, Address):
        return kind_at(path) == "zarr"
    if not path.is_dir():
        return False
    return _is_zarr_node(path) or _is_inside(path, _is_zarr_node)


def is_n5(path: Place) -> bool:
    """Whether a folder is an N5 container, or a group or array in one, which needs no metadata of its own."""
    if isinstance(path, Address):
        return kind_at(path) == "n5"
    if not path.is_dir():
        return False
    if path.suffix.lower() == ".n5" or _says(path / "attributes.json", ("n5", "dimensions")):
        return True
    return _is_inside(path, lambda above: above.suffix.lower() == ".n5" or _says(above / "attributes.json", ("n5",)))


def is_precomputed(path: Place) -> bool:
    """Whether a folder is a neuroglancer precomputed volume, or the folder of one of its scales."""
    if isinstance(path, Address):
        return kind_at(path) == "precomputed"
    if not path.is_dir():
        return False
    if _says(path / "info", ("@type", "scales")):
        return True
    place = path.absolute()
    return any(
        _says(above / "info", ("scales",)) and f'"{place.relative_to(above).as_posix()}"' in _start(above / "info")
        for above in list(place.parents)[:2]
    )


def _is_zarr_node(path: Path) -> bool:
    return path.suffix.lower() == ".zarr" or any((path / name).is_file() for name in ZARR_FILES)


def _is_inside(path: Path, is_outer: Callable[[Path], bool]) -> bool:
    """Whether a folder without slices lies in one of which `is_outer` holds."""
    if not any(is_outer(above) for above in list(path.absolute().parents)[:_NESTED]):
        return False
    try:
        return not any(child.suffix.lower() in SLICE_SUFFIXES for child in path.iterdir())
    except OSError:
        return False  # whoever reads it reports what is wrong


def _says(file: Path, words: Sequence[str]) -> bool:
    """Whether a JSON file holds one of the words as a key; damage is reported by whoever reads it."""
    text = _start(file)
    return text.lstrip("\ufeff \t\r\n").startswith("{") and any(f'"{word}"' in text for word in words)


def _start(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return content.read(_METADATA_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def require_content(path: Path, *, at_least: int = 1) -> int:
    """The size of a file in bytes.

    Raises:
        MissingFileError: It does not exist, or may not be read.
        FormatError: It has fewer than `at_least` bytes, or is a pipe or a device.
    """
    _look(path)
    with readable(path):
        size = path.stat().st_size
        with path.open("rb"):
            pass
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


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn the system's refusals to read `path` into an error that says what to do.

    Raises:
        MissingFileError: The system refuses.
    """
    try:
        yield
    except OSError as error:
        raise MissingFileError(f"{path}: {why_unreadable(path, error)}") from error


def why_unreadable(path: Path, error: OSError) -> str:
    """What the system's refusal to read `path` means, and what to do, for a message."""
    if error.errno == errno.ENOENT and path.is_symlink():
        return f"is a symbolic link to {path.readlink()}, which does not exist; name the file itself"
    return _REFUSALS.get(error.errno or 0, f"cannot be read: {error.strerror or error}")


def _look(path: Path) -> Literal["file", "folder", "nothing"]:
    """What is at a place; opening a pipe would wait for ever."""
    with readable(path):
        try:
            mode = path.stat().st_mode
        except OSError as error:
            if error.errno in _ABSENT:
                return "nothing"
            raise
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise FormatError(f"{path}: is a pipe or a device; expected a file or a folder. Save what it gives as a file")
    return "folder" if stat.S_ISDIR(mode) else "file"


def _glob(pattern: Path) -> list[Path]:
    fixed = Path(pattern.anchor) if pattern.anchor else Path()
    parts = pattern.parts[1:] if pattern.anchor else pattern.parts
    while parts and not any(sign in parts[0] for sign in "*?["):
        fixed, parts = fixed / parts[0], parts[1:]
    hidden = pattern.name.startswith(".")  # as in a shell, a star takes no hidden file
    found = fixed.glob("/".join(parts)) if parts else ()
    return [file for file in found if file.is_file() and (hidden or not file.name.startswith("."))]


def _family(path: Path) -> str:
    return {".tiff": ".tif", ".jpeg": ".jpg"}.get(path.suffix.lower(), path.suffix.lower())


def _describe_empty(folder: Path) -> str:
    names = sorted(child.name for child in folder.iterdir() if not child.name.startswith("."))
    if not names:
        return "is an empty folder; expected slices such as 001.png"
    shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
    return f"holds no slices ({', '.join(SLICE_SUFFIXES[:2])} ...), only {shown}; name one of these instead"
