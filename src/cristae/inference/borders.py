"""How a volume is extended beyond its borders."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cristae.data.box import Box, Triple
from cristae.data.mirror import mirrored_positions

Border = Literal["zeros", "mirror", "repeat"]
"""Zeros; the volume mirrored without repeating the voxel at its edge; or mirrored with it repeated."""
Borders = tuple[Border, Border, Border]
"""One for each axis (z, y, x)."""


def positions(border: Border, start: int, stop: int, length: int) -> np.ndarray:
    """The voxels of an axis that fill the positions `start` to `stop - 1`; zeros are left out.

    Example:
        >>> positions("repeat", -3, 6, 4).tolist()
        [2, 1, 0, 0, 1, 2, 3, 3, 2]
        >>> positions("zeros", -3, 6, 4).tolist()
        [0, 1, 2, 3]
    """
    if border == "mirror":
        return mirrored_positions(start, stop, length)
    if border == "zeros":
        return np.arange(max(start, 0), min(stop, length))
    place = np.arange(start, stop) % (2 * length)
    return np.minimum(place, 2 * length - 1 - place)


def inner_box(box: Box, shape: Triple, borders: Borders) -> Box:
    """The voxels of a volume of this shape that fill a box, which may reach outside."""
    axes = [positions(*each) for each in zip(borders, box.start, box.stop, shape, strict=True)]
    z, y, x = ((int(axis.min()), int(axis.max()) + 1) for axis in axes)
    return Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))


def extend(values: Tensor, known: Box, box: Box, shape: Triple, borders: Borders) -> Tensor:
    """Values of a box that may reach outside the volume.

    Args:
        values: (..., Z, Y, X) on the box `known`.
        known: Inside the volume; it must contain `inner_box(box, shape, borders)`.
        box: What is wanted.
        shape: The volume's (z, y, x).
        borders: What lies outside.
    """
    beyond = []
    for axis, border in enumerate(borders):
        start, stop, length = box.start[axis], box.stop[axis], shape[axis]
        place = positions(border, start, stop, length) - known.start[axis]
        if (np.diff(place) == 1).all():
            values = values.narrow(axis - 3, int(place[0]), len(place))
        else:
            values = values.index_select(axis - 3, torch.from_numpy(place).to(values.device))
        zeros = (max(0, -start), max(0, stop - length)) if border == "zeros" else (0, 0)
        beyond.append(zeros)
    amounts = [amount for pair in reversed(beyond) for amount in pair]
    return F.pad(values, amounts) if any(amounts) else values
