"""Public data sets: one file each, with citation, licence, checksums and the honest split."""

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
)
from cristae.data.public.base import PublicSet, find_folder
from cristae.errors import VolumeError

PUBLIC_SETS: tuple[PublicSet, ...] = (
    axondeepseg_sem.SET,
    cdeep3m_mito.SET,
    drosophila_vnc.SET,
    em_stellar_cardiac.SET,
    emnet_cardiac.SET,
    flyem_medulla_fibsem.SET,
    isbi2012.SET,
    platelet_em.SET,
)


def find_set(name: str) -> PublicSet:
    """A public set by name.

    Raises:
        VolumeError: There is no such set.
    """
    for known in PUBLIC_SETS:
        if known.name == name:
            return known
    raise VolumeError(f"there is no public set '{name}'; known are {', '.join(known.name for known in PUBLIC_SETS)}.")


def find_set_folder(name: str) -> Path:
    """The folder of a public set on this machine.

    Raises:
        VolumeError: There is no such set.
        MissingFileError: It is not on this machine, or incomplete.
    """
    return find_folder(find_set(name))
