"""What the page answers first: which method, how sure that is, what it costs, and what was compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import yaml

from cristae.report.benchmark.cost import prediction_seconds, training_seconds
from cristae.report.benchmark.files import BenchmarkFiles, Record, number
from cristae.report.matrices import short_count
from cristae.report.page import Fact
from cristae.words import duration, listed

_NAMED = 4
"""Methods that a note names."""
_CHEAPER = 0.95
"""Of the time of the best: a method that takes less is worth a word."""


def lead_of(files: BenchmarkFiles) -> str:
    """What was asked, in the words of the plan, and what is compared by what."""
    better = "lower" if files.lower_is_better else "higher"
    asked = _description(files.plan)
    if not files.ranking:
        return asked
    said = f"Compared by {files.metric_title} on the {files.split} regions; {better} is better."
    return f"{asked} {said}".strip()


def facts_of(files: BenchmarkFiles) -> list[Fact]:
    """The answers as a few large words with a note each."""
    facts = []
    if files.ranking:
        best = files.ranking[0]
        facts.append(Fact("Best mean score", files.label(best["cell"]), _score(files, best)))
        if len(files.ranking) > 1:
            rivals = open_to_best(files)
            facts.append(_certainty(files, rivals))
            facts.extend(_cost(files, best))
            facts.extend(_cheaper(files, best, rivals))
        else:
            facts.extend(_cost(files, best))
    facts.append(_compared(files))
    return facts


def open_to_best(files: BenchmarkFiles) -> list[str]:
    """The cells that no test tells from the one with the best mean; all that may be first where pairs are not known."""
    best = files.ranking[0]["cell"]
    wanted = (files.metric, files.class_name, files.split)
    verdicts: dict[str, str] = {}
    for row in files["pairs"]:
        if (row["metric"], row["class"], row["split"]) == wanted and best in (row["cell"], row["other"]):
            verdicts[row["other"] if row["cell"] == best else row["cell"]] = row["verdict"]
    others = files.ranking[1:]
    if verdicts:
        return [row["cell"] for row in others if verdicts.get(row["cell"], "undecided") == "undecided"]
    return [row["cell"] for row in others if not number(row, "rank_low") > 1]


def _score(files: BenchmarkFiles, row: Record) -> str:
    low, high = number(row, "low"), number(row, "high")
    sure = f", 95 % {low:.3f} to {high:.3f}" if math.isfinite(low) and math.isfinite(high) else ", interval unknown"
    return f"{files.metric_title} {number(row, 'mean'):.3f}{sure}"


def _certainty(files: BenchmarkFiles, rivals: Sequence[str]) -> Fact:
    worse = len(files.ranking) - 1 - len(rivals)
    if not rivals:
        return Fact("How sure", "Sure", "better than each of the others")
    names = listed([files.short_label(cell) for cell in rivals], most=_NAMED)
    rest = f"; surely better than the other {worse}" if worse else "; surely better than none"
    return Fact("How sure", "Undecided", f"may be no better than {names}{rest}")


def _cost(files: BenchmarkFiles, row: Record) -> list[Fact]:
    cell = row["cell"]
    seconds, predicts = training_seconds(files, cell), prediction_seconds(files, cell)
    if math.isnan(seconds):
        return [] if not files.is_imported(cell) else [Fact("Its cost", "Unknown", "made by another program")]
    parts = ["for one training"]
    if math.isfinite(predicts):
        parts.append(f"{predicts:.3g} s to predict a million voxels")
    parameters = number(files.cell_row(cell), "parameters")
    if math.isfinite(parameters):
        parts.append(f"{short_count(parameters)} parameters")
    return [Fact("Its cost", duration(seconds), ", ".join(parts))]


def _cheaper(files: BenchmarkFiles, best: Record, rivals: Sequence[str]) -> list[Fact]:
    """The cheapest of those that are not told from the best; none where the best itself is."""
    times = {cell: training_seconds(files, cell) for cell in (best["cell"], *rivals)}
    known = {cell: seconds for cell, seconds in times.items() if math.isfinite(seconds)}
    if not rivals or best["cell"] not in known:
        return []
    cheapest = min(known, key=lambda cell: known[cell])
    if known[cheapest] >= _CHEAPER * known[best["cell"]]:
        return [Fact("Cheaper, not surely worse", "None", "no method that may be as good trains in less time")]
    row = next(row for row in files.ranking if row["cell"] == cheapest)
    part = 100 * known[cheapest] / known[best["cell"]]
    note = f"{duration(known[cheapest])} for one training, {part:.0f} % of that time; score {number(row, 'mean'):.3f}"
    return [Fact("Cheaper, not surely worse", files.label(cheapest), note)]


def _compared(files: BenchmarkFiles) -> Fact:
    count = len(files.facts.cells)
    jobs = files["jobs"]
    folds = {row["fold"] for row in jobs if row.get("fold") is not None}
    imported = sum(cell.imported is not None for cell in files.facts.cells)
    states = [str(row["state"]) for row in jobs]
    parts = [f"{len(folds)} folds"] if folds else []
    if jobs:
        parts.append(f"{states.count('complete')} of {len(jobs)} trainings done")
    for state, said in (("failed", "failed"), ("stopped", "stopped by halving"), ("waiting", "waiting")):
        if states.count(state):
            parts.append(f"{states.count(state)} {said}")
    if imported:
        parts.append(f"{imported} made by other programs")
    return Fact("Compared", "1 method" if count == 1 else f"{count} methods", ", ".join(parts))


def _description(plan: str) -> str:
    """That of `plan.yaml`; empty where it has none or was written by hand into something else."""
    try:
        found = yaml.safe_load(plan)
    except yaml.YAMLError:
        return ""
    text = found.get("description") if isinstance(found, Mapping) else None
    return text.strip() if isinstance(text, str) else ""
