"""How often 95 % intervals cover the true score, and how often tests of equal methods reject at 5 %.

Data sets are drawn from populations whose true score is known: skewed counts of slices (sizes log-normal, error rates
beta) whose pooled F1 is near 0.97 or 0.6, means of slices with undefined ones among them, and the best of eleven
thresholds. Folds come from real learners: nearest-mean classifiers trained in k-fold cross-validation.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cristae.metrics.uncertainty.bootstrap import interval
from cristae.metrics.uncertainty.folds import compare_folds
from cristae.metrics.uncertainty.instances import superiority
from cristae.metrics.uncertainty.paired import permutation_p
from cristae.metrics.uncertainty.statistic import Statistic, best_mean, mean, mean_rows, pooled_score

_SIZE_SPREAD = 0.6
"""Of the logarithm of a slice's foreground."""


@dataclass(frozen=True)
class Population:
    """Units that can be drawn, and the score made of them."""

    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    """Gives (*shape, k) units."""
    statistic: Statistic

    def true_value(self) -> float:
        """The score of a million units."""
        rng = np.random.default_rng(99)
        total = sum(self.draw(rng, (100_000,)).sum(axis=0) for _ in range(10))
        return float(self.statistic(np.asarray(total)))


def counts(rng: np.random.Generator, shape: tuple[int, ...], errors: float, spread: float) -> np.ndarray:
    """(*shape, 4) TP, FP, FN, TN of slices; `errors` is the mean share missed and added, beta with this total."""
    size = np.round(rng.lognormal(8, _SIZE_SPREAD, shape))
    missed, added = rng.beta(errors * spread, (1 - errors) * spread, (2, *shape))
    fn = np.round(size * missed)
    return np.stack([size - fn, np.round(size * added), fn, np.full(shape, 2.5e5) - size], axis=-1)


def slice_means(rng: np.random.Generator, shape: tuple[int, ...], errors: float, spread: float) -> np.ndarray:
    """(*shape, 2) F1 of slices, a fifth of them undefined."""
    values = pooled_score("F1")(counts(rng, shape, errors, spread))
    values[rng.random(shape) < 0.2] = np.nan
    return mean_rows(values.ravel()).reshape(*shape, 2)


def threshold_means(rng: np.random.Generator, shape: tuple[int, ...], width: float) -> np.ndarray:
    """(*shape, 22) V scores of slices at eleven thresholds; a small `width` makes many of them nearly the best."""
    quality = 0.93 + 0.05 * np.clip(rng.standard_normal((*shape, 1)), -3, 1)
    peak = 0.5 + 0.05 * rng.standard_normal((*shape, 1))
    noise = 0.01 * rng.standard_normal((*shape, 11))
    values = np.clip(quality - width * np.square(np.arange(11) / 10 - peak) + noise, 0, 1)
    return mean_rows(values.reshape(-1, 11)).reshape(*shape, 22)


POPULATIONS = {
    "pooled F1 near 0.97": Population(lambda rng, shape: counts(rng, shape, 0.03, 30), pooled_score("F1")),
    "pooled F1 near 0.6": Population(lambda rng, shape: counts(rng, shape, 0.4, 4), pooled_score("F1")),
    "mean F1 near 0.97, a fifth undefined": Population(lambda rng, shape: slice_means(rng, shape, 0.03, 30), mean),
    "mean F1 near 0.6, a fifth undefined": Population(lambda rng, shape: slice_means(rng, shape, 0.4, 4), mean),
    "best of eleven thresholds, sharp": Population(lambda rng, shape: threshold_means(rng, shape, 0.25), best_mean),
    "best of eleven thresholds, flat": Population(lambda rng, shape: threshold_means(rng, shape, 0.02), best_mean),
}
HARD = {
    "pooled F1 near 0.97, one slice in fifty lost": Population(
        lambda rng, shape: np.where(
            rng.random((*shape, 1)) < 0.02, counts(rng, shape, 0.7, 10), counts(rng, shape, 0.02, 60)
        ),
        pooled_score("F1"),
    )
}
"""Where the rare unit that decides is often not among those drawn: no method covers."""


def coverage(population: Population, n: int, data_sets: int, *, resamples: int, seed: int = 0) -> float:
    """Share of data sets of n units whose interval holds the true score; one without an interval does not."""
    true = population.true_value()
    hits = 0
    for index, units in enumerate(population.draw(np.random.default_rng([seed, n]), (data_sets, n))):
        found = interval(units, population.statistic, seed=index, resamples=resamples)
        hits += found.low is not None and found.high is not None and found.low <= true <= found.high
    return hits / data_sets


def paired_false_positives(n: int, data_sets: int, *, draws: int = 999, seed: int = 0) -> float:
    """Share of p <= 0.05 for two methods of equal quality whose errors share half of each slice's difficulty."""
    rng = np.random.default_rng([seed, n])
    size = np.round(rng.lognormal(8, _SIZE_SPREAD, (data_sets, n, 1)))
    hard = rng.beta(0.9, 29.1, (data_sets, n, 1))
    rates = 0.5 * hard + 0.5 * rng.beta(0.9, 29.1, (2, 2, data_sets, n, 1))
    methods = [
        np.concatenate([size - np.round(size * miss), np.round(size * extra), np.round(size * miss), 0 * size], axis=-1)
        for miss, extra in rates
    ]
    score = pooled_score("F1")
    p = [permutation_p(a, b, score, seed=index, draws=draws) for index, (a, b) in enumerate(zip(*methods, strict=True))]
    return float(np.mean(np.array(p) <= 0.05))


