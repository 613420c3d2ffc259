"""All statistics of a benchmark, made of its tables and written beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from cristae.errors import ScoreError
from cristae.evaluation.benchmarks.comparisons import Compared, compare_cells, ranking_order
from cristae.evaluation.benchmarks.costs import best_of, convergence, criteria, late_gain
from cristae.evaluation.benchmarks.learning_curve import curve, fits
from cristae.evaluation.benchmarks.summary import sentences
from cristae.evaluation.benchmarks.trials import (
    ALL,
    Measure,
    Trials,
    fold_sizes,
    is_better,
    split_to_rank,
    trials_of,
)
from cristae.evaluation.unit_tables import Measured, measure_slices
from cristae.metrics.table import describe_metric
from cristae.metrics.uncertainty.instances import QUANTILES, deviation, quantiles
from cristae.metrics.uncertainty.units import parse_unit
from cristae.recipe.benchmark_folder import BenchmarkFacts
from cristae.recipe.benchmark_tables import SPLITS, CellRow, JobRow, ScoreRow, read_records, read_rows, write_table

Record = dict[str, Any]


def write_statistics(results: Path, facts: BenchmarkFacts) -> str | None:
    """Write the statistics of a benchmark beside its tables.

    Args:
        results: The folder of the tables.
        facts: What cells are ranked by.

    Returns:
        The cell that ranks first; None where none has the score that cells are ranked by.
    """
    cells, jobs, scores = read_rows(CellRow, results), read_rows(JobRow, results), read_rows(ScoreRow, results)
    epochs, slices = (read_records(results / f"{name}.csv") for name in ("epochs", "slices"))
    trials, sizes = trials_of(scores), {split: fold_sizes(jobs, split) for split in SPLITS}
    split = split_to_rank(scores)
    wanted = Measure(split, facts.class_name, facts.metric)
    judged = {measure: own for measure, own in trials.items() if describe_metric(measure.metric).better}
    compared = {
        measure: compare_cells(
            *(measure, own, sizes[measure.split], slices_of(measure, own, slices)), needed=measure == wanted
        )
        for measure, own in judged.items()
    }
    labels = {cell.cell: cell.label for cell in cells}
    ranked, own = compared.get(wanted), trials.get(wanted, {})
    converged = list(convergence(epochs))
    trusted = list(criteria(converged, own))
    curves = list(curve(cells, ranked.means, own)) if ranked else []
    laws = list(fits(cells, own, wanted.metric)) if curves else []
    drops, late = list(_drops(scores, wanted)), late_gain(epochs)
    said = sentences(ranked, cells, jobs, criteria=trusted, drops=drops, fits=laws, late_gain=late) if ranked else ()
    tables: dict[str, list[Record]] = {
        "ranking": [row for one in compared.values() for row in _ranking(one, cells)],
        "pairs": [row for one in compared.values() for row in _pairs(one)],
        "heat": [row for measure, of in trials.items() for row in _heat(measure, of, labels)],
        "convergence": converged,
        "criteria": trusted,
        "best_of": list(best_of(own, _validation(scores, wanted))),
        "drop": drops,
        "curve": curves,
        "curve_fit": laws,
        "stability": [row for measure, of in trials.items() if measure == wanted for row in _stability(measure, of)],
        "summary": list(said),
    }
    for name, rows in tables.items():
        write_table(results, name, rows)
    return ranked.ordered()[0].cell if ranked and ranked.means else None


def slices_of(measure: Measure, trials: Trials, slices: Sequence[Mapping[str, str]]) -> Measured | None:
    """A score of slices, for cells that have one training each; None where slices have no such score."""
    classes = {row["class"] for row in slices}
    name = classes.pop() if measure.class_name == ALL and len(classes) == 1 else measure.class_name
    if any(len(own) > 1 for own in trials.values()) or name == ALL:
        return None
    rows = [
        {**row, "run": row["cell"], "": f"slices.csv, row {number}"}
        for number, row in enumerate(slices, start=2)
        if (row["split"], row["class"]) == (measure.split, name) and row["cell"] in trials
    ]
    if not rows:
        return None
    try:
        return measure_slices(rows, measure.metric, parse_unit("slice"), class_name=name, slice_spacing_nm=None)
    except ScoreError:
        return None


def _ranking(compared: Compared, cells: Sequence[CellRow]) -> Iterator[Record]:
    known = {cell.cell: cell for cell in cells}
    for mean, low, high in ranking_order(compared):
        yield {
            **_key(compared.measure), "cell": mean.cell, "label": known[mean.cell].label, "rank_low": low,
            "rank_high": high, "mean": mean.value, "low": mean.low, "high": mean.high, "deviation": mean.deviation,
            "n": mean.n, "unit": mean.unit, "imported": known[mean.cell].imported,
        }  # fmt: skip


def _pairs(compared: Compared) -> Iterator[Record]:
    for pair in compared.pairs:
        yield {**_key(compared.measure), **asdict(pair)}


def _heat(measure: Measure, trials: Trials, labels: Mapping[str, str]) -> Iterator[Record]:
    """Each cell's mean, and where it lies between the worst (0) and the best (1)."""
    means = {cell: fmean(one.value for one in own) for cell, own in trials.items()}
    better = describe_metric(measure.metric).better
    worst, best = min(means.values()), max(means.values())
    if better == "lower":
        worst, best = best, worst
    for cell, value in means.items():
        scaled = abs(value - worst) / abs(best - worst) if better and best != worst else None
        yield {
            **_key(measure), "cell": cell, "label": labels[cell], "value": value, "scaled": scaled,
            "higher_is_better": better == "higher",
        }  # fmt: skip


def _stability(measure: Measure, trials: Trials) -> Iterator[Record]:
    for cell, own in trials.items():
        values = [one.value for one in own]
        named = {f"quantile_{100 * level:02.0f}": one for level, one in zip(QUANTILES, quantiles(values), strict=True)}
        spread = deviation(values) if len(values) > 1 else None
        yield {**_key(measure), "cell": cell, **named, "deviation": spread, "n": len(values)}


def _validation(scores: Sequence[ScoreRow], wanted: Measure) -> Mapping[tuple[str, int | None, int | None], float]:
    """The validation value of each training, larger for better."""
    found = trials_of([row for row in scores if row.split == "validation"])
    own = found.get(Measure("validation", wanted.class_name, wanted.metric), {})
    sign = 1 if is_better(wanted.metric, 1.0, 0.0) else -1
    return {(cell, one.fold, one.instance): sign * one.value for cell, trials in own.items() for one in trials}


def _drops(scores: Sequence[ScoreRow], wanted: Measure) -> Iterator[Record]:
    """Scores on samples that were trained on, and on new ones, of cells that were scored on both."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in scores:
        mine = row.metric == wanted.metric and wanted.class_name in (ALL, row.class_name)
        if mine and row.sample != "unknown" and row.value == row.value:
            values[row.cell][row.sample].append(row.value)
    for cell, by in values.items():
        if by["within"] and by["new"]:
            within, new = fmean(by["within"]), fmean(by["new"])
            yield {"cell": cell, "within": within, "new": new, "drop": within - new, "n": len(by["new"])}


def _key(measure: Measure) -> Record:
    return {"metric": measure.metric, "class": measure.class_name, "split": measure.split}
