"""How often 95 % intervals of organelle fractions hold the true fraction, and how wide they are.

Volumes of known truth are drawn, some slices of each are labelled by a design, and the fraction of the volume is
estimated from the labels alone, by the difference estimator, and by the tuned one. Amounts of a class in slices are
log-normal around 8 % of the slice, and neighbouring slices are alike over a stated length. Predictions are `good`
(errors of 10 % in each slice), `biased` (they find 60 % of the class, add a hundredth of the slice, and scatter by
20 %), `useless` (as scattered as the truth and independent of it), or `lost` (right, but in one slice of ten, where
70 % is missing). Sizes of slices vary where the scenario says so: `areas` by a factor of 1.6 up or down (log-normal),
`ball` as through a round cell. Skewed fractions vary by a factor of 2 up or down, others by 1.4.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from cristae.metrics.uncertainty.designs import Design, Sample, plan_units
from cristae.metrics.uncertainty.estimates import Method, estimate_batch

METHODS: Final[tuple[Method, ...]] = ("labels", "difference", "tuned")


@dataclass(frozen=True)
class Scenario:
    """Volumes, a prediction of them, and how their slices are labelled."""

    predictor: Literal["good", "biased", "useless", "lost"]
    n: int = 10
    """Labelled slices."""
    slices: int = 400
    design: Design = "random"
    sizes: Literal["equal", "areas", "ball"] = "equal"
    spread: float = 0.35
    """Standard deviation of the logarithm of the fraction in a slice."""
    alike: float = 0.0
    """Slices over which neighbours resemble each other (exponential correlation)."""

    @property
    def name(self) -> str:
        """In words."""
        parts = [f"{self.predictor} prediction", f"{self.n} of {self.slices} slices", self.design]
        parts += [] if self.sizes == "equal" else [f"sizes: {self.sizes}"]
        parts += [] if self.spread == 0.35 else ["skewed fractions"]
        parts += [] if not self.alike else [f"neighbours alike over {self.alike:g}"]
        return ", ".join(parts)


SCENARIOS: Final = (
    *(Scenario(predictor, n) for n in (10, 20, 50) for predictor in ("good", "biased", "useless")),
    *(Scenario(predictor, n, sizes="areas") for n in (10, 20, 50) for predictor in ("good", "biased", "useless")),
    *(Scenario(predictor, 10, sizes="ball") for predictor in ("good", "biased", "useless")),
    *(Scenario(predictor, 10, slices) for slices in (30, 16) for predictor in ("good", "biased", "useless")),
    *(Scenario(predictor, 20, alike=5) for predictor in ("good", "biased", "useless")),
    *(Scenario(predictor, 20, design="stratified", alike=5) for predictor in ("good", "biased", "useless")),
    *(Scenario(predictor, 20, design="stratified", alike=20) for predictor in ("good", "biased", "useless")),
    *(Scenario(predictor, 20, design="systematic", alike=1) for predictor in ("good", "biased", "useless")),
    *(Scenario(predictor, n, spread=0.7) for n in (10, 20, 50) for predictor in ("good", "biased", "useless")),
)
"""Where intervals hold the truth in 93 to 97 of 100 volumes."""
HARD: Final = (
    *(Scenario(predictor, 20, design="systematic", alike=5) for predictor in ("good", "biased", "useless")),
    *(Scenario(predictor, 20, design="systematic", alike=20) for predictor in ("good", "biased", "useless")),
    *(Scenario("lost", n) for n in (10, 20, 50)),
)
"""Where they hold it more often, as intervals of evenly spaced slices are too wide where neighbours are alike over more
than a twentieth of the step; or less often, as no lost slice may be among those that are labelled."""


@dataclass(frozen=True, eq=False)
class Figures:
    """Of one scenario, by method."""

    coverage: dict[str, float] = field(default_factory=dict)
    width: dict[str, float] = field(default_factory=dict)
    """Median half-width over the true fraction."""


def measure(scenario: Scenario, data_sets: int, *, seed: int = 0) -> Figures:
    """Draw volumes, label and estimate them."""
    rng = np.random.default_rng([seed, scenario.n, scenario.slices])
    truth, size, predicted = volumes(scenario, data_sets, rng)
    true = truth.sum(axis=1) / size.sum(axis=1)
    control = predicted - size * (predicted.sum(axis=1) / size.sum(axis=1))[:, None]
    places = _labelled(scenario, data_sets, rng)
    given = [np.take_along_axis(one, places, axis=1) for one in (truth, size, control)]
    sample, found = Sample.of(scenario.design, scenario.n, scenario.slices), Figures()
    for method in METHODS:
        batch = estimate_batch(*given, sample, method)
        found.coverage[method] = float(np.mean((batch.low <= true) & (true <= batch.high)))
        found.width[method] = float(np.median((batch.high - batch.low) / 2 / true))
    return found


def volumes(scenario: Scenario, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(count, slices) amounts of a class, sizes of slices, and predicted amounts."""

    def alike() -> np.ndarray:
        return stacks(count, scenario.slices, scenario.alike, rng)

    size = np.full((count, scenario.slices), 1e5)
    if scenario.sizes == "areas":
        size *= np.exp(0.5 * alike())
    elif scenario.sizes == "ball":
        size *= np.clip(1 - np.linspace(-1, 1, scenario.slices) ** 2, 0.01, 1) * np.exp(0.1 * alike())
    truth = size * np.minimum(0.08 * np.exp(scenario.spread * alike()), 0.9)
    if scenario.predictor == "good":
        return truth, size, truth * np.exp(0.1 * alike())
    if scenario.predictor == "biased":
        return truth, size, 0.6 * truth * np.exp(0.2 * alike()) + 0.01 * size * np.exp(0.3 * alike())
    if scenario.predictor == "lost":
        return truth, size, truth * np.where(rng.random(truth.shape) < 0.1, 0.3, 1.0)
    return truth, size, 0.1 * size * np.exp(scenario.spread * alike())


