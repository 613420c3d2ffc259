"""Local contrast: how many local deviations a voxel is above its surroundings, in its slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from cristae.data.box import Triple
from cristae.preprocess.arrays import as_numpy, like


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
        from cristae.preprocess.window_contrast import window_contrast  # takes the compiler, which recipes do without

        array = as_numpy(numbers)
        stack = np.ascontiguousarray(array, np.float32).reshape(-1, *array.shape[-2:])
        found = np.empty((len(stack), *(side - 2 * self.reach_vox for side in stack.shape[1:])), np.float32)
        window_contrast(stack, found, self.reach_vox, self.least_deviation)
        return like(found.reshape(*array.shape[:-2], *found.shape[1:]), numbers)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"reach_vox": self.reach_vox, "least_deviation": self.least_deviation}
