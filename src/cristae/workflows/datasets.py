"""List and fetch public data sets."""

from __future__ import annotations

from pathlib import Path

from cristae.data.public import PUBLIC_SETS, find_set
from cristae.data.public.base import KnownSet, cache_folder
from cristae.data.public.brought import BROUGHT_SETS
from cristae.data.public.fetch import check_set, fetch_set, stated_folder
from cristae.progress import Progress


def list_datasets() -> tuple[KnownSet, ...]:
    """All public data sets, with citation, licence, size and tasks; then those that people have to bring."""
    return (*PUBLIC_SETS, *BROUGHT_SETS)


def fetch_dataset(
    name: str,
    *,
    to: Path | None = None,
    mirror: str | None = None,
    progress: Progress = Progress(),
) -> Path:
    """Bring a public data set to this machine and check it.

    Args:
        name: See `list_datasets`.
        to: Folder in which the set gets a sub-folder of its name; None takes the download cache, unless the
            environment variable CRISTAE_DATA names a folder that has the set: that one is checked and used.
        mirror: Folder or http(s) address that holds the sets in sub-folders, instead of the originals.
        progress: Where to show how far it is.

    Returns:
        The set's folder. What was there already and fits is kept, so a repeated call continues.

    Raises:
        VolumeError: There is no such set.
        DownloadError: A file cannot be had, or fails its checksum; or the set is one that people have to bring.
        StorageError: The disk is full or may not be written.

    Example:
        >>> folder = fetch_dataset("isbi2012")  # doctest: +SKIP
    """
    chosen = find_set(name)
    if to is None and mirror is None and (stated := stated_folder(chosen)):
        check_set(chosen, stated, progress)
        return stated
    folder = (to or cache_folder()) / name
    fetch_set(chosen, folder, mirror=mirror, progress=progress)
    return folder
