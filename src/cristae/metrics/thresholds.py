"""One score along the thresholds, and the threshold: fixed, best on the evaluated data, or chosen on other data.

Everything is read from histograms, so that no voxel is looked at again. A threshold that is best on the data it is
evaluated on makes the score look better than it will be on new data; the honest form chooses it on validation data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cristae.metrics.confusion import Confusion
from cristae.metrics.histogram import ProbabilityHistogram
from cristae.metrics.overlap import dice, iou, mean_iou
from cristae.metrics.score import Score

TENTHS = tuple(k / 10 for k in range(11))
"""The thresholds of Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0; nothing is foreground at 1."""


@dataclass(frozen=True)
class Measure:
    """A score of a binary map that can be followed along the thresholds; higher is better."""

    metric: str
    """What stands in the `metric` column."""
    of: Callable[[Confusion], float]
    """The value from counts [[TN, FP], [FN, TP]]; NaN where undefined."""
    rule: str
    """What it is of; `{name}` is the class."""


F1 = Measure("F1", lambda counts: float(dice(counts)[1]), "positive={name}")
JACCARD = Measure("Jaccard", lambda counts: float(iou(counts)[1]), "positive={name}")
BINARY_MIOU = Measure("mIoU", lambda counts: mean_iou(counts).value, "mean of {name} and its complement")


@dataclass(frozen=True)
class Subject:
    """Whose scores the rows are."""

    run: str
    volume: str
    class_name: str


def threshold_curve(
    histogram: ProbabilityHistogram, measure: Measure, thresholds: Sequence[float] = TENTHS
) -> np.ndarray:
    """(T,) the measure where foreground is what scores strictly above each threshold; NaN where undefined.

    Raises:
        ScoreError: A threshold lies outside 0 to 1, or inside a bin of floats.

    Example:
        >>> threshold_curve(ProbabilityHistogram.of([1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1]), F1, (0.4, 0.5))
        array([0.8       , 0.66666667])
    """
    return np.array([measure.of(histogram.confusion(threshold)) for threshold in thresholds])


def best_threshold(histogram: ProbabilityHistogram, measure: Measure, thresholds: Sequence[float] = TENTHS) -> float:
    """The threshold of the largest value, the lowest one among equals; NaN where no value is defined.

    Raises:
        ScoreError: A threshold lies outside 0 to 1, or inside a bin of floats.
    """
    values = threshold_curve(histogram, measure, thresholds)
    best = max(
        (place for place in range(values.size) if not np.isnan(values[place])),
        key=lambda place: (values[place], -thresholds[place]),
        default=None,
    )
    return float("nan") if best is None else thresholds[best]


def curve_scores(
    histogram: ProbabilityHistogram, measure: Measure, subject: Subject, thresholds: Sequence[float] = TENTHS
) -> tuple[Score, ...]:
    """One row for each threshold."""
    return tuple(_score(histogram, measure, subject, "curve", threshold) for threshold in thresholds)


Choice = Literal["curve", "fixed", "best", "validated"]
_SUFFIX: dict[Choice, str] = {"curve": "_curve", "fixed": "", "best": "_best", "validated": "_validated"}
_CHOSEN: dict[Choice, str] = {
    "curve": "one threshold of a curve",
    "fixed": "fixed threshold",
    "best": "threshold best on these data: optimistic",
    "validated": "threshold chosen on validation data",
}


def threshold_scores(
    histogram: ProbabilityHistogram,
    measure: Measure,
    subject: Subject,
    *,
    fixed: float | None = 0.5,
    validated: float | None = None,
    thresholds: Sequence[float] = TENTHS,
) -> tuple[Score, ...]:
    """The measure at a fixed threshold, at the best one, and at the one chosen on validation data, side by side.

    The metric of the second row ends in `_best`, that of the third in `_validated`; rules say how the threshold came
    about.

    Args:
        histogram: Of the evaluated data.
        measure: What to score, and to choose the best threshold by.
        subject: Whose scores these are.
        fixed: The threshold of the first row; None for no such row.
        validated: `best_threshold` of data that the evaluated ones share nothing with; None for no third row.
        thresholds: To choose the best from.

    Raises:
        ScoreError: A threshold lies outside 0 to 1, or inside a bin of floats.
    """
    best = best_threshold(histogram, measure, thresholds)
    choices: tuple[tuple[Choice, float | None], ...] = (("fixed", fixed), ("best", best), ("validated", validated))
    return tuple(_score(histogram, measure, subject, how, t) for how, t in choices if t is not None)


def _score(
    histogram: ProbabilityHistogram, measure: Measure, subject: Subject, choice: Choice, threshold: float
) -> Score:
    """A row; NaN without a threshold where none could be chosen."""
    unknown = bool(np.isnan(threshold))
    value = float("nan") if unknown else measure.of(histogram.confusion(threshold))
    return Score(
        subject.run,
        subject.volume,
        subject.class_name,
        measure.metric + _SUFFIX[choice],
        value,
        histogram.voxels,
        f"{measure.rule.format(name=subject.class_name)}; pooled; {_CHOSEN[choice]}; n=voxels",
        threshold=None if unknown else threshold,
    )
