"""The numbered objects of one class on disk: as many voxels as the volume, never all in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cristae.analysis.class_map import ClassMap
from cristae.data.block_grid import with_rim
from cristae.data.box import Box, Triple
from cristae.data.classes import BACKGROUND_COLOR
from cristae.data.formats.ome_zarr import ZarrSpec, build_pyramid, create_multiscale, pyramid_levels
from cristae.data.formats.zarr_arrays import find_node, open_array, read_block, write_block
from cristae.progress import Progress

CHUNK: Triple = (16, 128, 128)
"""What is decoded at once, so that boxes around single objects are read quickly."""


class ObjectMap:
    """An OME-Zarr label image of object numbers (uint32, 0 for none) that may be read and changed in any box."""

    def __init__(self, path: Path, classes: ClassMap, blocks: Triple, *, name: str) -> None:
        """Make the empty image.

        Args:
            path: The new group.
            classes: Gives shape, voxel size and origin.
            blocks: The edges of what is mostly written at once; quickest as multiples of `chunk_of` the shape.
            name: What viewers show.
        """
        self.path = path
        self.shape = classes.shape
        chunk, size = chunk_of(self.shape), classes.voxel_size_nm
        z, y, x = (-(-edge // step) * step for edge, step in zip(blocks, chunk, strict=True))
        spec = ZarrSpec(self.shape, np.dtype(np.uint32), chunk, (z, y, x), size, classes.origin_nm)
        levels = len(pyramid_levels(self.shape, size))
        create_multiscale(path, spec, name=name, classes=((0, "none", BACKGROUND_COLOR),), levels=levels)
        node = find_node(path / "0")
        if node is None:
            raise AssertionError(f"{path}: the array was not made")
        self._store = open_array(node)

    def read(self, box: Box) -> np.ndarray:
        """uint32 (Z, Y, X)."""
        return read_block(self._store, box.slices, self.path)

    def read_with_rim(self, box: Box) -> np.ndarray:
        """uint32 (Z + 2, Y + 2, X + 2): the box and one voxel around it, 0 outside the volume."""
        inside, missing = with_rim(box, self.shape)
        return np.pad(self.read(inside), missing)

    def write(self, box: Box, ids: np.ndarray) -> None:
        """Write uint32 (Z, Y, X)."""
        write_block(self._store, box.slices, ids, self.path)

    def remove(self, drop: np.ndarray, blocks: Sequence[Box]) -> None:
        """Set objects to 0; `drop` is bool, for each number whether it is removed."""
        for block in blocks:
            ids = self.read(block)
            gone = drop[ids]
            if gone.any():
                self.write(block, np.where(gone, np.uint32(0), ids))

    def finish(self, progress: Progress) -> None:
        """Fill the coarser levels."""
        build_pyramid(self.path, method="nearest", progress=progress)


def chunk_of(shape: Triple) -> Triple:
    """The chunks of an object map of this shape."""
    z, y, x = (min(chunk, edge) for chunk, edge in zip(CHUNK, shape, strict=True))
    return z, y, x
