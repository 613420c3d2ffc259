"""The z-score: mean 0 and standard deviation 1."""

from __future__ import annotations

from typing import Any, Literal

from cristae.preprocess.form import NormalizeConfig, Range, Scope
from cristae.preprocess.histogram import IntensityHistogram
from cristae.preprocess.network_input import PatchStep
from cristae.preprocess.patch_scaling import EachPatch, mean_and_deviation


class ZScore(NormalizeConfig):
    """(x - mean) / standard deviation, the latter of the whole population: of each volume as Guay et al. 2021 do it
    (https://doi.org/10.1038/s41598-021-81590-0), or of the training data as EM-stellar's notebook does."""

    name: Literal["z_score"] = "z_score"
    scope: Scope = "training"
    """`training`: mean and deviation of all training data, used for every volume. `volume`: each volume has its own.
    `slice`: each slice has its own. `patch`: each patch has its own after augmentation, and the network is applied in
    windows of the size of the patches."""

    @property
    def statistics(self) -> Scope:
        """See `NormalizeConfig.statistics`."""
        return self.scope

    def range_of(self, histogram: IntensityHistogram) -> Range:
        """See `NormalizeConfig.range_of`: the mean, and one deviation above; when inverted, one below and the mean."""
        mean, deviation = histogram.mean_and_deviation()
        return (mean - deviation, mean) if self.invert else (mean, mean + deviation)

    def patch_step(self) -> PatchStep | None:
        """See `NormalizeConfig.patch_step`."""
        return EachPatch("z_score", _of_patch) if self.scope == "patch" else None


def _of_patch(patch: Any) -> tuple[Any, Any]:
    mean, deviation = mean_and_deviation(patch)
    return mean, mean + deviation
