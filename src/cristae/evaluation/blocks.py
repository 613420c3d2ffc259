"""How images of one shape are read: boxes that follow their chunks and fit in memory."""

from __future__ import annotations

from cristae.data.box import Box
from cristae.data.image import Image

BLOCK_VOXELS = 1 << 24
"""Roughly what is read of each image at once."""


def blocks_of(*images: Image, voxels: int | None = None) -> list[Box]:
    """Cut images of one shape into boxes of whole chunks, of about 16 million voxels each or as many as asked for."""
    size = [max(image.chunks[axis] for image in images) for axis in range(3)]
    shape = images[0].shape
    for axis in (2, 1, 0):
        while size[axis] < shape[axis] and 2 * size[0] * size[1] * size[2] <= (voxels or BLOCK_VOXELS):
            size[axis] *= 2
        size[axis] = min(size[axis], shape[axis])
    return list(Box.of_shape(shape).blocks(size))


def slabs_of(*images: Image) -> list[Box]:
    """Cut images of one shape into slabs of whole slices, as deep as chunks and about 16 million voxels allow."""
    depth, shape = max(image.chunks[0] for image in images), images[0].shape
    fits = max(1, BLOCK_VOXELS // (shape[1] * shape[2]))
    step = min(depth, fits) if depth > 1 else min(8, fits)
    return list(Box.of_shape(shape).blocks((step, *shape[1:])))
