"""The connected pieces of one value of a map, and how large they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cristae.data.box import Box
from cristae.data.image import Image
from cristae.metrics.components import Components, Connectivity, find_components
from cristae.postprocessing.workplace import Advance, Workplace


def pieces_of(image: Image, value: int, connectivity: Connectivity, work: Workplace, advance: Advance) -> Components:
    """The pieces of the voxels that have a value, numbered by their first voxel, whatever the blocks."""
    return find_components(_is(image, value), work.blocks, connectivity, advance=advance)


def sizes_of(pieces: Components, work: Workplace, advance: Advance) -> np.ndarray:
    """int64 (n + 1,): voxels of each piece; entry 0 counts nothing."""
    sizes = np.zeros(pieces.count + 1, np.int64)
    for block in work.blocks:
        sizes += np.bincount(pieces.read(block).ravel(), minlength=len(sizes))
        advance()
    sizes[0] = 0
    return sizes


def _is(image: Image, value: int) -> Callable[[Box], np.ndarray]:
    def read(box: Box) -> np.ndarray:
        mask: np.ndarray = image.read(box) == value
        return mask

    return read
