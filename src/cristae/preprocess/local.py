"""Local normalisation: brightness and contrast of the surroundings do not matter."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from cristae.data.box import Triple
from cristae.preprocess.form import PercentileRange, Scope
from cristae.preprocess.local_contrast import LocalContrast
from cristae.preprocess.normalize import Normalizer


class Local(PercentileRange):
    """Percentiles, then each voxel less the mean of a window in its slice, over the window's deviation. Drift of
    brightness and contrast within a slice vanishes, and so does how bright large structures are. Blocks are exact: they
    read as much more of the image as the window reaches."""

    name: Literal["local"] = "local"
    scope: Literal["training", "volume"] = "training"
    """`training`: the percentiles are those of all training data. `volume`: each volume has its own."""
    reach_vox: PositiveInt = 32
    """The window has 2 * reach_vox + 1 voxels along y and x."""
    least_deviation: Annotated[float, Field(gt=0)] = 0.05
    """Deviations below are taken for it, so that noise is not blown up where there is nothing; 1 is the distance
    between the two percentiles."""

    @property
    def statistics(self) -> Scope:
        """See `NormalizeConfig.statistics`."""
        return self.scope

    @property
    def contrast(self) -> LocalContrast:
        """What is done after the percentiles."""
        return LocalContrast(self.reach_vox, self.least_deviation)

    @property
    def reach(self) -> Triple:
        """See `NormalizeConfig.reach`."""
        return self.contrast.reach

    def complete(self, normalizer: Normalizer) -> Normalizer:
        """See `NormalizeConfig.complete`."""
        return replace(normalizer, contrast=self.contrast)
