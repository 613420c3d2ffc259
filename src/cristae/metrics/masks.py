"""Masks as they are read from truth and prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cristae.data.box import Box
from cristae.errors import ScoreError

Reader = Callable[[Box], np.ndarray]
"""Gives the voxels (Z, Y, X) of a box."""


def as_mask(voxels: np.ndarray, what: str) -> np.ndarray:
    """Where integers or booleans are not 0, as bool.

    Raises:
        ScoreError: They are floats or something else.
    """
    array = np.asarray(voxels)
    if array.dtype.kind not in "bui":
        raise ScoreError(f"{what} holds {array.dtype}; expected a mask: integers or booleans, 0 outside")
    mask: np.ndarray = array != 0
    return mask


def read_mask(read: Reader, box: Box, what: str) -> np.ndarray:
    """The mask (Z, Y, X) of a box.

    Raises:
        ScoreError: What is read is no mask, or has another shape than the box.
    """
    mask = as_mask(read(box), what)
    if mask.shape != box.shape:
        raise ScoreError(f"{what} of box {box} has shape {mask.shape}, expected {box.shape}")
    return mask


def filled_box(blocks: Sequence[Box]) -> Box:
    """The box that disjoint blocks fill.

    Raises:
        ScoreError: There is none, or they leave gaps or overlap.
    """
    if not blocks:
        raise ScoreError("there is no block to look at")
    box = Box.around(blocks)
    if len(set(blocks)) != len(blocks) or sum(block.size for block in blocks) != box.size:
        raise ScoreError(
            f"blocks must be disjoint and together fill a box, as objects reach over several; these do not fill {box}"
        )
    return box
