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


def binary_image(image: Image, threshold: float, *, blocks: Callable[[Image], list[Box]]) -> Image:
    """A lazily read uint8 image, 1 where the score is strictly greater than `threshold`.

    Integers are scores from 0 to 255, divided by 255 in 32-bit and compared in 64-bit floats, so that 51 counts at a
    threshold of 0.2. A stack of integers whose largest value is at most 1 holds 0 and 1 and is not divided. Floats
    are scores from 0 to 1.

    Args:
        image: A grey map.
        threshold: From 0 to 1.
        blocks: Cuts an image into the boxes in which it is looked through once.

    Raises:
        ScoreError: The threshold or the values are out of range, here or later when the image is read.
    """
    if not 0 <= threshold <= 1:
        raise ScoreError(f"a threshold lies between 0 and 1, got {threshold:g}")
    if image.dtype.kind == "f":
        return image.map(lambda voxels: _binarize_floats(_grey(voxels, image), threshold, image), np.dtype(np.uint8))
    if image.dtype.kind not in "bui":
        raise ScoreError(f"{image.path}: holds {image.dtype} values; a map to binarize holds integers or floats")
    ranges = [(int(grey.min()), int(grey.max())) for grey in (_grey(image.read(box), image) for box in blocks(image))]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if low < 0 or high > 255:
        raise ScoreError(f"{image.path}: holds values from {low} to {high}; a map to binarize has 0 to 255, or 0 and 1")
    scores = np.arange(256, dtype=np.float32) / np.float32(1 if high <= 1 else 255)
    lookup = (scores.astype(np.float64) > threshold).astype(np.uint8)
    return image.map(lambda voxels: lookup[_grey(voxels, image).astype(np.uint8)], np.dtype(np.uint8))


def _grey(voxels: np.ndarray, image: Image) -> np.ndarray:
    return grey_of_colors(voxels, image, "the map to binarize") if image.colors > 1 else voxels


def _binarize_floats(voxels: np.ndarray, threshold: float, image: Image) -> np.ndarray:
    if not ((voxels >= 0) & (voxels <= 1)).all():
        raise ScoreError(f"{image.path}: holds NaN or values outside 0 to 1; a map of floats to binarize has scores")
    return (voxels.astype(np.float64) > threshold).astype(np.uint8)
