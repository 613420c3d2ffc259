"""An image with the grain-filtered copies of its slices: each slice is filtered as a whole, whatever box is asked for.

What was filtered waits on disk, in a file without a name that goes with the process however it ends. So a slice is
filtered once where the boxes that need it follow each other, and memory is that of few slices at a time.
"""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.files import storage_errors
from cristae.data.image import Image
from cristae.preprocess.histogram import read_finite

_AT_ONCE_BYTES = 1 << 30
"""Memory for slices that are filtered at the same time, where nobody says how many; one slice may take more."""
_TREE_BYTES = 64
"""Of a tree of shapes, for each pixel."""


class PassingFile:
    """A file without a name, which several images may share: processes may open only so many."""

    def __init__(self, folder: Path | None = None) -> None:
        """
        Args:
            folder: Where it lies; None is the system's folder for passing files.
        """
        self.folder = Path(tempfile.gettempdir()) if folder is None else folder
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()

    def write(self, content: np.ndarray, place: int | None = None) -> int:
        """Write an array to a place, None being the end of the file. Returns the place.

        Raises:
            StorageError: The disk is full or the folder may not be written.
        """
        with self._lock, storage_errors(self.folder):
            file = self._opened()
            place = file.seek(0, 2) if place is None else file.seek(place)
            file.write(content.data)
            return place

    def read(self, content: np.ndarray, place: int) -> None:
        """Fill an array with what was written to a place."""
        with self._lock, storage_errors(self.folder):
            file = self._opened()
            file.seek(place)
            content[:] = np.frombuffer(file.read(content.nbytes), content.dtype).reshape(content.shape)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115  # it stays open as long as this does
        return self._file


class FilteredSlices:
    """An image, followed by as many copies as there are areas; reading is thread-safe."""

    def __init__(
        self,
        image: Image,
        areas_px: Sequence[int],
        *,
        file: PassingFile | None = None,
        most: int | None = 1,
        threads: int | None = None,
    ) -> None:
        """
        Args:
            image: On the grid that networks work on.
            areas_px: In the order of their channels.
            file: Where what was filtered waits; None is one of its own in the system's folder for passing files.
            most: Slices that wait at most, of which those go first that were asked for least recently; None keeps all.
                Slices that are filtered at the same time may be more.
            threads: Slices that are filtered at the same time; None is as many as there are cores, and fewer where
                slices are large. Results do not depend on it.

        Raises:
            VolumeError: The image is none of grey values, or a slice is too large, or smaller than an area.
        """
        from cristae.preprocess.grain_image import require_filterable  # takes the compiler

        require_filterable(image, areas_px)
        self.image = image
        self.areas_px = tuple(areas_px)
        self._threads = threads or slices_at_once(image.shape, image.dtype.itemsize, len(self.areas_px))
        self.file = PassingFile() if file is None else file
        self._most = None if most is None else max(most, self._threads)
        self._places: OrderedDict[int, int] = OrderedDict()  # of slices in the file, the latest asked for last
        self._lock = threading.Lock()

    @property
    def shape(self) -> Triple:
        """Voxels (z, y, x) of the image."""
        return self.image.shape

    def read(self, box: Box) -> np.ndarray:
        """Grey values and filtered ones (1 + areas, Z, Y, X) of a box inside the image, in the image's type.

        Raises:
            VolumeError: A slice of the box holds NaN or infinite values, wherever in the slice they are.
            StorageError: The disk is full.
        """
        grey = self.image.read(box)
        found = np.empty((1 + len(self.areas_px), *box.shape), grey.dtype)
        found[0] = grey
        _, rows, columns = box.slices
        first, last = box.start[0], box.stop[0]
        with self._lock:
            for some in _groups(first, last, self._threads):
                self._filter(some)
                for z in some:
                    found[1:, z - first] = self._rows(z, rows)[..., columns]
        return found

    def _filter(self, slices: range) -> None:
        """Make sure that what is filtered of some slices is in the file."""
        for z in slices:
            if z in self._places:
                self._places.move_to_end(z)
        for run in _runs([z for z in slices if z not in self._places]):
            grey = read_finite(self.image, Box((run.start, 0, 0), (run.stop, *self.shape[1:])))
            for z, planes in zip(run, filtered_planes(grey, self.areas_px, self._threads), strict=True):
                self._places[z] = self.file.write(planes, self._free_place())

    def _free_place(self) -> int | None:
        """The place of the slice that goes for one more, which it loses; None where there is room behind."""
        if self._most is None or len(self._places) < self._most:
            return None
        return self._places.popitem(last=False)[1]

    def _rows(self, z: int, rows: slice) -> np.ndarray:
        """Some rows of a slice that is in the file: (areas, Y, X)."""
        dtype, (_, height, width) = self.image.dtype, self.shape
        found = np.empty((len(self.areas_px), rows.stop - rows.start, width), dtype)
        for number, plane in enumerate(found):
            before = (number * height + rows.start) * width * dtype.itemsize
            self.file.read(plane, self._places[z] + before)
        return found


def filtered_planes(grey: np.ndarray, areas_px: Sequence[int], threads: int) -> np.ndarray:
    """Finite slices (Z, Y, X) filtered with each area: (Z, areas, Y, X) of their type."""
    from cristae.preprocess.grain import grain_filter_all  # takes the compiler, which recipes do without

    found = grain_filter_all(grey, areas_px, threads=threads)
    return found.astype(grey.dtype, copy=False)  # stacked, they have the machine's order of bytes


def bytes_of_slice(shape: Triple, itemsize: int, areas: int) -> int:
    """Memory that filtering one slice of an image takes, what goes in and comes out included.

    Args:
        shape: Of the image (z, y, x).
        itemsize: Bytes of a grey value.
        areas: How many.
    """
    return shape[1] * shape[2] * (_TREE_BYTES + itemsize * (2 + 3 * areas))


def slices_at_once(shape: Triple, itemsize: int, areas: int, room: int = _AT_ONCE_BYTES) -> int:
    """How many slices are filtered at the same time in `room` bytes: at least one, at most one for each core."""
    from cristae.compiled import usable_cores

    return max(1, min(usable_cores(), room // max(1, bytes_of_slice(shape, itemsize, areas))))


def _groups(first: int, last: int, size: int) -> Iterator[range]:
    for start in range(first, last, size):
        yield range(start, min(start + size, last))


def _runs(slices: Sequence[int]) -> Iterator[range]:
    """Neighbours that follow each other, together."""
    start = 0
    for place, z in enumerate(slices, start=1):
        if place == len(slices) or slices[place] != z + 1:
            yield range(slices[start], z + 1)
            start = place
