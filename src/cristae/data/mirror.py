"""Images that continue beyond their borders: mirrored there, without repeating the voxel at the edge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cristae.data.box import Box, Triple


def mirrored_positions(start: int, stop: int, length: int) -> np.ndarray:
    """Where the voxels `start` to `stop - 1` of an axis lie when its `length` voxels are mirrored as often as needed.

    Example:
        >>> mirrored_positions(-3, 6, 4).tolist()
        [3, 2, 1, 0, 1, 2, 3, 2, 1]
    """
    period = max(1, 2 * (length - 1))
    position = np.arange(start, stop) % period
    return np.minimum(position, period - position) if length > 1 else position


def mirrored_box(box: Box, shape: Triple) -> Box:
    """The voxels inside an image of this shape that a box, which may reach outside, shows or mirrors."""
    if min(box.start) >= 0 and all(b <= n for b, n in zip(box.stop, shape, strict=True)):
        return box
    axes = [mirrored_positions(a, b, n) for a, b, n in zip(box.start, box.stop, shape, strict=True)]
    z, y, x = ((int(axis.min()), int(axis.max()) + 1) for axis in axes)
    return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))


def read_mirrored(read: Callable[[Box], np.ndarray], box: Box, shape: Triple) -> np.ndarray:
    """Voxels (..., Z, Y, X) of a box that may reach outside the image, from one reading of what it needs.

    Args:
        read: Gives the voxels (..., Z, Y, X) of a box inside the image.
        box: What is wanted.
        shape: The image's (z, y, x).
    """
    needed = mirrored_box(box, shape)
    return mirrored(read(needed), needed, box, shape)


def mirrored(found: np.ndarray, needed: Box, box: Box, shape: Triple) -> np.ndarray:
    """Voxels (..., Z, Y, X) of a box, made of those `found` in the box `needed` that `mirrored_box` says."""
    if needed == box:
        return found
    for axis in range(3):
        place = mirrored_positions(box.start[axis], box.stop[axis], shape[axis]) - needed.start[axis]
        found = found.take(place, axis=axis - 3)
    return found
