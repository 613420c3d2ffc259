"""The grain filter: shapes smaller than an area go, bright and dark ones alike, and no contour moves.

Each pixel gets the grey value of the smallest shape of at least that area in which it lies; what a shape is says
`tree_of_shapes.py`. As Meyer et al. (2021), https://github.com/Cyril-Meyer/NeNISt, show it to their networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cristae.compiled import compiled, usable_cores
from cristae.errors import VolumeError
from cristae.preprocess.tree_of_shapes import tree_of_shapes


def grain_filter(plane: np.ndarray, areas_px: Sequence[int]) -> np.ndarray:
    """Filter a plane with each of several areas; the tree of its shapes is made once.

    Shapes that touch the border may take the mean of the border's pixels, which integers round.

    Args:
        plane: Grey values (Y, X), integers or floats.
        areas_px: Shapes of fewer pixels, holes included, are filtered out; at least 1, at most the plane's pixels.

    Returns:
        (len(areas_px), Y, X) of the plane's type.

    Raises:
        VolumeError: An area is out of range, or the plane holds anything but finite real numbers.

    Example:
        >>> grain_filter(np.array([[1, 1, 1], [1, 9, 1], [1, 1, 1]]), [1, 2])[:, 1]
        array([[1, 9, 1],
               [1, 1, 1]])
    """
    tree = tree_of_shapes(plane)
    check_areas(areas_px, plane.shape)
    filtered = np.empty((len(areas_px), *plane.shape), plane.dtype)
    for area, out in zip(areas_px, filtered, strict=True):
        kept = np.take(tree.level, _kept(tree.parent, tree.area_px, area))
        np.take(kept, tree.node, out=out, mode="clip")  # which needs no buffer; all numbers are in range
    return filtered


def grain_filter_all(planes: np.ndarray, areas_px: Sequence[int], *, threads: int | None = None) -> np.ndarray:
    """Filter many planes at once, each in one thread; the result does not depend on their number.

    Args:
        planes: (N, Y, X), as `grain_filter` takes them.
        areas_px: As `grain_filter` takes them.
        threads: How many planes at once; None takes the cores that this process may use.

    Returns:
        (N, len(areas_px), Y, X) of the planes' type.
    """
    threads = min(len(planes), threads or usable_cores())
    if threads <= 1:
        found = [grain_filter(plane, areas_px) for plane in planes]
    else:
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(lambda plane: grain_filter(plane, areas_px), planes))
    return np.stack(found) if found else np.empty((0, len(areas_px), *planes.shape[1:]), planes.dtype)


def check_areas(areas_px: Sequence[int], shape: Sequence[int]) -> None:
    """Do nothing for areas that can be filtered out of a plane of this (y, x) shape.

    Raises:
        VolumeError: One is below 1, or above the plane's number of pixels, which would leave nothing.
    """
    y, x = shape
    for area in areas_px:
        if not 1 <= area <= y * x:
            raise VolumeError(
                f"a grain filter of {area} pixels: shapes in a plane of {y} x {x} have 1 to {y * x} pixels; give "
                "the least area that is kept, from 2 on"
            )


@compiled
def _kept(parent: np.ndarray, area: np.ndarray, least: int) -> np.ndarray:
    """int32 (N,): from each shape upwards the first one that has the area or is the root."""
    kept = np.arange(len(parent)).astype(np.int32)
    for one in range(1, len(kept)):
        if area[one] < least:
            kept[one] = kept[parent[one]]
    return kept
