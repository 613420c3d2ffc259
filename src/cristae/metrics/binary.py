"""Grey maps as foreground and background, down to the comparison sign."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import Image
from cristae.data.values import grey_of_colors
from cristae.errors import ScoreError

BINARY_CLASSES = Classes(names=("background", "foreground"))
"""What a binarised map can hold."""
_MOST_IDS = 20
"""A map of integers that holds none above this, apart from 255, holds class ids."""
_BYTES = np.dtype(np.uint8)
_PERCENT, _HALF_OF_16_BITS, _LARGEST_OF_16_BITS = 100, 32767, 65535


def probability_map(image: Image, *, blocks: Callable[[Image], list[Box]]) -> Image:
    """One probability map; see `probability_maps`."""
    return probability_maps([image], blocks=blocks)[0]


def probability_maps(images: Sequence[Image], *, blocks: Callable[[Image], list[Box]]) -> tuple[Image, ...]:
    """Probability maps of one file, read lazily: uint8 where 255 stands for 1, or floats from 0 to 1.

    Integers are probabilities times 255, or times 65535 where they are 16-bit and reach the upper half of that. Where
    the largest value of all maps is at most 1, they hold 0 and 1; their 1 becomes 255. Percentages are refused.

    Args:
        images: Grey maps of one type.
        blocks: Cuts an image into the boxes in which it is looked through once.

    Raises:
        ScoreError: The values are out of range, here or later when an image is read.
    """
    first = images[0]
    if first.palette is not None:
        raise ScoreError(
            f"{first.path}: is a palette image, whose values are palette indices, no probabilities; save it as grey, "
            "or give a recipe that maps its values to classes (--recipe)"
        )
    if first.dtype.kind == "f":
        return tuple(_mapped(image, partial(_checked, image=image), image.dtype) for image in images)
    if first.dtype.kind not in "bui":
        raise ScoreError(f"{first.path}: holds {first.dtype} values; a probability map holds integers or floats")
    seen = [_look(image, blocks(image)) for image in images]
    low, high = min(one.low for one in seen), max(one.high for one in seen)
    if first.dtype == np.uint16 and high > _HALF_OF_16_BITS:
        scale = np.float32(_LARGEST_OF_16_BITS)
        return tuple(_mapped(image, lambda grey: grey / scale, np.dtype(np.float32)) for image in images)
    if low < 0 or high > 255:
        raise ScoreError(
            f"{first.path}: holds values from {low} to {high}; a probability map has 0 to 255 (0 to 65535 where it is "
            "16-bit), or 0 and 1, or floats from 0 to 1. Scale it, or give a recipe if these are class ids"
        )
    if high == _PERCENT:
        raise ScoreError(
            f"{first.path}: its largest value is 100, as of percentages; a probability map of integers has 0 to 255. "
            "Scale it, or save it as floats from 0 to 1"
        )
    if high > 1 and any(one.small for one in seen) and not any(one.between for one in seen):
        raise ScoreError(
            f"{first.path}: holds small numbers{' and 255' if high == 255 else ''} alone, which look like class ids "
            "(255: not annotated), not like probabilities; give a recipe that maps them to classes (--recipe), or save "
            "a probability map as floats from 0 to 1"
        )
    if high > 1:
        return tuple(_mapped(image, lambda grey: grey.astype(np.uint8, copy=False), _BYTES) for image in images)
    return tuple(_mapped(image, lambda grey: np.where(grey, 255, 0).astype(np.uint8), _BYTES) for image in images)


def inverted(probabilities: np.ndarray) -> np.ndarray:
    """1 - p of a probability map as `probability_map` reads it, in its own type: 255 - v of uint8."""
    return 255 - probabilities if probabilities.dtype == np.uint8 else 1 - probabilities


def check_threshold(threshold: float) -> None:
    """Do nothing for a threshold between 0 and 1.

    Raises:
        ScoreError: It is not one.
    """
    if not 0 <= threshold <= 1:
        raise ScoreError(f"a threshold lies between 0 and 1, got {threshold:g}")


def binarize(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """uint8, 1 where a probability is strictly greater than `threshold`.

    8-bit probabilities are divided by 255 in 32-bit and compared in 64-bit floats, so that 51 counts at a threshold of
    0.2.

    Args:
        probabilities: What an image of `probability_map` gives.
        threshold: From 0 to 1.
    """
    if probabilities.dtype.kind == "f":
        return (probabilities.astype(np.float64) > threshold).view(np.uint8)
    values = (np.arange(256, dtype=np.float32) / np.float32(255)).astype(np.float64)
    first = int(np.searchsorted(values, threshold, side="right"))
    if first > 255:
        return np.zeros(probabilities.shape, np.uint8)
    found: np.ndarray = (probabilities >= np.uint8(first)).view(np.uint8)
    return found


class _Seen(NamedTuple):
    """What the integers of an image are like."""

    low: int
    high: int
    small: bool
    """Whether some are from 1 to `_MOST_IDS`."""
    between: bool
    """Whether some are above that and below 255, as only probabilities are."""


def _look(image: Image, blocks: list[Box]) -> _Seen:
    """Smallest and largest value and what kinds there are, block by block until nothing more can matter."""
    low, high, small, between = 0, 0, False, False
    for box in blocks:
        grey = _grey(image.read(box), image)
        low, high = min(low, int(grey.min())), max(high, int(grey.max()))
        small = small or bool(((grey >= 1) & (grey <= _MOST_IDS)).any())
        between = between or bool(((grey > _MOST_IDS) & (grey != 255)).any())
        if between and high > {"uint8": _PERCENT, "uint16": _HALF_OF_16_BITS}.get(image.dtype.name, np.inf):
            break
    return _Seen(low, high, small, between)


def _mapped(image: Image, function: Callable[[np.ndarray], np.ndarray], dtype: np.dtype) -> Image:
    return image.map(lambda voxels: function(_grey(voxels, image)), dtype)


def _grey(voxels: np.ndarray, image: Image) -> np.ndarray:
    return grey_of_colors(voxels, image, "read as a probability map or mask") if image.colors > 1 else voxels


def _checked(voxels: np.ndarray, image: Image) -> np.ndarray:
    if not ((voxels >= 0) & (voxels <= 1)).all():
        if bad := int((~np.isfinite(voxels)).sum()):
            found, percent = f"{bad} voxels that are NaN or infinite", ""
        else:
            found = f"values outside 0 to 1 ({voxels.min():g} to {voxels.max():g})"
            percent = " Percentages are divided by 100" if 1 < voxels.max() <= 100 else ""
        raise ScoreError(f"{image.path}: holds {found}; a probability map of floats has 0 to 1.{percent}")
    return voxels
