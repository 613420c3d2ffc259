"""Estimates with intervals from amounts of labelled units and predictions of all units.

A part is a population of its own, such as a volume: its labelled units and, known for all its units, what is predicted.
What is labelled but was trained on is no sample: where it is known completely it is added as it is, without error, and
the rest is estimated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cristae.evaluation.estimate_rows import EstimateRow, Estimator
from cristae.metrics.ratio import ratio
from cristae.metrics.uncertainty.designs import Sample
from cristae.metrics.uncertainty.estimates import Batch, Method, estimate_batch, needed_units
from cristae.metrics.uncertainty.statistic import SMALLEST_N

_METHODS: dict[Estimator, Method] = {"corrected": "tuned", "labels": "labels", "difference": "difference"}
_ALIKE = "all labelled units agree with the estimate, so its spread cannot be seen; label more"


@dataclass(frozen=True, eq=False)
class PartAmounts:
    """One population. K classes, n labelled units."""

    sample: Sample
    truth: np.ndarray
    """(n, K) y."""
    size: np.ndarray
    """(n,) x."""
    predicted: np.ndarray
    """(n, K) predicted of what `truth` was counted in."""
    predicted_size: np.ndarray
    """(n,) as predicted; `size` where it is known."""
    whole_predicted: np.ndarray
    """(K,) predicted of all units that are estimated."""
    whole_size: float
    """Their size, as predicted or known."""
    known: np.ndarray
    """(K,) truth of units that are known completely and not estimated."""
    known_predicted: np.ndarray
    """(K,) what is predicted of them."""
    known_size: float
    known_units: int = 0
    """How many these are."""

    @property
    def control(self) -> np.ndarray:
        """(n, K) v: what is predicted of a unit beyond the mean of the population."""
        mean = np.nan_to_num(ratio(self.whole_predicted, np.asarray(self.whole_size)))
        found: np.ndarray = self.predicted - self.predicted_size[:, None] * mean
        return found


@dataclass(frozen=True)
class Wanted:
    """What is to be said of each class."""

    names: tuple[str, ...]
    quantity: str
    """What the ratio of amount and size is called."""
    total: str | None
    """What the amount is called; None where the size of the population is not known."""
    half_width: float | None = None
    """Of the ratio; for the number of units that are still needed."""
    upper: float = 1.0
    """Largest possible ratio."""


def estimate_classes(parts: Sequence[PartAmounts], wanted: Wanted) -> tuple[EstimateRow, ...]:
    """Rows of all classes: the corrected estimate, the labels alone, the prediction alone, the difference estimator.

    Args:
        parts: All of one design.
        wanted: Names of the classes and quantities.
    """
    sample = Sample.together([part.sample for part in parts])
    truth, control = (np.concatenate([getattr(p, name) for p in parts]) for name in ("truth", "control"))
    size = np.concatenate([part.size for part in parts])
    rows: list[EstimateRow] = []
    for index, name in enumerate(wanted.names):
        of_class: list[EstimateRow] = []
        for estimator, method in _METHODS.items():
            method = "labels" if sample.n == sample.population else method
            batch = estimate_batch(truth[:, index], size, control[:, index], sample, method, upper=wanted.upper)
            of_class.append(_row(name, estimator, batch, sample, wanted))
        known = sum(part.known[index] for part in parts)
        of_class = [_with_known(row, known, parts, wanted.upper) for row in of_class]
        of_class = _compared(of_class, sample, wanted)
        of_class.insert(2, _prediction_alone(of_class[0], parts, index))
        rows += of_class
        if wanted.total is not None:
            scale = sum(part.whole_size + part.known_size for part in parts)
            rows += [_scaled(row, scale, wanted.total) for row in of_class]
    return tuple(rows)


def _row(name: str, estimator: Estimator, batch: Batch, sample: Sample, wanted: Wanted) -> EstimateRow:
    """The estimate of the units that are no known ones."""
    value, error = float(batch.value), float(batch.error)
    low: float | None = float(batch.low)
    high: float | None = float(batch.high)
    reason = ""
    if sample.n == sample.population:
        low = high = value
    elif sample.n < SMALLEST_N:
        reason = f"an interval needs at least {SMALLEST_N} labelled units, there are {sample.n}"
    elif not math.isfinite(value):
        reason = "the labelled units have no size: nothing that a fraction could be of"
    elif error <= 1e-12 * max(abs(value), 1e-12):
        reason = _ALIKE
    if reason:
        low = high = None
    tuning = float(batch.tuning)
    return EstimateRow(
        *(name, wanted.quantity, estimator, value, low, high, error if low is not None else None),
        *(sample.n, sample.population, sample.design, tuning, None, None, reason),
    )


def _with_known(row: EstimateRow, known: float, parts: Sequence[PartAmounts], upper: float) -> EstimateRow:
    """The estimate of all units: those that are known completely weigh by their size and have no error."""
    rest, there = sum(part.whole_size for part in parts), sum(part.known_size for part in parts)
    if there == 0:
        return row
    share = rest / (rest + there)
    units = sum(part.known_units for part in parts)

    def whole(value: float) -> float:
        return min(known / (rest + there) + share * value, upper)

    return replace(
        row,
        value=whole(row.value),
        low=None if row.low is None else whole(row.low),
        high=None if row.high is None else whole(row.high),
        error=None if row.error is None else share * row.error,
        n=row.n + units,
        population=row.population + units,
    )


def _compared(rows: Sequence[EstimateRow], sample: Sample, wanted: Wanted) -> list[EstimateRow]:
    """How much an estimate gains over the labels alone, and how many units are still needed."""
    alone = next(row.error for row in rows if row.estimator == "labels")
    found = []
    for row in rows:
        gain = None
        if alone and row.error and row.estimator != "labels":
            gain = (alone / row.error) ** 2
        needed = None
        if row.error is not None and wanted.half_width is not None:
            needed = max(0, needed_units(sample, row.error, wanted.half_width) - sample.n)
        found.append(replace(row, gain=gain, needed=needed))
    return found


def _prediction_alone(row: EstimateRow, parts: Sequence[PartAmounts], index: int) -> EstimateRow:
    size = sum(part.whole_size + part.known_size for part in parts)
    amount = sum(float(part.whole_predicted[index] + part.known_predicted[index]) for part in parts)
    value = amount / size if size else math.nan
    reason = "biased by an unknown amount, so it has no interval"
    return replace(
        row, estimator="prediction", value=value, low=None, high=None, error=None, tuning=None, gain=None, needed=None,
        reason=reason,
    )  # fmt: skip


def _scaled(row: EstimateRow, scale: float, quantity: str) -> EstimateRow:
    def times(value: float | None) -> float | None:
        return None if value is None else scale * value

    value = scale * row.value
    return replace(
        row, quantity=quantity, value=value, low=times(row.low), high=times(row.high), error=times(row.error)
    )
