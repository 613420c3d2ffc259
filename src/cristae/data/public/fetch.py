"""Bringing the files of a public set to a folder, each checked against its checksum.

Files are downloaded one by one: beside first, continued where an interrupted download stopped, and renamed when their
checksum fits. A folder or a mirror that holds the sets in sub-folders of their names can stand in for the originals.
"""

from __future__ import annotations

import os
import shutil
import urllib.parse
import urllib.request
from pathlib import Path

from cristae.data.files import storage_errors
from cristae.data.public.base import DATA_VARIABLE, PublicSet, SetFile
from cristae.data.public.derive import compute, derive, voxel_sha256
from cristae.data.public.download import download, file_sha256
from cristae.errors import DownloadError, MissingFileError
from cristae.progress import Progress, Task


def fetch_set(chosen: PublicSet, folder: Path, *, mirror: str | None = None, progress: Progress) -> None:
    """Complete the set in a folder; what is there already and fits is kept.

    Args:
        chosen: The set.
        folder: Made when missing.
        mirror: Folder or http(s) address that holds the sets in sub-folders, instead of the originals.
        progress: Where to show progress.

    Raises:
        DownloadError: A file cannot be had, or fails its checksum.
        StorageError: The disk is full or may not be written.
    """
    base = None if mirror is None else _mirror_of(mirror, chosen.name)
    with progress.task(f"fetch {chosen.name}", chosen.size_bytes, unit="B") as task:
        for file in chosen.files:
            _fetch(chosen, file, folder, base, task)


def stated_folder(chosen: PublicSet) -> Path | None:
    """The set's folder below `CRISTAE_DATA`, where there is one."""
    stated = os.environ.get(DATA_VARIABLE)
    folder = Path(stated) / chosen.name if stated else None
    return folder if folder is not None and folder.is_dir() else None


def check_set(chosen: PublicSet, folder: Path, progress: Progress) -> None:
    """Compare every file of a set with its checksum.

    Raises:
        MissingFileError: One is not there.
        DownloadError: One differs.
    """
    with progress.task(f"check {folder}", chosen.size_bytes, unit="B") as task:
        for file in chosen.files:
            if not (folder / file.path).is_file():
                raise MissingFileError(
                    f"{folder}: '{file.path}' is missing; complete the set with "
                    f"`cristae data fetch {chosen.name} --to {folder.parent}`."
                )
            _require_match(chosen, file, folder)
            task.advance(file.size_bytes, note=file.path)


def _fetch(chosen: PublicSet, file: SetFile, folder: Path, base: str | Path | None, task: Task) -> None:
    target = folder / file.path
    if target.is_file():
        _require_match(chosen, file, folder)
        task.advance(file.size_bytes, note=file.path)
        return
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    made_here = chosen.is_made_here(file.path)
    if isinstance(base, Path):
        _copy(base / file.path, target, None if made_here else file.sha256)
        task.advance(file.size_bytes, note=file.path)
    elif made_here and base is None:
        (derive if chosen.compute is None else compute)(chosen, file, target)
        task.advance(file.size_bytes, note=file.path)
    else:
        address = file.address if base is None else base + urllib.parse.quote(file.path)
        download(address, target, None if made_here else file.sha256, task)
    if made_here and voxel_sha256(target) != file.sha256:
        target.unlink()
        raise DownloadError(f"{target}: does not hold the published voxels (their checksum differs)")


def _require_match(chosen: PublicSet, file: SetFile, folder: Path) -> None:
    path = folder / file.path
    found = voxel_sha256(path) if chosen.is_made_here(file.path) else file_sha256(path)
    if found != file.sha256:
        raise DownloadError(
            f"{path}: is there already, but differs from the published file (sha256 {found[:12]}, expected "
            f"{file.sha256[:12]}).\n  Move it away and fetch the set again."
        )


def _mirror_of(mirror: str, name: str) -> str | Path:
    scheme = urllib.parse.urlsplit(mirror).scheme
    if scheme in ("http", "https"):
        return f"{mirror.rstrip('/')}/{urllib.parse.quote(name)}/"
    if "://" in mirror and scheme != "file":
        raise DownloadError(f"mirror '{mirror}': expected a folder or an address that starts with http:// or https://")
    local = Path(urllib.request.url2pathname(urllib.parse.urlsplit(mirror).path) if scheme == "file" else mirror)
    folder = local / name
    if not folder.is_dir():
        raise DownloadError(f"mirror '{mirror}': has no folder '{name}'; it must hold the sets in sub-folders.")
    return folder


def _copy(source: Path, target: Path, sha256: str | None) -> None:
    if not source.is_file():
        raise DownloadError(f"{source}: the mirror lacks this file.")
    if sha256 is not None and (found := file_sha256(source)) != sha256:
        raise DownloadError(f"{source}: differs from the published file (sha256 {found[:12]}, expected {sha256[:12]}).")
    beside = target.with_name(f".{target.name}.part")
    with storage_errors(target):
        shutil.copyfile(source, beside)
        beside.replace(target)
