"""The features of all networks at all places, on disk: only a few rows of them are ever in memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np

from cristae.data.files import storage_errors
from cristae.errors import StorageError
from cristae.words import memory


class FeatureStore:
    """A passing file with a table of channels and pixels for each place; it is gone when the store is closed."""

    def __init__(self, folder: Path, *, channels: int, pixels: int, places: int) -> None:
        """
        Args:
            folder: Where the file is, which has no name there.
            channels: N, of all networks together.
            pixels: P, of the grid at one place.
            places: How many.

        Raises:
            StorageError: There is not enough room, or nothing can be written.
        """
        self.folder, self.channels, self.pixels, self.places = folder, channels, pixels, places
        needed = 4 * channels * pixels * places
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(folder).free
            if free < needed:
                raise StorageError(
                    f"{folder}: features of {channels} channels take {memory(needed)} while they are compared, and "
                    f"{memory(free)} are free; free some space, or look at fewer places, blocks or a smaller grid"
                )
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # open as long as this is

    def write(self, place: int, first: int, values: np.ndarray) -> None:
        """Keep the features float32 (C, P) of the channels from `first` on at a place."""
        assert values.dtype == np.float32
        assert values.shape[1] == self.pixels
        with storage_errors(self.folder):
            self._file.seek(self._offset(place, first))
            rest = np.ascontiguousarray(values).data.cast("B")
            while rest:
                rest = rest[self._file.write(rest) :]

    def writer(self, place: int, first: int) -> Callable[[int, np.ndarray], None]:
        """What keeps features of one network at a place: `write`, with channels counted from its first one."""
        return lambda channel, values: self.write(place, first + channel, values)

    def read(self, place: int, first: int, last: int) -> np.ndarray:
        """Features float32 (last - first, P) of some channels at a place."""
        found = np.empty((last - first, self.pixels), np.float32)
        rest = found.data.cast("B")
        self._file.seek(self._offset(place, first))
        while rest:
            count = self._file.readinto(rest)
            assert count, "every channel was written"
            rest = rest[count:]
        return found

    def _offset(self, place: int, channel: int) -> int:
        return 4 * self.pixels * (place * self.channels + channel)

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