def stacks(count: int, slices: int, alike: float, rng: np.random.Generator) -> np.ndarray:
    """(count, slices) standard normal values, neighbours correlated over `alike` slices."""
    from scipy import signal

    steps = rng.standard_normal((count, slices))
    if not alike:
        return steps
    share = np.exp(-1 / alike)
    steps[:, 1:] *= np.sqrt(1 - share**2)
    found: np.ndarray = signal.lfilter([1.0], [1.0, -share], steps, axis=1)
    return found


def _labelled(scenario: Scenario, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, n) labelled slices."""
    if scenario.design == "random":
        return np.sort(np.argsort(rng.random((count, scenario.slices)), axis=1)[:, : scenario.n], axis=1)
    seeds = rng.integers(0, 2**31, count)
    return np.array([plan_units(scenario.slices, scenario.n, scenario.design, seed=int(seed)) for seed in seeds])


def table(figures: dict[str, dict[str, dict[str, float]]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| scenario | labels: coverage | ± | difference: coverage | ± | corrected: coverage | ± |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in figures.items():
        cells = [f"{100 * found['coverage'][m]:.1f} % | {100 * found['width'][m]:.0f} %" for m in METHODS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and keep."""
    from benchmarks.machine import write_result

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data-sets", type=int, default=2000)
    asked = options.parse_args()
    figures = {}
    for scenario in (*SCENARIOS, *HARD):
        found = measure(scenario, asked.data_sets)
        figures[scenario.name] = {
            kind: {method: round(value, 4) for method, value in values.items()}
            for kind, values in (("coverage", found.coverage), ("width", found.width))
        }
    print(table(figures))
    write_result("organelle_estimates", {"data_sets": asked.data_sets, "scenarios": figures})


if __name__ == "__main__":
    main()
