"""Whether the files of a volume are those that were read before, without reading their voxels again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cristae.data.address import Address
from cristae.data.classes import Classes
from cristae.data.description import DataConfig, VolumeConfig
from cristae.data.formats.paths import HDF5_SUFFIXES, find_source

_SETTLED_S = 2.5
"""Files that changed more recently are not recognised: within the resolution of a file system's clock (2 s for FAT) a
second change would not show."""


@dataclass(frozen=True)
class Fingerprints:
    """What the voxels of each volume follow from: its description, and path, size and times of its files.

    Take them before the volumes are opened and ask `unchanged` after voxels were read: then what was read belongs to
    the fingerprint.
    """

    data: DataConfig
    folder: Path
    known: Mapping[str, str]
    """SHA-256 by the name of a volume in the recipe; a volume whose files cannot be recognised safely is absent."""

    @classmethod
    def take(cls, data: DataConfig, folder: Path) -> Fingerprints:
        """Look at the files of a complete data section whose relative paths start at `folder`."""
        found = {config.name: _fingerprint(config, data.classes, folder) for config in data.volumes}
        return cls(data, folder, {name: one for name, one in found.items() if one is not None})

    def of(self, volume: str) -> str | None:
        """The fingerprint of an opened volume; None when there is none."""
        return self.known.get(_name_in_recipe(volume))

    def unchanged(self, volume: str) -> bool:
        """Whether the files of a volume are still those of its fingerprint."""
        name = _name_in_recipe(volume)
        configs = {config.name: config for config in self.data.volumes}
        return name in self.known and _fingerprint(configs[name], self.data.classes, self.folder) == self.known[name]


def _name_in_recipe(volume: str) -> str:
    """Images of a volume of `kind: images` are called 'volume/image'."""
    return volume.split("/", 1)[0]


def _fingerprint(config: VolumeConfig, classes: Classes | None, folder: Path) -> str | None:
    """None when it is not certain that the same fingerprint means the same voxels."""
    facts: list[object] = [
        version("cristae"), config.model_dump(mode="json"), None if classes is None else classes.model_dump(mode="json")
    ]  # fmt: skip
    try:
        for path in config.paths:
            source = find_source(folder / path)
            if isinstance(source.path, Address):
                return None  # a store does not say safely whether anything of it has changed
            for file in sorted(_files(source.files or (source.path,))):
                status = file.stat()
                if time.time() - max(status.st_mtime, status.st_ctime) < _SETTLED_S or not _holds_its_voxels(file):
                    return None
                facts.append([str(file), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino])
    except Exception:  # a damaged file makes h5py raise whatever it stumbles over
        return None  # whoever opens the volume reports what is wrong
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _files(places: tuple[Path, ...]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            for folder, _, names in os.walk(place.resolve(), followlinks=True):
                yield from (Path(folder) / name for name in names)
        else:
            yield place.resolve()
            # BigDataViewer keeps the voxel size of `cell.h5` in `cell.xml`.
            if place.suffix.lower() in HDF5_SUFFIXES and (described := place.with_suffix(".xml")).is_file():
                yield described.resolve()


def _holds_its_voxels(file: Path) -> bool:
    """Whether a file refers to no other file; HDF5 files can."""
    if file.suffix.lower() not in HDF5_SUFFIXES:
        return True
    import h5py

    outside: list[str] = []

    def look(name: str) -> None:
        found = content.get(name, getlink=True)
        if isinstance(found, h5py.ExternalLink):
            outside.append(name)
        elif isinstance(found, h5py.HardLink):
            array = content[name]
            if isinstance(array, h5py.Dataset) and (array.is_virtual or array.external):
                outside.append(name)

    with h5py.File(file, "r") as content:
        content.visit_links(look)
    return not outside