def fold_differences(data_sets: int, samples: int, folds: int, repeats: int, *, seed: int = 0) -> np.ndarray:
    """(data_sets, repeats * folds) differences in accuracy of two equally good nearest-mean classifiers.

    Each sees two features of its own, of the same distribution; both are trained and tested on the same folds.
    """
    rng = np.random.default_rng([seed, folds, repeats])
    label = np.tile([0, 1], samples // 2)
    features = rng.standard_normal((data_sets, samples, 2, 2)) + 0.6 * label[:, None, None]
    found = []
    for _ in range(repeats):
        fold = rng.permutation(samples) % folds
        for test in range(folds):
            train = fold != test
            zero, one = (features[:, train & (label == value)].mean(axis=1, keepdims=True) for value in (0, 1))
            held = features[:, ~train]
            nearer_one = np.square(held - one).sum(axis=-1) < np.square(held - zero).sum(axis=-1)
            right = (nearer_one == (label[~train] == 1)[:, None]).mean(axis=1)
            found.append(right[:, 0] - right[:, 1])
    return np.stack(found, axis=1)


def fold_false_positives(data_sets: int, samples: int, folds: int, repeats: int) -> tuple[float, float]:
    """Shares of p <= 0.05 of the corrected test, and of the ordinary t-test over the same differences."""
    from scipy import stats

    differences = fold_differences(data_sets, samples, folds, repeats)
    corrected = [compare_folds(row, folds - 1, 1).p for row in differences]
    ordinary = stats.ttest_1samp(differences, 0, axis=1).pvalue
    return float(np.mean([p is not None and p <= 0.05 for p in corrected])), float(np.mean(ordinary <= 0.05))


def stack_coverage(slices_per_unit: int, data_sets: int, *, resamples: int, seed: int = 0) -> float:
    """Share of intervals that hold the true F1 of stacks of 720 slices whose neighbours resemble each other.

    How hard a slice is follows the one before with correlation 0.8, so that scores go together over nine slices.
    """
    from scipy import signal, stats

    rng = np.random.default_rng([seed, 720])
    steps = rng.standard_normal((data_sets, 720)) * np.where(np.arange(720) == 0, 1.0, 0.6)
    hard = stats.beta.ppf(stats.norm.cdf(signal.lfilter([1.0], [1.0, -0.8], steps, axis=1)), 0.9, 29.1)
    size = 3000 * (1 - hard)
    rows = np.stack([size, 3000 * hard, 3000 * hard, np.zeros_like(hard)], axis=-1)
    units = rows.reshape(data_sets, -1, slices_per_unit, 4).sum(axis=2)
    score = pooled_score("F1")
    found = [interval(one, score, seed=index, resamples=resamples) for index, one in enumerate(units)]
    return float(np.mean([i.low is not None and i.high is not None and i.low <= 0.97 <= i.high for i in found]))


def superiority_coverage(n: int, data_sets: int, *, seed: int = 0) -> float:
    """Share of intervals that hold the true probability that a training of A beats one of B."""
    from scipy import stats

    rng = np.random.default_rng([seed, n])
    a, b = rng.normal(0.61, 0.02, (data_sets, n)), rng.normal(0.6, 0.02, (data_sets, n))
    true = float(stats.norm.cdf(0.01 / (0.02 * np.sqrt(2))))
    found = [superiority(x, y).interval for x, y in zip(a, b, strict=True)]
    return float(np.mean([i.low is not None and i.high is not None and i.low <= true <= i.high for i in found]))


def measure(data_sets: int, resamples: int) -> dict[str, dict[str, float]]:
    """All figures."""
    figures: dict[str, dict[str, float]] = {"coverage": {}, "false_positives": {}}
    for name, population in (POPULATIONS | HARD).items():
        for n in (6, 10, 20, 50, 100):
            figures["coverage"][f"{name}; n={n}"] = coverage(population, n, data_sets, resamples=resamples)
    for slices in (1, 36):
        share = stack_coverage(slices, data_sets, resamples=resamples)
        figures["coverage"][f"720 neighbouring slices, {slices} to a unit"] = share
    for n in (6, 26):
        figures["coverage"][f"superiority; n={n}"] = superiority_coverage(n, data_sets)
    for n in (6, 12, 25, 60):
        figures["false_positives"][f"paired; n={n}"] = paired_false_positives(n, data_sets)
    for folds, repeats in ((6, 1), (10, 1), (5, 5), (10, 10)):
        corrected, ordinary = fold_false_positives(data_sets, 120, folds, repeats)
        figures["false_positives"][f"{repeats} x {folds} folds"] = corrected
        figures["false_positives"][f"{repeats} x {folds} folds, without the correction"] = ordinary
    return {kind: {name: round(value, 4) for name, value in values.items()} for kind, values in figures.items()}


def main() -> None:
    """Measure, print and keep."""
    from benchmarks.machine import write_result

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data-sets", type=int, default=4000)
    options.add_argument("--resamples", type=int, default=1999)
    asked = options.parse_args()
    figures = measure(asked.data_sets, asked.resamples)
    for kind, values in figures.items():
        for name, value in values.items():
            print(f"{kind:16} {name:52} {value:.4f}")
    write_result("uncertainty", {"data_sets": asked.data_sets, "resamples": asked.resamples, **figures})


if __name__ == "__main__":
    main()
