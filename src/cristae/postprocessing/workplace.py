"""Where post-processing keeps its intermediate maps: on disk for volumes of any size, in memory for small ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.block_grid import with_rim
from cristae.data.box import Box, Triple
from cristae.data.formats.ome_zarr import ZarrSpec, create_multiscale
from cristae.data.formats.zarr_arrays import find_node, open_array, read_block, write_block
from cristae.data.image import Image, VoxelSize

Advance = Callable[[], None]
CHUNK: Triple = (16, 128, 128)
"""What is decoded at once, so that boxes around single objects are read quickly."""


class Store(ABC):
    """Voxels of the whole volume that may be read and changed in any box; 0 where nothing was written."""

    image: Image

    def read(self, box: Box) -> np.ndarray:
        """(Z, Y, X)."""
        return self.image.read(box)

    def read_with_rim(self, box: Box, outside: int = 0) -> np.ndarray:
        """(Z + 2, Y + 2, X + 2): the box and one voxel around it, `outside` beyond the volume."""
        return read_with_rim(self.image, box, outside)

    @abstractmethod
    def write(self, box: Box, voxels: np.ndarray) -> None:
        """Write (Z, Y, X)."""


class DiskStore(Store):
    """A Zarr array."""

    def __init__(self, path: Path, image: Image, *, new: bool, edges: Triple) -> None:
        """Make the array, or open it.

        Args:
            path: Of the OME-Zarr group.
            image: Gives shape, type, voxel size and origin.
            new: Whether it is to be made.
            edges: Of the blocks that are written, multiples of `chunk_of` the shape.
        """
        if new:
            chunk = chunk_of(image.shape)
            spec = ZarrSpec(image.shape, image.dtype, chunk, edges, image.voxel_size_nm, image.origin_nm)
            create_multiscale(path, spec, name=path.stem)
        node = find_node(path / "0")
        if node is None:
            raise AssertionError(f"{path}: the array was not made")
        self._path, self._array = path, open_array(node)
        self.image = replace(image, path=path, format="ome-zarr", chunks=edges, reader=self._read)

    def write(self, box: Box, voxels: np.ndarray) -> None:
        """Write (Z, Y, X); when this returns they are on disk."""
        write_block(self._array, box.slices, voxels, self._path)

    def _read(self, box: Box) -> np.ndarray:
        return read_block(self._array, box.slices, self._path)


class MemoryStore(Store):
    """An array in memory."""

    def __init__(self, image: Image) -> None:
        self._array: np.ndarray = np.zeros(image.shape, image.dtype)
        self.image = replace(image, format="array", reader=lambda box: self._array[box.slices])

    def write(self, box: Box, voxels: np.ndarray) -> None:
        """Write (Z, Y, X)."""
        self._array[box.slices] = voxels


@dataclass(frozen=True, eq=False)
class Workplace:
    """The grid of blocks, and room for intermediate maps."""

    shape: Triple
    edges: Triple
    """Of the blocks."""
    folder: Path | None = None
    """Where maps are kept; None keeps them in memory."""
    voxel_size_nm: VoxelSize | None = None
    origin_nm: VoxelSize | None = None

    @property
    def blocks(self) -> list[Box]:
        """Disjoint, together the whole volume, z slowest."""
        return list(Box.of_shape(self.shape).blocks(self.edges))

    def new(self, name: str, dtype: np.dtype[Any]) -> Store:
        """An empty map; the name is new in this place."""
        image = self._image(name, dtype)
        if self.folder is None:
            return MemoryStore(image)
        chunk = chunk_of(self.shape)
        z, y, x = (-(-edge // step) * step for edge, step in zip(self.edges, chunk, strict=True))
        return DiskStore(self.folder / f"{name}.zarr", image, new=True, edges=(z, y, x))

    def again(self, path: Path, dtype: np.dtype[Any]) -> Store:
        """A map on disk that was filled before."""
        return DiskStore(path, self._image(path.stem, dtype), new=False, edges=self.edges)

    def below(self, name: str) -> Workplace:
        """Room for the maps of one step."""
        return replace(self, folder=None if self.folder is None else self.folder / name)

    def _image(self, name: str, dtype: np.dtype[Any]) -> Image:
        return Image(
            path=Path(name),
            format="array",
            shape=self.shape,
            dtype=np.dtype(dtype),
            reader=lambda box: np.zeros(box.shape, dtype),
            chunks=self.edges,
            voxel_size_nm=self.voxel_size_nm,
            origin_nm=self.origin_nm,
        )


def read_with_rim(image: Image, box: Box, outside: int = 0) -> np.ndarray:
    """(Z + 2, Y + 2, X + 2): the box and one voxel around it, `outside` beyond the volume."""
    inside, missing = with_rim(box, image.shape)
    return np.pad(image.read(inside), missing, constant_values=outside)


def chunk_of(shape: Triple) -> Triple:
    """The chunks of maps of this shape."""
    z, y, x = (min(chunk, edge) for chunk, edge in zip(CHUNK, shape, strict=True))
    return z, y, x
