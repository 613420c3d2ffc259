"""The form of every normalisation: a config that finds a mapping of grey values from a histogram of them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

from pydantic import Field, model_validator

from cristae.config import Config
from cristae.data.box import Triple
from cristae.errors import VolumeError
from cristae.preprocess.histogram import IntensityHistogram
from cristae.preprocess.network_input import PatchStep
from cristae.preprocess.normalize import SHARES, Normalizer

Scope = Literal["training", "volume", "slice", "patch"]
"""Which grey values a mapping is found from."""
Range = tuple[float, float]
"""The grey values that become 0 and 1."""

_PADDING_SHARE = 0.02


class NormalizeConfig(Config):
    """How grey values become numbers for the network."""

    invert: bool = False
    """Turn dark into bright, for volumes stored with the opposite contrast."""
    ignore: tuple[float, ...] | Literal["padding"] = "padding"
    """Grey values that do not take part in the statistics. `padding` leaves out the lowest value, the highest value,
    or both, where one fills more than 2 % of the voxels and more than the three next values together, as borders of
    aligned stacks do. Patches are taken as they are."""

    @model_validator(mode="after")
    def _ignores_for_a_reason(self) -> NormalizeConfig:
        why = self.nothing_to_ignore
        if why is not None and self.ignore != "padding":
            raise ValueError(f"ignore {list(self.ignore)} has no effect, because {why}; leave it out")
        return self

    @property
    def nothing_to_ignore(self) -> str | None:
        """Why `ignore` would have no effect, in words that follow 'because'; None where it has one."""
        return "patches are scaled by all that they hold" if self.statistics == "patch" else None

    @property
    @abstractmethod
    def statistics(self) -> Scope:
        """Which grey values the mapping is found from."""

    @property
    def clipped(self) -> Range | None:
        """Numbers outside are set to these limits."""
        return None

    @property
    def reach(self) -> Triple:
        """Voxels (z, y, x) on each side of a voxel whose grey values decide its number, given the statistics."""
        return (0, 0, 0)

    @property
    def matches(self) -> bool:
        """Whether grey values are first given the histogram of the training data."""
        return False

    @abstractmethod
    def range_of(self, histogram: IntensityHistogram) -> Range:
        """The grey values that become 0 and 1 (1 and 0 when inverted), of at least two different ones."""

    def patch_step(self) -> PatchStep | None:
        """What is done to each patch by itself after augmentation; None where nothing is."""
        return None

    def complete(self, normalizer: Normalizer) -> Normalizer:
        """The mapping with what this normalisation adds to a range of grey values."""
        return normalizer

    def at_scope_volume(self) -> NormalizeConfig | None:
        """The same with statistics of each volume; None where the training data decides nothing anyway."""
        return self.model_copy(update={"scope": "volume"}) if self.statistics == "training" else None


class PercentileRange(NormalizeConfig):
    """A normalisation whose range of grey values lies between two percentiles."""

    low_percentile: float = Field(default=0.5, ge=0, lt=100)
    """This percentile of the grey values becomes 0."""
    high_percentile: float = Field(default=99.5, gt=0, le=100)
    """This percentile becomes 1; below 100 it keeps hot pixels of the detector from setting the scale."""
    clip: tuple[float, float] = (-0.5, 1.5)
    """Numbers outside are set to these limits."""

    @model_validator(mode="after")
    def _check(self) -> PercentileRange:
        if self.low_percentile >= self.high_percentile:
            raise ValueError(f"low_percentile {self.low_percentile} must be below high_percentile")
        if not self.clip[0] <= 0 < 1 <= self.clip[1]:
            raise ValueError(f"clip {list(self.clip)} must reach from 0 or less to 1 or more")
        return self

    @property
    def clipped(self) -> Range | None:
        """See `NormalizeConfig.clipped`."""
        return self.clip

    def range_of(self, histogram: IntensityHistogram) -> Range:
        """See `NormalizeConfig.range_of`."""
        low, high = histogram.percentile(self.low_percentile), histogram.percentile(self.high_percentile)
        if low >= high:  # nearly all voxels share one value: the few others still carry the picture
            return histogram.low, histogram.high
        return low, high


def fit(config: NormalizeConfig, histogram: IntensityHistogram) -> Normalizer:
    """Find the mapping for the data of a histogram.

    Args:
        config: How.
        histogram: Grey values of the training data, or of one volume where each has its own mapping.

    Raises:
        VolumeError: All voxels have one value, or there are none.
    """
    if histogram.size == 0:
        raise VolumeError("no voxels to find the intensity range from; the regions named for training are empty")
    if histogram.low == histogram.high:
        raise VolumeError(
            f"every voxel is {histogram.low:g}: a constant image has nothing to learn from. "
            "Check that the file is the image and not an empty mask or a failed export"
        )
    ignored = ignored_of(config, histogram)
    rest = histogram.without(ignored)
    if rest.size == 0 or rest.low == rest.high:
        raise VolumeError(f"nothing but one value is left after ignoring {list(ignored)}; change normalize.ignore")
    low, high = config.range_of(rest)
    quantiles = tuple(rest.percentile(100 * share) for share in SHARES)
    # What a patch is scaled by comes after augmentation and must not find its extremes cut off.
    clip = None if config.statistics == "patch" else config.clipped
    return config.complete(Normalizer(low, high, config.invert, clip, histogram.kind, ignored, quantiles))


def range_again(config: NormalizeConfig, histogram: IntensityHistogram) -> Range | None:
    """The range of grey values of a volume, where that would replace the training data's; None where it cannot."""
    replaced = config.at_scope_volume()
    rest = histogram.without(ignored_of(config, histogram))
    if replaced is None or rest.size == 0 or rest.low == rest.high:
        return None
    return replaced.range_of(rest)


def ignored_of(config: NormalizeConfig, histogram: IntensityHistogram) -> tuple[float, ...]:
    """The grey values of a histogram that do not take part in statistics."""
    return padding_values(histogram) if config.ignore == "padding" else tuple(map(float, config.ignore))


def padding_values(histogram: IntensityHistogram) -> tuple[float, ...]:
    """The extreme grey values that are so common that they must be borders, not tissue; none when in doubt."""
    counts = histogram.counts
    found = []
    for end, ordered in ((histogram.low, counts), (histogram.high, counts[::-1])):
        spike = int(ordered[0]) if len(ordered) else 0
        if spike > _PADDING_SHARE * histogram.size and spike > int(ordered[1:4].sum()):
            found.append(end)
    rest = histogram.without(tuple(found))
    return tuple(found) if len(rest.counts) >= 16 else ()
