"""What is said of ensembles of cells: scores with intervals, and whether the best one is better than the best cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cristae.evaluation.benchmarks.comparisons import Compared, compare_cells
from cristae.evaluation.benchmarks.statistics import slices_of
from cristae.evaluation.benchmarks.trials import Measure, trials_of
from cristae.metrics.table import describe_metric
from cristae.recipe.benchmark_tables import ScoreRow

Record = dict[str, Any]
SINGLE, TOP, GREEDY = "single", "top-k", "greedy"
"""Rules: the best cell alone; the best k cells by validation; chosen one by one, with weights."""
ChosenOn = Literal["validation regions", "other folds", "other slices", "same slices"]
"""By what the members of an ensemble were chosen that is scored."""
_CHOSEN: Mapping[ChosenOn, str] = {
    "validation regions": "Its members were chosen on the validation regions.",
    "other folds": "Each fold is scored with the members that the other folds choose.",
    "other slices": "Slices are scored with the members that other slices choose.",
    "same slices": "It was chosen by the very slices that it is scored on, which flatters it.",
}


@dataclass(frozen=True)
class Ensemble:
    """Cells that predict together."""

    name: str
    """What its scores are listed under."""
    rule: str
    cells: tuple[str, ...]
    """Those of the largest weight first, then as validation ranks them."""
    weights: tuple[int, ...]
    """Of these cells."""


def ensemble_rows(
    ensembles: Sequence[Ensemble],
    measure: Measure,
    scores: Sequence[ScoreRow],
    slices: Sequence[Mapping[str, Any]],
    sizes: tuple[float, float],
    chosen_on: ChosenOn,
) -> list[Record]:
    """The table of ensembles; each is compared with the best cell alone as two cells are.

    Args:
        ensembles: One of the rule `single`, which the others are compared with; one of the rule `greedy`, which is the
            one that is found.
        measure: What cells are ranked by.
        scores: Of each ensemble, under its name.
        slices: The same of slices.
        sizes: Voxels in a training and a scored part of a fold.
        chosen_on: By what members were chosen, in words.
    """
    trials, plain = trials_of(scores).get(measure, {}), [_plain(row) for row in slices]
    alone = next(one for one in ensembles if one.rule == SINGLE)
    rows = []
    for one in ensembles:
        if one is alone or one.name not in trials or alone.name not in trials:
            continue
        own = {name: trials[name] for name in (one.name, alone.name)}
        compared = compare_cells(measure, own, sizes, slices_of(measure, own, plain))
        rows.append(_row(one, alone, compared, chosen_on))
    return rows


def _plain(row: Mapping[str, Any]) -> dict[str, str]:
    return {key: "" if value is None else str(value) for key, value in row.items()}


def _row(one: Ensemble, alone: Ensemble, compared: Compared, chosen_on: ChosenOn) -> Record:
    mean, (pair,), measure = compared.means[one.name], compared.pairs, compared.measure
    chosen = one.rule == GREEDY
    return {
        "name": "over methods", "rule": one.rule, "k": len(one.cells), "members": ", ".join(one.cells),
        "weights": ", ".join(map(str, one.weights)), "value": mean.value, "low": mean.low, "high": mean.high,
        "n": mean.n, "unit": mean.unit, "split": measure.split, "metric": measure.metric,
        "class": measure.class_name, "chosen": chosen, "chosen_on": chosen_on, "against": alone.cells[0],
        "against_value": compared.means[alone.name].value, "difference": pair.difference,
        "difference_low": pair.low, "difference_high": pair.high, "p": pair.p,
        "verdict": pair.verdict if chosen else "", "reason": pair.reason,
    }  # fmt: skip


def ensemble_sentence(row: Record, labels: Mapping[str, str]) -> Record:
    """Whether the ensemble that was found is better than the best cell alone.

    Args:
        row: Of the table of ensembles.
        labels: Of cells.
    """
    best, title = labels[row["against"]], describe_metric(row["metric"]).title
    cells = row["members"].split(", ")
    if cells == [row["against"]]:
        return _about(f"No ensemble of methods was found that does better on the validation regions than {best} alone.")
    made = [
        f"{labels[cell]}{'' if weight == '1' else f' (weight {weight})'}"
        for cell, weight in zip(cells, row["weights"].split(", "), strict=True)
    ]
    names = made[0] if len(made) == 1 else f"{', '.join(made[:-1])} and {made[-1]}"
    what = f"{labels[cells[0]]} alone" if len(made) == 1 else f"the ensemble of {names}"
    low, high = row["difference_low"], row["difference_high"]
    interval = "" if low is None else f", 95 % {low:+.3f} to {high:+.3f}"
    scores = f"{title} {row['value']:.3f} against {row['against_value']:.3f}, difference {row['difference']:+.3f}"
    chosen, whom = _CHOSEN[row["chosen_on"]], f"{best} alone, the best trained method"
    if row["verdict"] == "undecided":
        why = f": {row['reason']}" if row["reason"] else ""
        return _about(f"Whether {what} is better than {whom}, is undecided ({scores}{interval}){why}. {chosen}")
    return _about(f"{what[0].upper()}{what[1:]} is {row['verdict']} than {whom} ({scores}{interval}). {chosen}")


def _about(text: str) -> Record:
    return {"about": "ensemble", "text": text}
