"""Public data sets: one file each, with citation, licence, checksums and the honest split; and what people bring."""

from __future__ import annotations

from pathlib import Path

from cristae.data.public import (
    axondeepseg_sem,
    cdeep3m_mito,
    drosophila_vnc,
    em_stellar_cardiac,
    emnet_cardiac,
    flyem_medulla_fibsem,
    isbi2012,
    platelet_em,
    synthetic,
    synthetic_fibsem,
    synthetic_tomogram,
)
from cristae.data.public.base import (
    DATA_VARIABLE,
    PublicSet,
    cache_folder,
    find_folder,
    is_anywhere,
    missing_files,
)
from cristae.data.public.brought import BROUGHT_SETS, find_brought
from cristae.data.public.fetch import fetch_set, stated_folder
from cristae.errors import DownloadError, VolumeError
from cristae.problems import suggest
from cristae.progress import Progress

PUBLIC_SETS: tuple[PublicSet, ...] = (
    axondeepseg_sem.SET,
    cdeep3m_mito.SET,
    drosophila_vnc.SET,
    em_stellar_cardiac.SET,
    emnet_cardiac.SET,
    flyem_medulla_fibsem.SET,
    isbi2012.SET,
    platelet_em.SET,
    synthetic.SET,
    synthetic_fibsem.SET,
    synthetic_tomogram.SET,
)


def find_set(name: str) -> PublicSet:
    """A public set by name.

    Raises:
        VolumeError: There is no such set.
        DownloadError: It is one that people have to bring; the message says how.
    """
    for known in PUBLIC_SETS:
        if known.name == name:
            return known
    if brought := find_brought(name):
        raise DownloadError(f"the set '{name}' cannot be downloaded. {brought.directions}")
    public, own = [known.name for known in PUBLIC_SETS], [known.name for known in BROUGHT_SETS]
    raise VolumeError(
        f"there is no public set '{name}'{suggest(name.lower(), public + own)}; known are {', '.join(public)}, and of "
        f"those that people have to bring {', '.join(own)}."
    )


def find_set_folder(name: str) -> Path:
    """The folder of a public set on this machine. A set that is computed comes into being here when it is first asked
    for, where downloaded sets lie.

    Raises:
        VolumeError: There is no such set.
        MissingFileError: It is not on this machine, or incomplete.
        StorageError: It cannot be written.
    """
    chosen = find_set(name)
    if chosen.compute is not None and stated_folder(chosen) is None:
        folder = cache_folder() / chosen.name
        if missing_files(chosen, folder):
            fetch_set(chosen, folder, progress=Progress())
        return folder
    return find_folder(chosen)


def missing_set(name: str) -> str | None:
    """What to do about a set that is nowhere on this machine; None where there is at least a part of it.

    Raises:
        VolumeError: There is no such set.
    """
    chosen = find_set(name)
    if chosen.compute is not None or is_anywhere(chosen):
        return None
    return f"fetch them with `cristae data fetch {name}`, or set {DATA_VARIABLE} to the folder that holds them"
