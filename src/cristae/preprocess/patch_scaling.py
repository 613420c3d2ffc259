"""Each patch scaled by its own grey values, after augmentation and right before the network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cristae.preprocess.arrays import is_numpy


@dataclass(frozen=True)
class EachPatch:
    """A `PatchStep` that maps a range of each patch, over all its channels, to 0 and 1."""

    name: str
    """Of the normalisation."""
    range_of: Callable[[Any], tuple[Any, Any]]
    """The values of a patch (C, *S) that become 0 and 1, as scalars that stay on its device."""
    clip: tuple[float, float] | None = None
    """Numbers outside are set to these limits."""

    @property
    def reason(self) -> str:
        """Why the network cannot be applied exactly."""
        return f"normalize ({self.name}, scope: patch) scales each patch by its own grey values"

    def channels(self, given: int) -> int:
        """As many as are given."""
        return given

    def __call__(self, patches: Any) -> Any:
        """Patches float32 (B, C, *S), each scaled by its own range; one that is constant becomes 0."""
        scaled = patches.copy() if is_numpy(patches) else patches.clone()
        for patch in scaled:
            low, high = self.range_of(patch)
            width = high - low
            patch -= low
            patch /= width + (width == 0)
        return scaled if self.clip is None else scaled.clip(*self.clip)


def mean_and_deviation(patch: Any) -> tuple[Any, Any]:
    """Mean and standard deviation of all values of a patch (C, *S), the same for any number of threads."""
    wide = patch.astype(np.float64) if is_numpy(patch) else _double(patch)
    count = math.prod(wide.shape)
    mean = _sum(wide) / count
    return mean, (_sum((wide - mean) ** 2) / count) ** 0.5


def _double(patch: Any) -> Any:
    return patch.float() if patch.device.type == "mps" else patch.double()  # MPS has no float64


def _sum(values: Any) -> Any:
    """Axis by axis: threads would share the sum of everything at once, in an order that depends on their number."""
    while values.ndim:
        values = values.sum(-1)
    return values
