"""What sets runs apart: every run's score with its interval, every pair's difference with interval and p-value."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Literal, get_args

from cristae.errors import ScoreError
from cristae.evaluation.unit_tables import (
    Measured,
    Row,
    Trial,
    UnitTable,
    aligned,
    correlated_slices,
    measure_slices,
    measure_tidy,
    read_rows,
    read_trials,
)
from cristae.metrics.uncertainty.bootstrap import interval
from cristae.metrics.uncertainty.corrections import holm
from cristae.metrics.uncertainty.folds import compare_folds
from cristae.metrics.uncertainty.instances import (
    QUANTILES,
    compare_instances,
    deviation,
    instances_needed,
    quantiles,
    superiority,
)
from cristae.metrics.uncertainty.paired import Difference, compare_paired
from cristae.metrics.uncertainty.units import NEIGHBOURS_WARNING, parse_unit
from cristae.progress import Progress

METRIC, UNIT = "F1", "slice"
"""What tables of slices are compared by, where nothing else is given."""
Design = Literal["units", "folds", "instances"]
"""What the rows of a tidy table are: independent units, folds of a cross-validation, or instances (training runs that
differ in seeds)."""


@dataclass(frozen=True)
class CompareOptions:
    """How runs are compared. The fields are the options of `cristae compare`.

    Raises:
        ScoreError: The design is unknown, or the seed is below 0.
    """

    metric: str = METRIC
    """Score of a table of slices; a pooled one is recomputed from the counts, others are slice means."""
    class_name: str | None = None
    """Only this class; None takes all."""
    unit: str = UNIT
    """What is independent in a table of slices: slice, slab:500nm, volume or column:NAME."""
    slice_spacing_nm: float | None = None
    """Distance of slices in nm, for slabs."""
    design: Design = "units"
    """What the rows of a tidy table are. Folds need the columns train_size and test_size as well."""
    seed: int = 0
    """The same seed gives the same findings."""

    def __post_init__(self) -> None:
        if self.design not in get_args(Design):
            raise ScoreError(f"'{self.design}' is no design; there are {', '.join(get_args(Design))}")
        if self.seed < 0:
            raise ScoreError(f"the seed of the resampling is {self.seed}; give 0 or more (--seed)")


@dataclass(frozen=True)
class Finding:
    """One row: the score of a run, or what sets it apart from another run."""

    run: str
    other: str
    """The run it is compared with; empty for a score of its own."""
    class_name: str
    metric: str
    quantity: Literal["score", "deviation", "quantile", "difference", "superiority", "needed"]
    """`deviation` is the standard deviation over training runs; `quantile` the score below which a fraction of them
    lies; `difference` is `run` minus `other`; `superiority` the probability that a training run of `run` beats one of
    `other`; `needed` the number of training runs of each that distinguish them."""
    value: float
    """NaN where undefined."""
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    """Corrected for the number of pairs compared."""
    n: int
    unit: str
    method: str
    reason: str
    """Why an interval or p is missing, or how a number was found."""


def find_differences(tables: Sequence[Path], options: CompareOptions, progress: Progress) -> tuple[Finding, ...]:
    """The score of each run of some tables, then every pair.

    Args:
        tables: Tables of slices as `evaluate` writes them, or tidy tables with the columns run, unit and value.
        options: How to compare.
        progress: Where warnings go.

    Raises:
        MissingFileError: There is no such table.
        ScoreError: The tables or the options do not fit together.
    """
    rows, of_slices = read_rows(list(tables))
    if of_slices:
        findings = _of_slices(rows, options, progress)
    else:
        _check_tidy(options)
        findings = _of_trials(rows, options.design, options.seed)
    corrected = holm([finding.p for finding in findings])
    return tuple(replace(finding, p_holm=p) for finding, p in zip(findings, corrected, strict=True))


def findings_json(findings: Iterable[Finding]) -> str:
    """A JSON list of objects; what is undefined or absent is null."""
    rows = [_as_row(finding) for finding in findings]
    plain = [{key: None if value != value else value for key, value in row.items()} for row in rows]
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def findings_csv(findings: Iterable[Finding]) -> str:
    """A CSV table; an undefined value reads `nan`, an absent one is empty."""
    buffer = io.StringIO()
    names = ["class" if field.name == "class_name" else field.name for field in fields(Finding)]
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_as_row(finding) for finding in findings)
    return buffer.getvalue()


def _as_row(finding: Finding) -> dict[str, object]:
    return {"class" if key == "class_name" else key: value for key, value in asdict(finding).items()}


def _of_slices(rows: Sequence[Row], options: CompareOptions, progress: Progress) -> list[Finding]:
    if options.design != "units":
        raise ScoreError(f"{options.design} are compared from tidy tables (run, unit, value), not tables of slices")
    rule, metric = parse_unit(options.unit), options.metric
    measured = measure_slices(
        rows, metric, rule, class_name=options.class_name, slice_spacing_nm=options.slice_spacing_nm
    )
    if rule.kind == "slice" and len({row["slice"] for row in rows}) > 1:
        progress.say(f"warning: {NEIGHBOURS_WARNING}")
        length = correlated_slices(rows, measured)
        if length > 1.5:
            progress.say(
                f"warning: {metric} is correlated over about {length:.0f} slices; slabs of at least "
                f"{4 * length:.0f} slices are nearly independent"
            )
    return _of_units(measured, str(rule), options.seed)


def _check_tidy(options: CompareOptions) -> None:
    """Refuse what chooses among columns and slices that a tidy table has not."""
    if options.class_name is not None:
        raise ScoreError("a tidy table (run, unit, value) has no classes; keep one table for each class")
    if options.metric != METRIC:
        raise ScoreError(f"a tidy table (run, unit, value) has one value, no '{options.metric}'; leave --metric out")
    if options.unit != UNIT or options.slice_spacing_nm is not None:
        raise ScoreError(
            "a tidy table (run, unit, value) has its units in the column unit; leave --unit and --slice-spacing-nm out"
        )


def _of_trials(rows: Sequence[Row], design: Design, seed: int) -> list[Finding]:
    if design == "folds":
        return _of_folds(read_trials(rows, folds=True))
    if design == "instances":
        return _of_instances(rows, seed)
    return _of_units(measure_tidy(rows), "unit", seed)


def _of_units(measured: Measured, unit: str, seed: int) -> list[Finding]:
    scores = [_score(measured, table, unit, seed) for table in measured.tables]
    pairs = []
    for first, second in combinations(measured.tables, 2):
        if first.class_name == second.class_name:
            found = compare_paired(first.rows, aligned(first, second), measured.statistic, seed=seed)
            pairs.append(_difference(first.run, second.run, first.class_name, measured.metric, found, unit))
    return scores + pairs


def _score(measured: Measured, table: UnitTable, unit: str, seed: int) -> Finding:
    value = float(measured.statistic(table.rows.sum(axis=0)))
    found = interval(table.rows, measured.statistic, bounds=measured.bounds, seed=seed)
    return Finding(
        *(table.run, "", table.class_name, measured.metric, "score", value, found.low, found.high, None, None),
        *(found.n, unit, "bootstrap-t interval", found.reason),
    )


def _of_folds(trials: dict[str, tuple[Trial, ...]]) -> list[Finding]:
    why = "folds share training data; only differences have an interval"
    findings = [_mean_over_folds(run, own, why) for run, own in trials.items()]
    for first, second in combinations(trials, 2):
        a = {trial.unit: trial for trial in trials[first]}
        b = {trial.unit: trial for trial in trials[second]}
        if set(a) != set(b) or any(a[fold].sizes != b[fold].sizes for fold in a):
            raise ScoreError(f"'{first}' and '{second}' do not have the same folds with equal train_size and test_size")
        sizes = [trial.sizes for trial in a.values() if trial.sizes is not None]
        train, test = (math.fsum(size[side] for size in sizes) / len(sizes) for side in (0, 1))
        found = compare_folds([a[fold].value - b[fold].value for fold in a], train, test)
        findings.append(_difference(first, second, "", "value", found, "fold"))
    return findings


def _mean_over_folds(run: str, own: tuple[Trial, ...], reason: str) -> Finding:
    value = math.fsum(trial.value for trial in own) / len(own)
    return Finding(
        *(run, "", "", "value", "score", value, None, None, None, None, len(own), "fold", "mean over folds", reason)
    )


def _of_instances(rows: Sequence[Row], seed: int) -> list[Finding]:
    findings = [
        _score(measured, table, "training", seed) for measured in [measure_tidy(rows)] for table in measured.tables
    ]
    trials = {run: [trial.value for trial in own] for run, own in read_trials(rows).items()}
    for score in tuple(findings):
        spread = replace(
            score, quantity="deviation", value=deviation(trials[score.run]), low=None, high=None, reason=""
        )
        findings.append(replace(spread, method="sample standard deviation of the training runs (n - 1)"))
        for share, value in zip(QUANTILES, quantiles(trials[score.run]), strict=True):
            one = replace(score, quantity="quantile", value=value, low=None, high=None, reason="")
            findings.append(replace(one, method=f"{share:.0%} quantile of the training runs"))
    for first, second in combinations(trials, 2):
        findings += _two_architectures(first, second, trials[first], trials[second], seed)
    return findings


def _two_architectures(
    first: str, second: str, a: Sequence[float], b: Sequence[float], seed: int
) -> tuple[Finding, Finding, Finding]:
    """The difference of the means, how often one beats the other, and how many training runs distinguish them."""
    mean = _difference(first, second, "", "value", compare_instances(a, b, seed=seed), "training")
    wins, needed = superiority(a, b), instances_needed(a, b, seed=seed)
    share = replace(
        mean,
        quantity="superiority",
        value=wins.value,
        low=wins.interval.low,
        high=wins.interval.high,
        p=None,
        method="fraction of pairs of training runs won; score interval",
        reason=wins.interval.reason,
    )
    number = replace(
        mean,
        quantity="needed",
        value=math.nan if needed.n is None else float(needed.n),
        low=None,
        high=None,
        p=None,
        method="training runs of each for power 0.8 at level 0.05",
        reason=needed.reason,
    )
    return mean, share, number


def _difference(run: str, other: str, class_name: str, metric: str, found: Difference, unit: str) -> Finding:
    return Finding(
        *(run, other, class_name, metric, "difference", found.value, found.low, found.high, found.p, None),
        *(found.n, unit, found.method, found.reason),
    )
