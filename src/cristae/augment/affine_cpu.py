"""Voxels at affine places, in one pass over a CPU's memory: what `resample` does in several on any device.

Places are sums of what the output's row and column give, so nothing of a patch's size is made on the way to its voxels.
The nearest voxels are those of `resample` to the bit; interpolated ones differ by its rounding of places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cristae.compiled import compiled

Separable = tuple[np.ndarray, np.ndarray]
"""float32 (n, L, Y') and (n, L, X'), whose sums are the places along one axis; L is 1 where all slices are alike."""


def linear(image: Tensor, rows: Separable, columns: Separable) -> Tensor:
    """float32 (n, C, Z, Y', X'): each slice of an image (n, C, Z, Y, X) interpolated between its four voxels.

    Args:
        image: On the CPU, two voxels or more along y and x.
        rows: Places along y, from the middle of the first voxel; beyond the last they are those of the last.
        columns: The same along x.
    """
    source = image.float().contiguous().numpy()
    moved = np.empty((*source.shape[:3], rows[0].shape[2], rows[1].shape[2]), np.float32)
    _interpolate(source, *rows, *columns, moved)
    return torch.from_numpy(moved)


def nearest(maps: Sequence[Tensor], level: np.ndarray, rows: Separable, columns: Separable) -> list[Tensor]:
    """The voxels (n, K, Z', Y', X') of maps (n, K, Z, Y, X), all of whose places are inside.

    Args:
        maps: On the CPU, of any types.
        level: int (n, Z'): slices.
        rows: Places along y: row i is from i to below i + 1.
        columns: The same along x.
    """
    found = []
    for one in maps:
        # A bool is moved as a byte, so that there is less to compile.
        source = one.contiguous().view(torch.uint8 if one.dtype == torch.bool else one.dtype).numpy()
        moved = np.empty((*source.shape[:2], level.shape[1], rows[0].shape[2], rows[1].shape[2]), source.dtype)
        _take(source, level, *rows, *columns, moved)
        found.append(torch.from_numpy(moved).view(one.dtype))
    return found


@compiled
def _interpolate(
    source: np.ndarray,
    row_y: np.ndarray,
    row_x: np.ndarray,
    column_y: np.ndarray,
    column_x: np.ndarray,
    moved: np.ndarray,
) -> None:
    count, channels, n_slices, height, width = moved.shape
    sides = np.int32(source.shape[3]), np.int32(source.shape[4])
    stride = np.uint64(source.shape[4])
    place, right, down = np.empty(width, np.uint64), np.empty(width, np.float32), np.empty(width, np.float32)
    nothing, one = np.float32(0), np.float32(1)
    last_row, last_column = np.float32(sides[0] - 1), np.float32(sides[1] - 1)
    for sample in range(count):
        for z in range(n_slices):
            like = z if row_y.shape[1] > 1 else 0
            add_row, add_column = row_x[sample, like], column_x[sample, like]
            for y in range(height):
                row, column = row_y[sample, like, y], column_y[sample, like, y]
                for x in range(width):
                    at_y = min(max(row + add_row[x], nothing), last_row)
                    at_x = min(max(column + add_column[x], nothing), last_column)
                    upper, before = min(np.int32(at_y), sides[0] - 2), min(np.int32(at_x), sides[1] - 2)
                    place[x] = np.uint64(upper) * stride + np.uint64(before)
                    down[x], right[x] = at_y - np.float32(upper), at_x - np.float32(before)
                for channel in range(channels):
                    flat, line = source[sample, channel, z].ravel(), moved[sample, channel, z, y]
                    for x in range(width):
                        here, u, v = place[x], right[x], down[x]
                        below = here + stride
                        first = flat[here] * (one - u) + flat[here + np.uint64(1)] * u
                        second = flat[below] * (one - u) + flat[below + np.uint64(1)] * u
                        line[x] = first * (one - v) + second * v


@compiled
def _take(
    source: np.ndarray,
    level: np.ndarray,
    row_y: np.ndarray,
    row_x: np.ndarray,
    column_y: np.ndarray,
    column_x: np.ndarray,
    moved: np.ndarray,
) -> None:
    count, channels, n_slices, height, width = moved.shape
    stride, place = np.uint64(source.shape[4]), np.empty(width, np.uint64)
    for sample in range(count):
        for z in range(n_slices):
            like = z if row_y.shape[1] > 1 else 0
            add_row, add_column = row_x[sample, like], column_x[sample, like]
            for y in range(height):
                row, column = row_y[sample, like, y], column_y[sample, like, y]
                for x in range(width):
                    at_y, at_x = np.int32(row + add_row[x]), np.int32(column + add_column[x])
                    place[x] = np.uint64(at_y) * stride + np.uint64(at_x)
                for channel in range(channels):
                    flat, line = source[sample, channel, level[sample, z]].ravel(), moved[sample, channel, z, y]
                    for x in range(width):
                        line[x] = flat[place[x]]
