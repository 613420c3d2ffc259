"""How a score grows with the number of labelled slices, and whether more of them would help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from cristae.evaluation.benchmarks.comparisons import Mean
from cristae.evaluation.benchmarks.trials import Trial, Trials, by_fold, is_better
from cristae.recipe.benchmark_tables import CellRow

Record = dict[str, Any]
_FEWEST = 3
"""Numbers of slices that a curve of three parameters needs."""
_RESAMPLED = 400
_WORTH = 0.005
"""A gain that is worth hours of annotation."""


def curve(cells: Sequence[CellRow], means: Mapping[str, Mean], trials: Trials) -> Iterator[Record]:
    """The mean score at each number of labelled slices."""
    for cell in cells:
        if cell.labelled_slices is not None and cell.cell in means:
            mean = means[cell.cell]
            yield {
                "series": _series(cell), "cell": cell.cell, "slices": cell.labelled_slices, "mean": mean.value,
                "low": mean.low, "high": mean.high, "n": len(trials[cell.cell]),
            }  # fmt: skip


def fits(cells: Sequence[CellRow], trials: Trials, metric: str, *, seed: int = 0) -> Iterator[Record]:
    """For each series of cells a power law, score = asymptote - scale x slices^-power, and what twice the slices gain.

    The interval is that of the gain over folds that are drawn again with replacement, all numbers of slices of a fold
    together; the curve is fitted to each draw. A law that is fitted to few numbers of slices holds near them at best.

    References:
        Cortes et al. (1993), Learning curves: asymptotic values and rate of convergence
    """
    for name in dict.fromkeys(_series(cell) for cell in cells if cell.labelled_slices is not None):
        own = [cell for cell in cells if cell.labelled_slices is not None and _series(cell) == name]
        own = [cell for cell in own if cell.cell in trials]
        x = np.array([cell.labelled_slices for cell in own], np.float64)
        if len(own) < _FEWEST:
            yield {"series": name, "verdict": f"no curve: fewer than {_FEWEST} numbers of labelled slices"}
            continue
        sign = 1.0 if is_better(metric, 1.0, 0.0) else -1.0
        values = [_units(trials[cell.cell]) for cell in own]
        y = sign * np.array([fmean(one.values()) for one in values])
        law = _fit(x, y)
        gain = _gain(law, x[-1])
        units = sorted(set.intersection(*(set(one) for one in values)), key=str)
        draws = _resampled(x, [[sign * one[unit] for unit in units] for one in values], seed) if len(units) > 2 else []
        low, high = (float(value) for value in np.quantile(draws, (0.025, 0.975))) if draws else (None, None)
        yield {
            "series": name, "asymptote": sign * law[0], "scale": law[1], "power": law[2], "largest": int(x[-1]),
            "gain_doubling": gain, "low": low, "high": high, "verdict": _verdict(gain, low, high),
        }  # fmt: skip


def _series(cell: CellRow) -> str:
    """What a cell is called without its number of slices."""
    return cell.label.rsplit(", ", 1)[0]


def _units(trials: Sequence[Trial]) -> dict[Any, float]:
    folds = by_fold(trials)
    if len(folds) > 1:
        return dict(folds)
    return {trial.instance: trial.value for trial in trials}


def _resampled(x: np.ndarray, values: Sequence[Sequence[float]], seed: int) -> list[float]:
    rng, table = np.random.default_rng(seed), np.array(values)
    found = []
    for _ in range(_RESAMPLED):
        chosen = rng.integers(0, table.shape[1], table.shape[1])
        found.append(_gain(_fit(x, table[:, chosen].mean(axis=1)), x[-1]))
    return found


def _fit(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """The law whose squares are least: for each power of a grid the other two follow by linear least squares."""
    best, chosen = np.inf, (float(y[-1]), 0.0, 1.0)
    for power in np.linspace(0.05, 3, 60):
        design = np.stack([np.ones_like(x), -(x**-power)], axis=1)
        (asymptote, scale), *_ = np.linalg.lstsq(design, y, rcond=None)
        scale = max(float(scale), 0.0)
        level = float(asymptote) if scale else float(y.mean())
        error = float(np.square(level - scale * x**-power - y).sum())
        if error < best - 1e-15:
            best, chosen = error, (level, scale, float(power))
    return chosen


def _gain(law: tuple[float, float, float], x: float) -> float:
    _, scale, power = law
    return float(scale * (x**-power - (2 * x) ** -power))


def _verdict(gain: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"twice as many labelled slices would gain about {gain:.3f}; too few folds for an interval"
    said = f"twice as many labelled slices would gain about {gain:.3f} ({low:.3f} to {high:.3f})"
    if high < _WORTH:
        return f"{said}: more labels would hardly help"
    return f"{said}: more labels would help" if low > _WORTH else f"{said}: undecided"
