"""The grid of blocks that maps are worked on in, and the rim of a block."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from cristae.data.box import Box, Triple
from cristae.data.image import Image

BLOCK_VOXELS = 1 << 22
"""Roughly what is held in memory of each map at once."""


def block_shape(images: Sequence[Image], *, multiple: Triple, voxels: int = BLOCK_VOXELS) -> Triple:
    """Edges (z, y, x) of blocks that follow the chunks on disk.

    Args:
        images: Of one shape.
        multiple: The edges are multiples of these, also where the image is smaller.
        voxels: Roughly what a block holds; at most twice as much, unless the smallest block of these multiples does.
    """
    shape = [-(-edge // step) * step for edge, step in zip(images[0].shape, multiple, strict=True)]
    chunks = [max(image.chunks[axis] for image in images) for axis in range(3)]
    size = [min(-(-edge // step) * step, most) for edge, step, most in zip(chunks, multiple, shape, strict=True)]
    for axis in (2, 1, 0):
        while size[axis] < shape[axis] and 2 * prod(size) <= voxels:
            size[axis] = min(2 * size[axis], shape[axis])
    while prod(size) > 2 * voxels and size != list(multiple):  # sections wider than memory likes
        longest = max((axis for axis in range(3) if size[axis] > multiple[axis]), key=lambda axis: size[axis])
        size[longest] = -(-size[longest] // (2 * multiple[longest])) * multiple[longest]
    z, y, x = size
    return z, y, x


def with_rim(box: Box, shape: Sequence[int]) -> tuple[Box, list[tuple[int, int]]]:
    """The box and one voxel around it inside `shape`, and what is missing of that rim at the edges of the volume.

    Returns:
        The box to read, and the voxels to pad before and after on each axis.
    """
    wide = box.grow((1, 1, 1))
    inside = wide.intersect(Box.of_shape(shape))
    missing = zip(wide.start, inside.start, inside.stop, wide.stop, strict=True)
    return inside, [(a - w, e - b) for w, a, b, e in missing]
