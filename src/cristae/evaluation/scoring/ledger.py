"""What an evaluation has counted so far, kept beside its output, so that one that was killed can resume."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import uuid
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.address import Address, Place
from cristae.data.files import write_bytes
from cristae.data.formats.paths import find_source
from cristae.errors import CristaeError

SAVE_EVERY_S = 20.0
"""Seconds between two saves; what was counted since the last one is lost in a kill."""
_MOST_FILES = 20_000

Arrays = dict[str, np.ndarray]


@dataclass
class Ledger:
    """Counts by name with the number of pieces they are made of. Without a path nothing is kept."""

    path: Path | None
    key: str
    """What the counts belong to: the input files as they were, and the settings."""
    done: dict[str, int] = field(default_factory=dict)
    """Pieces counted, by the name of the count."""
    counts: dict[str, Arrays] = field(default_factory=dict)
    _saved_at: float = field(default_factory=time.monotonic)

    @classmethod
    def at(cls, path: Path | None, key: str) -> Ledger:
        """What an earlier evaluation of the same input left, or a new one; damaged leftovers do not count."""
        ledger = cls(path, key)
        if path is not None and path.is_file():
            ledger._read(path)
        return ledger

    def put(self, name: str, done: int, counts: Arrays) -> None:
        """Remember the counts after `done` pieces; `save` writes them."""
        self.done[name], self.counts[name] = done, counts

    def due(self) -> bool:
        """Whether it is time to save."""
        return self.path is not None and time.monotonic() - self._saved_at > SAVE_EVERY_S

    def save(self) -> None:
        """Write everything in one step.

        Raises:
            StorageError: The disk is full or the place may not be written.
        """
        if self.path is not None:
            named: Any = {
                f"{name}/{key}": array for name, arrays in self.counts.items() for key, array in arrays.items()
            }
            facts = np.frombuffer(json.dumps({"key": self.key, "done": self.done}).encode(), np.uint8)
            buffer = io.BytesIO()
            np.savez(buffer, facts=facts, **named)
            write_bytes(self.path, buffer.getvalue())
        self._saved_at = time.monotonic()

    def remove(self) -> None:
        """Delete the file: the scores stand in their tables now, or cannot be counted at all."""
        if self.path is not None and not self.path.is_dir():
            self.path.unlink(missing_ok=True)

    def _read(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as stored:
                facts = json.loads(stored["facts"].tobytes())
                if facts["key"] != self.key:
                    return
                counts: dict[str, Arrays] = {str(name): {} for name in facts["done"]}
                for full in stored.files:
                    name, _, key = full.rpartition("/")
                    if name in counts:
                        counts[name][key] = stored[full]
                self.done, self.counts = {str(k): int(v) for k, v in facts["done"].items()}, counts
        except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, EOFError):
            return


def key_of(paths: Iterable[Place], settings: Mapping[str, Any]) -> str:
    """A hash of settings and of the state of the input files: their names, sizes and times of change.

    What lies in a store counts as changed every time.
    """
    total = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for path in paths:
        if isinstance(path, Address):
            total.update(uuid.uuid4().bytes)
            continue
        for file in _files_of(path):
            facts = file.stat()
            total.update(f"{path}|{file.absolute()}|{facts.st_size}|{facts.st_mtime_ns}\n".encode())
    return total.hexdigest()


def _files_of(path: Path) -> list[Path]:
    """The files that a path names; none for what lives in memory."""
    with suppress(CristaeError):
        source = find_source(path)
        if source.files:
            return list(source.files)
        path = Path(str(source.path))
    if path.is_file():
        return [path]
    found: list[Path] = []
    for folder, folders, names in os.walk(path):
        folders.sort()
        found += [Path(folder, name) for name in sorted(names)]
        if len(found) > _MOST_FILES:
            break
    return found
