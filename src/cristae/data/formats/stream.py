"""Going through an image in bands of whole slices, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cristae.data.box import Box, Triple
from cristae.data.image import Image

BAND_BYTES = 256 * 2**20
"""Largest band read at once, unless the file's own chunks are larger."""


def slice_bytes(image: Image) -> int:
    """Bytes of one decoded slice."""
    return image.shape[1] * image.shape[2] * image.colors * image.dtype.itemsize


def bands(image: Image, *, step: Triple | None = None) -> Iterator[Box]:
    """Disjoint boxes over the full width, in the order in which voxels are stored.

    Whole slices, as many as `step` is deep and memory allows; rows of one slice where not even one fits.

    Args:
        image: What to go through.
        step: Grid to follow, in voxels (z, y, x); None follows the file's own chunks.
    """
    depth, rows, _ = step or image.chunks
    fits = BAND_BYTES // max(1, slice_bytes(image))
    if fits >= 1:
        shape = (min(depth, fits), image.shape[1], image.shape[2])
    else:
        row_bytes = slice_bytes(image) // image.shape[1]
        shape = (1, max(rows, BAND_BYTES // row_bytes // rows * rows), image.shape[2])
    yield from Box.of_shape(image.shape).blocks(shape)


def each_slice(image: Image) -> Iterator[np.ndarray]:
    """The slices one by one: (Y, X), or (Y, X, colors)."""
    depth = max(1, min(image.chunks[0], BAND_BYTES // max(1, slice_bytes(image))))
    for box in Box.of_shape(image.shape).blocks((depth, *image.shape[1:])):
        yield from image.read(box)
