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


def in_order(pieces: np.ndarray) -> np.ndarray:
    """The same pieces, numbered from 1 by their first voxel."""
    found, first = np.unique(pieces, return_index=True)
    found, first = found[found > 0], first[found > 0]
    number = np.zeros(int(pieces.max()) + 1, np.int32)
    number[found[np.argsort(first)]] = np.arange(1, len(found) + 1)
    numbered: np.ndarray = number[pieces]
    return numbered


def _is(image: Image, value: int) -> Callable[[Box], np.ndarray]:
    def read(box: Box) -> np.ndarray:
        mask: np.ndarray = image.read(box) == value
        return mask

    return read
