"""How far the grey values of a volume are from those that a network was trained on, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cristae.errors import VolumeError
from cristae.preprocess.form import Range, padding_values
from cristae.preprocess.histogram import IntensityHistogram
from cristae.preprocess.normalize import SHARES, Normalizer

COMPARED = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Fractions of voxels at which grey values are compared: the median, two darker ones and two brighter ones."""
FAR = 0.125
"""Of the training range: grey values this far off are warned of. Held-out images of most public sets lie within 0.12;
a network with `scope: training` loses 0.3 to 0.7 of IoU there: `benchmarks/results/grey_shifts.json`."""
CONTRAST = (0.7, 1.4)
"""Ratios of percentile ranges that are not warned of."""
OUTSIDE = 0.05
"""Fraction of voxels outside the training range that is not warned of."""
_MEDIAN = COMPARED.index(0.5)
_NAMES = (
    "dark greys (5th percentile)",
    "dark greys (25th percentile)",
    "median grey",
    "bright greys (75th percentile)",
    "bright greys (95th percentile)",
)


@dataclass(frozen=True)
class IntensityShift:
    """How far the grey values of a volume are from those of the training data, in units of the training range."""

    differences: tuple[float, ...]
    """The volume's grey values less the training data's at `COMPARED`; 1 is a whole training range."""
    range_ratio: float
    """Width of the volume's percentile range over the training data's."""
    outside: float
    """Fraction of voxels below or above all but 1 % of the training data, or beyond what a local contrast takes."""
    kind: tuple[str, str]
    """What training data and volume are stored as."""
    inverted: bool
    """Whether the shape of the histogram suggests that dark and bright are exchanged."""
    remaining: tuple[float, ...] | None = None
    """The differences that remain where the range is found again on the volume; None where it cannot be."""
    local: bool = False
    """Whether networks see the contrast to the surroundings only, whatever the brightness."""

    @property
    def median(self) -> float:
        """Difference of the medians."""
        return self.differences[_MEDIAN]

    def message(self, name: str = "the volume", *, again: bool = False) -> str | None:
        """A warning that says how far and what to do, or None when the volume is near enough.

        Args:
            name: Of the volume.
            again: Whether the range of the run is found again on the volume, so that only what remains counts.
        """
        facts = list(self._remaining_facts() if again else self._facts())
        if self.inverted:
            facts.append("dark and bright seem to be exchanged")
        if not facts:
            return None
        if self.kind[0] != self.kind[1] and self.kind[0] != "unknown":
            facts.insert(0, f"it is stored as {self.kind[1]}, the training data as {self.kind[0]}")
        return (
            f"grey values of {name} are far from the training data: {'; '.join(facts)}. "
            f"Expect poor results; {self._cure(again)}"
        )

    def _facts(self) -> Iterator[str]:
        contrast = not self.local and not CONTRAST[0] <= self.range_ratio <= CONTRAST[1]
        if not self.local and (abs(self.median) > FAR or not contrast):
            yield from _farthest(self.differences)
        if contrast:
            yield f"its contrast is {_brief(self.range_ratio)} times the training data's"
        if self.outside > OUTSIDE:
            yield f"{100 * self.outside:.0f} % of its voxels lie outside the training range"

    def _remaining_facts(self) -> Iterator[str]:
        for fact in () if self.local else _farthest(self.remaining or ()):
            yield f"even within its own range, {fact}"

    def _cure(self, again: bool) -> str:
        if self.inverted:
            return "invert the image (or train with normalize.invert)"
        if self.remaining is None:
            return (
                "convert the image to the training data's grey scale, or train with another normalisation, such as "
                "normalize: {name: percentiles, scope: volume}"
            )
        if again or (not self.local and list(_farthest(self.remaining))):
            return (
                "its histogram has another shape, as after another gamma, which no new range mends: convert the image "
                "to the training data's grey scale, or train with normalize: {name: histogram_matching}"
            )
        return (
            "look whether dark and bright are exchanged, and invert the image if so; else find the range of grey "
            "values again on this volume with --normalize volume, or train a new run with normalize.scope: volume"
        )


def distance(training: Normalizer, other: IntensityHistogram, own: Range | None = None) -> IntensityShift:
    """Measure how far a volume's grey values are from the data a normaliser was fitted on.

    Args:
        training: The run's normaliser, fitted with `scope: training`.
        other: Grey values of the volume, all or a sample.
        own: The grey values that become 0 and 1 where the range is found again on the volume.

    Raises:
        VolumeError: `other` holds no voxels.
    """
    if other.size == 0:
        raise VolumeError("no voxels to compare intensities of")
    rest = other.without(tuple({*training.ignored, *padding_values(other)}))
    rest = rest if rest.size else other
    here = [rest.percentile(100 * share) for share in SHARES]
    # Runs of the first versions know the two ends only: the darker and brighter greys then count as equal.
    known, middle = bool(training.quantiles), (training.low + training.high) / 2
    there = training.quantiles or (training.low,) * 5 + (middle,) + (training.high,) * 5
    width = there[-2] - there[1] or training.high - training.low
    places = [SHARES.index(share) for share in COMPARED]

    def differences(low: float, high: float) -> tuple[float, ...]:
        scale = (training.high - training.low) / (high - low)
        moved = [(grey - low) * scale + training.low for grey in here]
        return tuple((moved[at] - there[at]) / width if known or at == 5 else 0.0 for at in places)

    least, most = there[1], there[-2]
    if training.contrast is not None and training.clip is not None:
        least, most = (training.low + limit * (training.high - training.low) for limit in training.clip)
    return IntensityShift(
        differences=differences(training.low, training.high),
        range_ratio=(here[-2] - here[1]) / width,
        outside=rest.share_outside(least, most),
        kind=(training.kind, other.kind),
        inverted=_skew(here) * _skew(there) < 0 and min(abs(_skew(here)), abs(_skew(there))) > 0.15,
        remaining=None if own is None else differences(*own),
        local=training.contrast is not None,
    )


def _farthest(differences: tuple[float, ...]) -> Iterator[str]:
    """The median where it is far, else what is farthest, if that is."""
    size, place = max(((abs(one), place) for place, one in enumerate(differences)), default=(0.0, 0))
    if size <= FAR:
        return
    place = _MEDIAN if abs(differences[_MEDIAN]) > FAR else place
    verb, way = "is" if place == _MEDIAN else "are", "above" if differences[place] > 0 else "below"
    yield f"its {_NAMES[place]} {verb} {_brief(abs(differences[place]))} training ranges {way}"


def _brief(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def _skew(quantiles: Any) -> float:
    """From -1 to 1: on which side of the median the middle 90 % of the grey values reach further (Bowley's measure)."""
    low, median, high = quantiles[3], quantiles[5], quantiles[7]
    return float((low + high - 2 * median) / (high - low)) if high > low else 0.0
