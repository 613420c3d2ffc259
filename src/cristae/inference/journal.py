"""Which blocks are safely on disk: one line for each, appended after its voxels; in a store one object for each.

Every writer appends to a file of its own, so that any number of processes, on one machine or on several that share a
file system, record blocks at the same time without locks. Readers take all the files together.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import uuid
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cristae.config import facts_from
from cristae.data.address import Address, Place
from cristae.data.files import storage_errors

PATTERN = "cristae-blocks*.jsonl"
"""The files of a journal inside the group, of this version and of older ones, which wrote a single file."""
OBJECTS = "cristae-blocks"
"""What the objects of a journal in a store lie below, as `BLOCK.json`: a store cannot append."""


@dataclass(frozen=True)
class Entry:
    """One finished block."""

    block: int
    """Its place in the plan."""
    box: str
    """Its voxels in the volume, `Z0:Z1,Y0:Y1,X0:X1`."""
    input: str
    """SHA-256 of the grey values that were read for it; empty when the mask left nothing to do."""
    output: str
    """SHA-256 of the labels, and of the probabilities if they are kept."""
    empty: bool = False
    """Whether it was skipped because there is nothing in it."""


class Journal:
    """Appends entries, each flushed to the disk before `add` returns. Thread-safe, and safe among processes."""

    def __init__(self, folder: Place) -> None:
        """Open the journal in a folder.

        Args:
            folder: Of the prediction. A file of this writer's own appears there with its first entry,
                in a store an object with each.
        """
        self.folder = folder
        self.path = folder / PATTERN.replace("*", f"-{uuid.uuid4().hex}")
        self._lock = threading.Lock()

    def add(self, entry: Entry) -> None:
        """Record a block whose voxels are on disk.

        Raises:
            StorageError: The disk is full or the place may not be written.
        """
        line = json.dumps(asdict(entry), separators=(",", ":")) + "\n"
        path = self.path
        if isinstance(path, Address):
            (path.parent / OBJECTS / f"{entry.block}.json").write_bytes(line.encode())
            return
        with self._lock, storage_errors(path), path.open("ab") as file:
            start = "\n" if file.tell() and not _ends_a_line(path) else ""
            file.write((start + line).encode())
            file.flush()
            os.fsync(file.fileno())

    def read(self, wanted: Collection[int] | None = None) -> dict[int, Entry]:
        """Finished blocks of all writers by their place, or those of some places.

        A line that a kill cut off, or that is damaged, counts as not written. A block that was predicted again has
        several entries; the last one of the newest file holds.
        """
        found: dict[int, Entry] = {}
        for content in self._contents(wanted):
            for line in content.split(b"\n"):
                try:
                    facts = json.loads(line)
                    if wanted is not None and facts["block"] not in wanted:
                        continue  # checking all fields of very many lines takes its time
                    entry = facts_from(Entry, facts, "block")
                except (ValueError, TypeError, KeyError, RecursionError):
                    continue
                found[entry.block] = entry
        return found

    def summary(self) -> dict[str, Any]:
        """What remains of the journal when all is done: how many blocks, and one hash of all their hashes."""
        entries = [entry for _, entry in sorted(self.read().items())]
        return {
            "blocks": len(entries),
            "blocks_masked_out": sum(not entry.input for entry in entries),
            "input_sha256": hash_of(entry.input for entry in entries),
            "output_sha256": hash_of(entry.output for entry in entries),
        }

    def remove(self) -> None:
        """Delete all files: readers of Zarr would stumble over files that are not theirs."""
        if isinstance(self.folder, Address):
            (self.folder / OBJECTS).remove_below()
            return
        for path in self.folder.glob(PATTERN):
            path.unlink(missing_ok=True)

    def _contents(self, wanted: Collection[int] | None) -> list[bytes]:
        if not isinstance(self.folder, Address):
            return _oldest_first(self.folder)
        objects = self.folder / OBJECTS
        names = [name for name in objects.list() if wanted is None or _block_of(name) in wanted]
        return [content for content in objects.find(names) if content is not None]


def _block_of(name: str) -> int:
    """The block of an object's name; -1 where somebody else has put it there."""
    number = name.removesuffix(".json")
    return int(number) if number.isdecimal() else -1


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _oldest_first(folder: Path) -> list[bytes]:
    """The contents of a journal's files, in the order of their last change."""
    found = []
    for path in folder.glob(PATTERN):
        with suppress(FileNotFoundError):  # another process has just finished the prediction
            found.append((path.stat().st_mtime_ns, path.name, path.read_bytes()))
    return [content for _, _, content in sorted(found)]


def hash_of(hashes: Iterable[str]) -> str:
    """One SHA-256 of many, in their order."""
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 of the voxels of some arrays, one after the other."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()
