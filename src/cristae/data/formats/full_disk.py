"""A file that HDF5 can close even when the disk is full."""

from __future__ import annotations

import io
import os
from typing import Any


class PatientFile(io.FileIO):
    """A new file whose writes always succeed in the eyes of HDF5, which crashes when it cannot close a file properly.

    From the first refusal on nothing more reaches the disk: the rest, which is what HDF5 still holds back when it is
    closed, stays in memory. Whoever writes has to look at `failure` and stop.
    """

    failure: OSError | None = None
    """What the system refused first."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(os.fspath(path), "w+b")
        self._kept: list[tuple[int, bytes]] = []

    def write(self, content: Any) -> int:
        """Write all of `content` at the present place."""
        at, rest = self.tell(), memoryview(content).cast("B")
        size = len(rest)
        try:
            while self.failure is None and len(rest):
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.failure = error
        if len(rest):
            self._kept.append((at + size - len(rest), bytes(rest)))
            self.seek(at + size)
        return size

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from the present place, with zeros where nothing was written."""
        at, view = self.tell(), memoryview(buffer).cast("B")
        found = super().readinto(view) or 0
        view[found:] = bytes(len(view) - found)
        for start, content in self._kept:
            low, high = max(at, start), min(at + len(view), start + len(content))
            if low < high:
                view[low - at : high - at] = content[low - start : high - start]
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file."""
        try:
            return super().truncate(size) if self.failure is None else size or 0
        except OSError as error:
            self.failure = error
            return size or 0
