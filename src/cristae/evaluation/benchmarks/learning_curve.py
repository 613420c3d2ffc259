"""How a score grows with the number of labelled slices, and whether more of them would help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from cristae.evaluation.benchmarks.comparisons import Mean
from cristae.evaluation.benchmarks.trials import Trial, Trials, is_better
from cristae.recipe.benchmark_tables import CellRow

Record = dict[str, Any]
_FEWEST = 3
"""Numbers of slices that a curve of three parameters needs."""
_RESAMPLED = 400
_ENOUGH = 6
"""Folds from which on an interval is said without a caveat, as comparisons are."""
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

    The interval is that of the gain over draws with replacement: of the folds, all numbers of slices of a fold
    together, and of each fold's trainings, which differ by chance alone. The curve is fitted to each draw. A law that
    is fitted to few numbers of slices holds near them at best, and an interval of few folds is too narrow.

    References:
        Cortes et al. (1993), Learning curves: asymptotic values and rate of convergence
        Davison and Hinkley (1997), Bootstrap methods and their application, section 3.8 (hierarchical data)
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
        y = sign * np.array([fmean(map(fmean, one.values())) for one in values])
        law = _fit(x, y)
        gain = _gain(law, x[-1])
        units = sorted(set.intersection(*(set(one) for one in values)), key=str)
        table = [[sign * np.array(one[unit]) for unit in units] for one in values]
        draws = _resampled(x, table, seed) if len(units) > 2 else []
        low, high = (float(value) for value in np.quantile(draws, (0.025, 0.975))) if draws else (None, None)
        yield {
            "series": name, "asymptote": sign * law[0], "scale": law[1], "power": law[2], "largest": int(x[-1]),
            "gain_doubling": gain, "low": low, "high": high, "verdict": _verdict(gain, low, high, len(units)),
        }  # fmt: skip


def _series(cell: CellRow) -> str:
    """What a cell is called without its number of slices."""
    return cell.label.rsplit(", ", 1)[0]


def _units(trials: Sequence[Trial]) -> dict[Any, list[float]]:
    """The values of each fold, or of each instance where there is but one fold."""
    folds = len({trial.fold for trial in trials}) > 1
    found: dict[Any, list[float]] = {}
    for trial in trials:
        found.setdefault(trial.fold if folds else trial.instance, []).append(trial.value)
    return found


def _resampled(x: np.ndarray, values: Sequence[Sequence[np.ndarray]], seed: int) -> list[float]:
    """Gains of draws, from the values of each number of slices and unit."""
    rng, count, found = np.random.default_rng(seed), len(values[0]), []
    for _ in range(_RESAMPLED):
        units = rng.integers(0, count, count)
        y = [fmean(rng.choice(of_number[unit], len(of_number[unit])).mean() for unit in units) for of_number in values]
        found.append(_gain(_fit(x, np.array(y)), x[-1]))
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


def _verdict(gain: float, low: float | None, high: float | None, units: int) -> str:
    if low is None or high is None:
        return f"twice as many labelled slices would gain about {gain:.3f}; too few folds for an interval"
    few = f" from {units} folds or trainings alone" if units < _ENOUGH else ""
    said = f"twice as many labelled slices would gain about {gain:.3f} ({low:.3f} to {high:.3f}{few})"
    if high < _WORTH:
        return f"{said}: more labels would hardly help"
    return f"{said}: more labels would help" if low > _WORTH else f"{said}: undecided"
