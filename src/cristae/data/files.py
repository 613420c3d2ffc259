"""Writing so that a reader never sees half a file and a full disk is reported as such."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cristae.data.address import Address, Place
from cristae.errors import OutputExistsError, StorageError

_NO_FOLDER = "a part of the path is not a folder, but a file or a dangling link; choose another place"
_CAUSES = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EACCES: "permission denied; choose a place you may write to",
    errno.EPERM: "permission denied; choose a place you may write to",
    errno.EROFS: "the file system is read-only; choose a place you may write to",
    errno.EFBIG: "the file grows larger than this place allows; choose another disk, or a folder format such as .zarr",
    errno.ENOTDIR: _NO_FOLDER,
    errno.EEXIST: _NO_FOLDER,
    errno.ELOOP: "a symbolic link in the path leads round in a circle; remove it, or choose another place",
    errno.ENAMETOOLONG: "the name is longer than the file system allows; choose a shorter one",
}


@contextmanager
def storage_errors(path: Place) -> Iterator[None]:
    """Turn the system's refusals to write `path` into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _CAUSES:
            raise StorageError(f"{path}: cannot write: {_CAUSES[error.errno]}") from error
        raise


def write_bytes(path: Place, content: bytes) -> None:
    """Write `path` in one step: beside first, flushed to disk, then renamed; in a store as one object.

    Raises:
        StorageError: The disk is full or the place may not be written.
    """
    if isinstance(path, Address):
        path.write_bytes(content)
    else:
        write_together({path: content})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all beside first, flushed to disk, then renamed, so that none stands alone.

    Raises:
        StorageError: The disk is full or a place may not be written.
    """
    beside: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            with storage_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
                beside[path] = Path(name)
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).chmod(0o666 & ~_umask())
        for path, part in beside.items():
            with storage_errors(path):
                part.replace(path)
    finally:
        for part in beside.values():
            part.unlink(missing_ok=True)


def write_text(path: Place, content: str) -> None:
    """Write a UTF-8 text file with '\\n' line ends in one step."""
    write_bytes(path, content.encode())


def write_json(path: Place, content: Any) -> None:
    """Write a readable JSON file in one step."""
    write_text(path, json.dumps(content, indent=2, sort_keys=False, ensure_ascii=False, allow_nan=False) + "\n")


def require_new(path: Place, *, what: str) -> None:
    """Raise when an output would land on something that exists already (an empty folder is fine).

    Raises:
        OutputExistsError: There is a file, a folder that holds something, or a link that leads nowhere.
        StorageError: There can be nothing at this place: the name is too long, or a part of the path is no folder.
    """
    if isinstance(path, Address):
        _require_new_at(path, what)
        return
    with storage_errors(path):
        if path.is_dir() and all(_is_leftover(child) for child in path.iterdir()):
            return
        if os.path.lexists(path):
            link = " as a link" if path.is_symlink() else ""
            raise OutputExistsError(
                f"{path}: exists already{link}; choose another place for {what}, or remove it first"
            )
        above = next((folder for folder in path.parents if os.path.lexists(folder)), path.parent)
        if not above.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(above))


def require_writable(path: Path) -> None:
    """Raise when the folder that an output lies in, or the nearest one that there is above it, may not be written.

    Raises:
        StorageError: It may not.
    """
    with storage_errors(path):
        above = next((folder for folder in (path, *path.absolute().parents) if folder.is_dir()), path)
        if not os.access(above, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(above))


def require_new_file(path: Path, *, what: str) -> None:
    """Raise when a file would land on something that exists already; even an empty folder is in its way.

    Raises:
        OutputExistsError: There is a file, a folder, or a link that leads nowhere.
        StorageError: There can be nothing at this place: the name is too long, or a part of the path is no folder.
    """
    require_new(path, what=what)
    if path.is_dir():
        raise OutputExistsError(f"{path}: is a folder; choose another name for {what}, or remove the folder first")


def _require_new_at(address: Address, what: str) -> None:
    """Metadata below a place without metadata of its own are what a kill left of a creation, which ends with these."""
    address.require_store()
    keys = address.list()
    if "zarr.json" in keys or not all(key.endswith("/zarr.json") for key in keys):
        raise OutputExistsError(f"{address}: exists already; choose another place for {what}, or remove it first")


def _is_leftover(path: Path) -> bool:
    """Whether a write that was killed left this file beside its target."""
    return path.name.startswith(".") and path.name.endswith(".part")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
