"""Grey maps as foreground and background, down to the comparison sign."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import Image
from cristae.data.values import grey_of_colors
from cristae.errors import ScoreError

BINARY_CLASSES = Classes(names=("background", "foreground"))
"""What a binarised map can hold."""


def score_map(image: Image, *, blocks: Callable[[Image], list[Box]]) -> Image:
    """A probability map, read lazily: uint8 where 255 stands for 1, or floats from 0 to 1.

    Integers are scores from 0 to 255. A stack of integers whose largest value is at most 1 holds 0 and 1; its 1
    becomes 255.

    Args:
        image: A grey map.
        blocks: Cuts an image into the boxes in which it is looked through once.

    Raises:
        ScoreError: The values are out of range, here or later when the image is read.
    """
    if image.palette is not None:
        raise ScoreError(
            f"{image.path}: is a palette image, whose values are numbers of colours and no scores; save it as grey, or "
            "give a recipe that maps its values to classes (--recipe)"
        )
    if image.dtype.kind == "f":
        return image.map(lambda voxels: _checked(_grey(voxels, image), image), image.dtype)
    if image.dtype.kind not in "bui":
        raise ScoreError(f"{image.path}: holds {image.dtype} values; a probability map holds integers or floats")
    low, high = _range(image, blocks(image))
    if low < 0 or high > 255:
        raise ScoreError(
            f"{image.path}: holds values from {low} to {high}; a probability map has 0 to 255, or 0 and 1, or floats "
            "from 0 to 1. Scale it, or give a recipe if these are class ids"
        )
    if high > 1:
        return image.map(lambda voxels: _grey(voxels, image).astype(np.uint8, copy=False), np.dtype(np.uint8))
    return image.map(lambda voxels: np.where(_grey(voxels, image), 255, 0).astype(np.uint8), np.dtype(np.uint8))


def inverted(scores: np.ndarray) -> np.ndarray:
    """1 - p of a probability map as `score_map` reads it, in its own type: 255 - v of uint8."""
    return 255 - scores if scores.dtype == np.uint8 else 1 - scores


def check_threshold(threshold: float) -> None:
    """Do nothing for a threshold between 0 and 1.

    Raises:
        ScoreError: It is not one.
    """
    if not 0 <= threshold <= 1:
        raise ScoreError(f"a threshold lies between 0 and 1, got {threshold:g}")


def binarize(scores: np.ndarray, threshold: float) -> np.ndarray:
    """uint8, 1 where a score is strictly greater than `threshold`.

    8-bit scores are divided by 255 in 32-bit and compared in 64-bit floats, so that 51 counts at a threshold of 0.2.

    Args:
        scores: What an image of `score_map` gives.
        threshold: From 0 to 1.
    """
    if scores.dtype.kind == "f":
        return (scores.astype(np.float64) > threshold).view(np.uint8)
    values = (np.arange(256, dtype=np.float32) / np.float32(255)).astype(np.float64)
    first = int(np.searchsorted(values, threshold, side="right"))
    if first > 255:
        return np.zeros(scores.shape, np.uint8)
    found: np.ndarray = (scores >= np.uint8(first)).view(np.uint8)
    return found


def _range(image: Image, blocks: list[Box]) -> tuple[int, int]:
    """Smallest and largest value. Of bytes only what matters is looked for: whether one is greater than 1."""
    low, high = 0, 0
    for box in blocks:
        grey = _grey(image.read(box), image)
        low, high = min(low, int(grey.min())), max(high, int(grey.max()))
        if high > 1 and image.dtype == np.uint8:
            break
    return low, high


def _grey(voxels: np.ndarray, image: Image) -> np.ndarray:
    return grey_of_colors(voxels, image, "the probability map") if image.colors > 1 else voxels


def _checked(voxels: np.ndarray, image: Image) -> np.ndarray:
    if not ((voxels >= 0) & (voxels <= 1)).all():
        raise ScoreError(f"{image.path}: holds NaN or values outside 0 to 1; a map of floats has scores from 0 to 1")
    return voxels
