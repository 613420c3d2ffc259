"""Percentiles: robust to the few extreme voxels that every detector makes."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from cristae.preprocess.arrays import is_numpy
from cristae.preprocess.form import PercentileRange, Scope
from cristae.preprocess.network_input import PatchStep
from cristae.preprocess.patch_scaling import EachPatch


class Percentiles(PercentileRange):
    """Two percentiles of the grey values become 0 and 1."""

    name: Literal["percentiles"] = "percentiles"
    scope: Scope = "training"
    """`training`: one mapping from all training data, used for every volume. `volume`: each volume has its own, which
    evens out microscopes and settings but makes an empty volume look like a full one. `slice`: each slice has its own,
    against drift from slice to slice. `patch`: each patch has its own after augmentation, and the network is applied in
    windows of the size of the patches."""

    @property
    def statistics(self) -> Scope:
        """See `NormalizeConfig.statistics`."""
        return self.scope

    def patch_step(self) -> PatchStep | None:
        """See `NormalizeConfig.patch_step`."""
        return EachPatch("percentiles", self._of_patch, self.clip) if self.scope == "patch" else None

    def _of_patch(self, patch: Any) -> tuple[Any, Any]:
        """The two percentiles of a patch, by the rule of `IntensityHistogram.percentile`."""
        flat = patch.reshape(-1)
        ordered = np.sort(flat) if is_numpy(flat) else flat.sort().values
        count, percents = len(ordered), (self.low_percentile, self.high_percentile)
        ranks = [math.ceil(percent / 100 * count - 1e-9 * count) for percent in percents]
        low, high = (ordered[min(max(rank, 1), count) - 1] for rank in ranks)
        alike = low == high  # nearly all voxels share one value: the few others still carry the picture
        return low + alike * (ordered[0] - low), high + alike * (ordered[-1] - high)
