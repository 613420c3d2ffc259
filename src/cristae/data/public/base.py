"""What is known about a public data set, and where it lies on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from cristae.data.description import DataConfig
from cristae.data.image import Image
from cristae.errors import MissingFileError, VolumeError

DATA_VARIABLE = "CRISTAE_DATA"
"""Environment variable: a folder that holds data sets in sub-folders of their names, instead of the download cache."""


@dataclass(frozen=True)
class SetFile:
    """One file of a data set."""

    path: str
    """Relative to the set's folder, with '/'."""
    size_bytes: int
    sha256: str
    """Of the file; of the voxels as little-endian C-ordered uint32 where the file is derived or computed."""
    address: str
    """Where the original is, pinned to a version; of what it is made from where the file is derived; 'computed' where
    it is."""


@dataclass(frozen=True)
class Derivation:
    """How a file is made on this machine from a published one."""

    path: str
    """The file, relative to the set's folder."""
    rule: Literal["neuron-ids"]
    """`neuron-ids`: slices of `transforms[stack]` of a NeuroProof HDF5 file, as a uint32 TIFF."""
    slices: tuple[int, int]
    """Which slices, half-open."""
    original_sha256: str
    original_bytes: int


@dataclass(frozen=True)
class KnownSet:
    """A data set that has a name here."""

    name: str
    title: str
    citation: str
    doi: str
    """Empty where there is none, or none is known."""
    homepage: str


@dataclass(frozen=True)
class PublicSet(KnownSet):
    """A public data set: where it comes from, on which terms, and how its files are read."""

    licence: str
    licence_note: str
    address: str
    """Pinned base address of the originals."""
    tasks: Mapping[str, DataConfig]
    """Labellings by name, each a complete description with an honest split; the first is the default."""
    notes: str = ""
    """What to keep in mind when using it."""
    derived: Derivation | None = None
    compute: Callable[[str], Image] | None = None
    """The content of a file by its path, for a set that is computed instead of downloaded."""

    def is_made_here(self, path: str) -> bool:
        """Whether a file is written on this machine, so that its voxels are what a checksum can be of."""
        return self.compute is not None or (self.derived is not None and self.derived.path == path)

    @property
    def files(self) -> tuple[SetFile, ...]:
        """All files with sizes and checksums, from the table beside the module."""
        return _read_table(self.name, self.address)

    @property
    def size_bytes(self) -> int:
        """Size of the whole set."""
        return sum(file.size_bytes for file in self.files)

    def find_task(self, task: str | None) -> tuple[str, DataConfig]:
        """A task by name, or the default one.

        Raises:
            VolumeError: The set has no such task.
        """
        name = next(iter(self.tasks)) if task is None else task
        if name not in self.tasks:
            known = ", ".join(self.tasks)
            raise VolumeError(f"data.task: the set '{self.name}' has no task '{name}'; it has {known}.")
        return name, self.tasks[name]


def cache_folder() -> Path:
    """Where downloaded sets are kept."""
    import pooch

    return Path(pooch.os_cache("cristae"))


def missing_files(chosen: PublicSet, folder: Path) -> tuple[str, ...]:
    """Files of a set that a folder lacks."""
    return tuple(file.path for file in chosen.files if not (folder / file.path).is_file())


def is_anywhere(chosen: PublicSet) -> bool:
    """Whether any place that is looked at has a folder of the set, be it incomplete."""
    return any((place / chosen.name).is_dir() for place in _places())


def find_folder(chosen: PublicSet) -> Path:
    """The folder that holds a set: under CRISTAE_DATA, or in the download cache.

    Raises:
        MissingFileError: It is in neither place, or incomplete.
    """
    places = _places()
    fetch = f"cristae data fetch {chosen.name}"
    for place, option in places.items():
        folder = place / chosen.name
        if not folder.is_dir():
            continue
        if missing := missing_files(chosen, folder):
            raise MissingFileError(
                f"{folder}: the set '{chosen.name}' is incomplete, {len(missing)} of {len(chosen.files)} files are "
                f"missing, such as '{missing[0]}'; complete it with `{fetch}{option}`."
            )
        return folder
    looked = " and ".join(str(place) for place in places)
    raise MissingFileError(
        f"the set '{chosen.name}' is not on this machine (looked in {looked}); fetch it with `{fetch}`, or set "
        f"{DATA_VARIABLE} to the folder that holds it."
    )


def _places() -> dict[Path, str]:
    """Folders that sets lie in, each with the option of `cristae data fetch` that fills it."""
    stated = os.environ.get(DATA_VARIABLE)
    places = {Path(stated): f" --to {stated}"} if stated else {}
    return places | {cache_folder(): ""}


@cache
def _read_table(name: str, address: str) -> tuple[SetFile, ...]:
    text = (files("cristae.data.public") / f"{name}.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines()[1:])
    return tuple(
        SetFile(path, int(size), sha256, source if "://" in source else address + source)
        for path, size, sha256, source in rows
    )
