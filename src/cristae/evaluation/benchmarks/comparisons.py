"""Means of cells with their intervals, every pair of cells, and the ranks that follow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Literal

from cristae.errors import ScoreError
from cristae.evaluation.benchmarks.trials import Measure, Trial, Trials, by_fold, design_of, is_better
from cristae.evaluation.unit_tables import Measured, aligned
from cristae.metrics.table import describe_metric
from cristae.metrics.uncertainty.bootstrap import Interval, interval
from cristae.metrics.uncertainty.corrections import holm
from cristae.metrics.uncertainty.folds import compare_folds, folds_needed, mean_over_folds
from cristae.metrics.uncertainty.instances import compare_instances, deviation, instances_needed
from cristae.metrics.uncertainty.paired import Difference, compare_paired

LEVEL = 0.05
"""Of all pairs of one score together."""
Verdict = Literal["better", "worse", "undecided"]
_FEW = "one training each, and no table of slices to compare"


@dataclass(frozen=True)
class Mean:
    """What a cell reaches."""

    cell: str
    value: float
    low: float | None
    high: float | None
    deviation: float | None
    """Over trainings."""
    n: int
    unit: str
    """What the interval is over: folds, trainings or slices."""


@dataclass(frozen=True)
class Pair:
    """A cell against another one."""

    cell: str
    other: str
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    n: int
    unit: str
    method: str
    reason: str
    """Why there is no verdict."""
    verdict: Verdict
    needed: int | None = None
    """Trainings of each, or folds, that would tell the two apart."""
    needed_reason: str = ""


@dataclass(frozen=True, eq=False)
class Compared:
    """All cells by one measure."""

    measure: Measure
    means: Mapping[str, Mean]
    pairs: tuple[Pair, ...]

    def ranks(self, cell: str) -> tuple[int, int]:
        """The best and the worst rank that a cell may have: those of cells that are surely better stand before it, and
        those of cells that are surely worse behind it."""
        won = [_beats(one, cell) for one in self.pairs]
        return 1 + won.count(False), len(self.means) - won.count(True)

    def ordered(self) -> list[Mean]:
        """The means, best first."""
        known = sorted(self.means.values(), key=lambda one: one.value)
        lower = is_better(self.measure.metric, 0.0, 1.0)
        return known if lower else known[::-1]


def _beats(pair: Pair, cell: str) -> bool | None:
    """Whether a cell surely beats the other one of a pair (or is surely beaten); None where it is not in the pair, or
    nothing is sure."""
    if cell not in (pair.cell, pair.other) or pair.verdict == "undecided":
        return None
    return (pair.verdict == "better") == (cell == pair.cell)


def compare_cells(
    measure: Measure, trials: Trials, sizes: tuple[float, float], slices: Measured | None, *, needed: bool = False
) -> Compared:
    """Compare all cells by one score.

    Folds are compared by the corrected resampled t-test over folds, with the mean over seeds in each; several trainings
    without folds by Welch's interval and permutation; single trainings by the slices that they are scored on. All
    pairs of the score are corrected together (Holm).

    Args:
        measure: What is compared.
        trials: Its values.
        sizes: Voxels in a training and a scored part of a fold.
        slices: The same score of slices, for cells with a single training.
        needed: Also say how many trainings or folds would be needed.
    """
    bounds = describe_metric(measure.metric).bounds
    means = {cell: _mean(cell, own, sizes, slices, bounds) for cell, own in trials.items()}
    pairs = [_pair(first, second, trials, sizes, slices, needed) for first, second in combinations(trials, 2)]
    corrected = holm([one.p for one in pairs])
    decided = [_decide(one, p, measure.metric) for one, p in zip(pairs, corrected, strict=True)]
    return Compared(measure, means, tuple(decided))


def _decide(pair: Pair, p: float | None, metric: str) -> Pair:
    verdict: Verdict = "undecided"
    if p is not None and p < LEVEL and pair.difference:
        verdict = "better" if is_better(metric, pair.difference, 0.0) else "worse"
    return replace(pair, p_holm=p, verdict=verdict)


def _mean(
    cell: str,
    trials: Sequence[Trial],
    sizes: tuple[float, float],
    slices: Measured | None,
    bounds: tuple[float, float] | None,
) -> Mean:
    values = [trial.value for trial in trials]
    design, mean = design_of(trials), fmean(values)
    spread = deviation(values) if len(values) > 1 else None
    if design == "folds":
        folds = list(by_fold(trials).values())
        found = mean_over_folds(folds, *sizes, bounds=bounds)
        return Mean(cell, fmean(folds), found.low, found.high, spread, len(folds), "folds")
    if design == "instances":
        found = _over_trainings(values, bounds)
        return Mean(cell, mean, found.low, found.high, spread, len(values), "trainings")
    table = None if slices is None else next((one for one in slices.tables if one.run == cell), None)
    if slices is None or table is None:
        return Mean(cell, mean, None, None, None, 1, "training")
    found = interval(table.rows, slices.statistic, bounds=slices.bounds)
    return Mean(cell, mean, found.low, found.high, None, found.n, "slices")


def _over_trainings(values: Sequence[float], bounds: tuple[float, float] | None) -> Interval:
    """Student's interval of the mean over independent trainings, from three on."""
    n, spread = len(values), deviation(values)
    if n < 3:
        return Interval(None, None, n, f"an interval needs at least 3 trainings, found {n}")
    from scipy import stats

    half = float(stats.t.ppf(0.975, n - 1)) * spread / math.sqrt(n)
    low, high = fmean(values) - half, fmean(values) + half
    return Interval(*(low, high) if bounds is None else (max(low, bounds[0]), min(high, bounds[1])), n)


def _pair(
    first: str,
    second: str,
    trials: Trials,
    sizes: tuple[float, float],
    slices: Measured | None,
    needed: bool,
) -> Pair:
    a, b = trials[first], trials[second]
    designs = design_of(a), design_of(b)
    if designs == ("folds", "folds"):
        x, y = by_fold(a), by_fold(b)
        gaps = [x[fold] - y[fold] for fold in x if fold in y]
        found, unit = compare_folds(gaps, *sizes), "folds"
        enough = folds_needed(gaps, *sizes) if needed else None
    elif designs == ("instances", "instances"):
        values = [one.value for one in a], [one.value for one in b]
        found, unit = compare_instances(*values), "trainings"
        enough = instances_needed(*values, draws=500) if needed else None
    else:
        found, unit, enough = _by_slices(first, second, slices, a, b), "slices", None
    one = Pair(
        *(first, second, found.value, found.low, found.high, found.p, None, found.n, unit, found.method),
        *(found.reason, "undecided"),
    )
    return one if enough is None else replace(one, needed=enough.n, needed_reason=enough.reason)


def _by_slices(first: str, second: str, slices: Measured | None, a: Sequence[Trial], b: Sequence[Trial]) -> Difference:
    gap = fmean(one.value for one in a) - fmean(one.value for one in b)
    if slices is None:
        return Difference(gap, None, None, None, 1, "none", _FEW)
    tables = {table.run: table for table in slices.tables}
    if first not in tables or second not in tables:
        return Difference(gap, None, None, None, 1, "none", _FEW)
    try:
        other = aligned(tables[first], tables[second])
    except ScoreError:
        return Difference(gap, None, None, None, 1, "none", "the two are not scored on the same slices")
    return compare_paired(tables[first].rows, other, slices.statistic)


def ranking_order(compared: Compared) -> Iterator[tuple[Mean, int, int]]:
    """Means with their ranks, best first."""
    for mean in compared.ordered():
        yield mean, *compared.ranks(mean.cell)
