"""Going through an image in bands of whole slices, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cristae.data.box import Box
from cristae.data.image import Image

BAND_BYTES = 256 * 2**20
"""Largest band read at once, unless a single slice is larger."""


def slice_bytes(image: Image) -> int:
    """Bytes of one decoded slice."""
    return image.shape[1] * image.shape[2] * image.colors * image.dtype.itemsize


def bands(image: Image, *, depth: int | None = None) -> Iterator[Box]:
    """Disjoint boxes of whole slices, in order: as deep as the file's own chunks, as far as memory allows."""
    fits = max(1, BAND_BYTES // max(1, slice_bytes(image)))
    yield from Box.of_shape(image.shape).blocks((min(depth or image.chunks[0], fits), *image.shape[1:]))


def each_slice(image: Image) -> Iterator[np.ndarray]:
    """The slices one by one: (Y, X), or (Y, X, colors)."""
    for box in bands(image):
        yield from image.read(box)
