"""Intensity normalisation: the same grey means the same number to the network, whichever type the detector stored.

A histogram is collected block by block, two percentiles of it are mapped to 0 and 1, and the mapping is kept with the
run. A volume whose greys lie far from the training data's is recognised by `distance`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import Field, FiniteFloat, model_validator

from cristae.config import Config, facts_from
from cristae.errors import RunError, VolumeError
from cristae.preprocess.histogram import IntensityHistogram

Array = TypeVar("Array")
"""A numpy array or a torch tensor."""

SHARES = (0.0, 0.005, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.995, 1.0)
"""Shares of voxels at which a normaliser remembers the grey values of the data it was fitted on."""

_KINDS = ("unknown", "float", *(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)))
_PADDING_SHARE = 0.02


class NormalizeConfig(Config):
    """How grey values become numbers around 0 to 1."""

    low_percentile: float = Field(default=0.5, ge=0, lt=100)
    """This percentile of the grey values becomes 0."""
    high_percentile: float = Field(default=99.5, gt=0, le=100)
    """This percentile becomes 1; below 100 it keeps hot pixels of the detector from setting the scale."""
    clip: tuple[float, float] = (-0.5, 1.5)
    """Numbers outside are set to these limits."""
    invert: bool = False
    """Turn dark into bright, for volumes stored with the opposite contrast."""
    scope: Literal["training", "volume"] = "training"
    """`training`: one mapping from all training data, used for every volume. `volume`: each volume has its own, which
    evens out microscopes and settings but makes an empty volume look like a full one."""
    ignore: tuple[float, ...] | Literal["padding"] = "padding"
    """Grey values that do not take part in the percentiles. `padding` leaves out the lowest value, the highest value,
    or both, where one fills more than 2 % of the voxels and more than the three next values together, as borders of
    aligned stacks do."""

    @model_validator(mode="after")
    def _check(self) -> NormalizeConfig:
        if self.low_percentile >= self.high_percentile:
            raise ValueError(f"low_percentile {self.low_percentile} must be below high_percentile")
        if not self.clip[0] <= 0 < 1 <= self.clip[1]:
            raise ValueError(f"clip {list(self.clip)} must reach from 0 or less to 1 or more")
        return self


@dataclass(frozen=True)
class Normalizer:
    """The mapping of grey values to numbers: `low` to 0 and `high` to 1 (the other way round when inverted)."""

    low: FiniteFloat
    high: FiniteFloat
    invert: bool = False
    clip: tuple[FiniteFloat, FiniteFloat] = (-0.5, 1.5)
    kind: str = "unknown"
    """What the data was stored as: an integer type such as 'uint16', or 'float'."""
    ignored: tuple[FiniteFloat, ...] = ()
    """Grey values that were taken for padding."""
    quantiles: tuple[FiniteFloat, ...] = ()
    """Grey values of the fitted data at `SHARES`, from which `distance` measures how far another volume is."""

    def apply(self, grey: Array) -> Array:
        """Map grey values of any type to float32.

        Args:
            grey: A numpy array or torch tensor of any shape; it is not changed.

        Returns:
            float32 array or tensor of the same shape, within `clip`.
        """
        offset, scale = (
            (self.high, 1 / (self.low - self.high)) if self.invert else (self.low, 1 / (self.high - self.low))
        )
        values: Any = _floats(grey) - offset
        values *= scale
        if isinstance(values, np.ndarray):
            values = values.astype(np.float32, copy=False)
        result: Array = values.clip(*self.clip)
        return result

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` gives back an equal normaliser, exactly."""
        return {
            "low": self.low,
            "high": self.high,
            "invert": self.invert,
            "clip": list(self.clip),
            "kind": self.kind,
            "ignored": list(self.ignored),
            "quantiles": list(self.quantiles),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Normalizer:
        """The normaliser that `to_dict` wrote.

        Raises:
            RunError: A field is missing, unknown or wrong.
        """
        normalizer = facts_from(cls, content, "normalizer")
        (below, above), quantiles = normalizer.clip, normalizer.quantiles
        ascending = len(quantiles) in (0, len(SHARES)) and list(quantiles) == sorted(quantiles)
        rules = {
            "low: must be below high": normalizer.low < normalizer.high,
            "clip: must reach from 0 or less to 1 or more": below <= 0 < 1 <= above,
            f"kind: must be one of {', '.join(_KINDS)}": normalizer.kind in _KINDS,
            f"quantiles: must be {len(SHARES)} ascending numbers": ascending,
        }
        for rule, kept in rules.items():
            if not kept:
                raise RunError(f"normalizer.{rule}")
        return normalizer


def _floats(grey: Any) -> Any:
    """Float32, or float64 for numpy types whose values float32 cannot distinguish. Tensors always float32."""
    if not isinstance(grey, np.ndarray):
        return grey.float()
    exact = grey.dtype.itemsize <= 2 or grey.dtype == np.float32
    return grey.astype(np.float32 if exact else np.float64)


def fit(config: NormalizeConfig, histogram: IntensityHistogram) -> Normalizer:
    """Find the mapping for the data of a histogram.

    Args:
        config: Percentiles and options.
        histogram: Grey values of the training data, or of one volume when `config.scope` is 'volume'.

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
    ignored = padding_values(histogram) if config.ignore == "padding" else tuple(map(float, config.ignore))
    rest = histogram.without(ignored)
    if rest.size == 0 or rest.low == rest.high:
        raise VolumeError(f"nothing but one value is left after ignoring {list(ignored)}; change normalize.ignore")
    low, high = rest.percentile(config.low_percentile), rest.percentile(config.high_percentile)
    if low >= high:  # nearly all voxels share one value: the few others still carry the picture
        low, high = rest.low, rest.high
    quantiles = tuple(rest.percentile(100 * share) for share in SHARES)
    return Normalizer(low, high, config.invert, config.clip, histogram.kind, ignored, quantiles)


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


@dataclass(frozen=True)
class IntensityShift:
    """How far the grey values of a volume are from those of the training data, in units of the training range."""

    median: float
    """Difference of the medians; 0 when equal, 1 when a whole training range apart."""
    range_ratio: float
    """Width of the volume's percentile range over the training data's."""
    outside: float
    """Share of voxels below or above all but 1 % of the training data."""
    kind: tuple[str, str]
    """What training data and volume are stored as."""
    inverted: bool
    """Whether the shape of the histogram suggests that dark and bright are exchanged."""

    def message(self, name: str = "the volume") -> str | None:
        """A warning that says how far and what to do, or None when the volume is near enough."""
        facts = []
        if self.kind[0] != self.kind[1] and self.kind[0] != "unknown":
            facts.append(f"it is stored as {self.kind[1]}, the training data as {self.kind[0]}")
        if abs(self.median) > 0.25:
            facts.append(
                f"its median grey is {abs(self.median):.2g} training ranges {'above' if self.median > 0 else 'below'}"
            )
        if not 0.5 <= self.range_ratio <= 2:
            facts.append(f"its contrast is {self.range_ratio:.2g} times the training data's")
        if self.outside > 0.05:
            facts.append(f"{100 * self.outside:.0f} % of its voxels lie outside the training range")
        if self.inverted:
            facts.append("dark and bright seem to be exchanged")
        if not facts or facts == [f"it is stored as {self.kind[1]}, the training data as {self.kind[0]}"]:
            return None
        cure = (
            "invert the image (or train with normalize.invert)"
            if self.inverted
            else "convert the image to the training data's grey scale, or train with normalize.scope: volume"
        )
        return f"grey values of {name} are far from the training data: {'; '.join(facts)}. Expect poor results; {cure}"


def distance(training: Normalizer, other: IntensityHistogram) -> IntensityShift:
    """Measure how far a volume's grey values are from the data a normaliser was fitted on.

    Args:
        training: The run's normaliser, fitted with `scope: training`.
        other: Grey values of the volume, all or a sample.

    Raises:
        VolumeError: `other` holds no voxels.
    """
    if other.size == 0:
        raise VolumeError("no voxels to compare intensities of")
    rest = other.without(tuple({*training.ignored, *padding_values(other)}))
    rest = rest if rest.size else other
    here = [rest.percentile(100 * share) for share in SHARES]
    there = training.quantiles or (training.low,) * 5 + ((training.low + training.high) / 2,) + (training.high,) * 5
    width = there[-2] - there[1] or training.high - training.low
    return IntensityShift(
        median=(here[5] - there[5]) / width,
        range_ratio=(here[-2] - here[1]) / width,
        outside=rest.share_outside(there[1], there[-2]),
        kind=(training.kind, other.kind),
        inverted=_skew(here) * _skew(there) < 0 and min(abs(_skew(here)), abs(_skew(there))) > 0.15,
    )


def _skew(quantiles: Any) -> float:
    """From -1 to 1: on which side of the median the middle 90 % of the grey values reach further (Bowley's measure)."""
    low, median, high = quantiles[3], quantiles[5], quantiles[7]
    return float((low + high - 2 * median) / (high - low)) if high > low else 0.0
