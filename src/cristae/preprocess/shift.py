"""How far the grey values of a volume are from those that a network was trained on, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cristae.errors import VolumeError
from cristae.preprocess.form import padding_values
from cristae.preprocess.histogram import IntensityHistogram
from cristae.preprocess.normalize import SHARES, Normalizer


@dataclass(frozen=True)
class IntensityShift:
    """How far the grey values of a volume are from those of the training data, in units of the training range."""

    median: float
    """Difference of the medians; 0 when equal, 1 when a whole training range apart."""
    range_ratio: float
    """Width of the volume's percentile range over the training data's."""
    outside: float
    """Fraction of voxels below or above all but 1 % of the training data."""
    kind: tuple[str, str]
    """What training data and volume are stored as."""
    inverted: bool
    """Whether the shape of the histogram suggests that dark and bright are exchanged."""

    def message(self, name: str = "the volume", *, again: bool = True) -> str | None:
        """A warning that says how far and what to do, or None when the volume is near enough.

        Args:
            name: Of the volume.
            again: Whether the range of the run can be found again on the volume.
        """
        facts = []
        if self.kind[0] != self.kind[1] and self.kind[0] != "unknown":
            facts.append(f"it is stored as {self.kind[1]}, the training data as {self.kind[0]}")
        if abs(self.median) > 0.25:
            way = "above" if self.median > 0 else "below"
            facts.append(f"its median grey is {_brief(abs(self.median))} training ranges {way}")
        if not 0.5 <= self.range_ratio <= 2:
            facts.append(f"its contrast is {_brief(self.range_ratio)} times the training data's")
        if self.outside > 0.05:
            facts.append(f"{100 * self.outside:.0f} % of its voxels lie outside the training range")
        if self.inverted:
            facts.append("dark and bright seem to be exchanged")
        if not facts or facts == [f"it is stored as {self.kind[1]}, the training data as {self.kind[0]}"]:
            return None
        cure = (
            "convert the image to the training data's grey scale, or train with another normalisation, such as "
            "normalize: {name: percentiles, scope: volume}"
        )
        if self.inverted:
            cure = "invert the image (or train with normalize.invert)"
        elif again:
            cure = (
                "find the range of grey values again on this volume with --normalize volume, or train with "
                "normalize.scope: volume"
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


def _brief(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def _skew(quantiles: Any) -> float:
    """From -1 to 1: on which side of the median the middle 90 % of the grey values reach further (Bowley's measure)."""
    low, median, high = quantiles[3], quantiles[5], quantiles[7]
    return float((low + high - 2 * median) / (high - low)) if high > low else 0.0
