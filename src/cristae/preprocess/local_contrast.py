"""Local contrast: how many local deviations a voxel is above its surroundings, in its slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from cristae.compiled import compiled
from cristae.data.box import Triple
from cristae.preprocess.matching import type_as


@dataclass(frozen=True)
class LocalContrast:
    """(x - mean) / max(deviation, least) of a square window around each voxel, in its slice.

    Beyond its borders the volume is mirrored without repeating the voxel at the edge.
    """

    reach_vox: Annotated[int, Field(ge=1)]
    """The window has 2 * reach_vox + 1 voxels along y and x."""
    least_deviation: Annotated[float, Field(gt=0)]
    """Deviations below are taken for it, so that the noise of empty resin is not blown up; in numbers that the mapping
    of grey values gives."""

    @property
    def reach(self) -> Triple:
        """Voxels (z, y, x) on each side that decide a number."""
        return (0, self.reach_vox, self.reach_vox)

    def apply(self, numbers: Any) -> Any:
        """Numbers (..., Y, X), with the reach on both sides, to float32 without it: an array, or a tensor."""
        array = numbers if isinstance(numbers, np.ndarray) else numbers.cpu().numpy()
        stack = np.ascontiguousarray(array, np.float32).reshape(-1, *array.shape[-2:])
        found = np.empty((len(stack), *(side - 2 * self.reach_vox for side in stack.shape[1:])), np.float32)
        _local_contrast(stack, found, self.reach_vox, self.least_deviation)
        found = found.reshape(*array.shape[:-2], *found.shape[1:])
        return found if isinstance(numbers, np.ndarray) else type_as(found, numbers)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"reach_vox": self.reach_vox, "least_deviation": self.least_deviation}


@compiled
def _local_contrast(stack: np.ndarray, found: np.ndarray, reach: int, least: float) -> None:
    """Fill `found` (N, Y, X) from `stack`, which has the reach on both sides: sums of columns move down with the
    window, sums of windows move along them."""
    side = 2 * reach + 1
    count, height, width = found.shape
    for n in range(count):
        columns, squares = np.zeros(stack.shape[2]), np.zeros(stack.shape[2])
        for y in range(side - 1):
            for x in range(stack.shape[2]):
                value = np.float64(stack[n, y, x])
                columns[x] += value
                squares[x] += value * value
        for y in range(height):
            for x in range(stack.shape[2]):
                value = np.float64(stack[n, y + side - 1, x])
                columns[x] += value
                squares[x] += value * value
            total, square = columns[: side - 1].sum(), squares[: side - 1].sum()
            for x in range(width):
                total += columns[x + side - 1]
                square += squares[x + side - 1]
                mean = total / (side * side)
                variance = max(0.0, square / (side * side) - mean * mean)
                found[n, y, x] = (stack[n, y + reach, x + reach] - mean) / max(np.sqrt(variance), least)
                total -= columns[x]
                square -= squares[x]
            for x in range(stack.shape[2]):
                value = np.float64(stack[n, y, x])
                columns[x] -= value
                squares[x] -= value * value
