"""The least and the greatest grey value become 0 and 1."""

from __future__ import annotations

from typing import Any, Literal

from cristae.preprocess.form import NormalizeConfig, Range, Scope
from cristae.preprocess.histogram import IntensityHistogram
from cristae.preprocess.network_input import PatchStep
from cristae.preprocess.patch_scaling import EachPatch


class MinMax(NormalizeConfig):
    """(x - min) / (max - min): of a stack as in "FIB-SEM EfficientUNet", or with `scope: patch` of each image after
    augmentation, as in the paper of EM-stellar. One hot pixel sets the scale."""

    name: Literal["min_max"] = "min_max"
    scope: Scope = "training"
    """`training`: one mapping from all training data, used for every volume. `volume`: each volume has its own.
    `slice`: each slice has its own. `patch`: each patch has its own after augmentation, and the network is applied in
    windows of the size of the patches."""

    @property
    def statistics(self) -> Scope:
        """See `NormalizeConfig.statistics`."""
        return self.scope

    def range_of(self, histogram: IntensityHistogram) -> Range:
        """See `NormalizeConfig.range_of`."""
        return histogram.low, histogram.high

    def patch_step(self) -> PatchStep | None:
        """See `NormalizeConfig.patch_step`."""
        return EachPatch("min_max", _of_patch) if self.scope == "patch" else None


def _of_patch(patch: Any) -> tuple[Any, Any]:
    return patch.min(), patch.max()
