"""The page of an agreement: who agrees with whom, on what, and what they take for each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from cristae.data.classes import Classes
from cristae.metrics.agreement import Agreement, Pair
from cristae.metrics.agreement_scores import (
    confusion_tables,
    mean_iou_of_pair,
    shares,
    subsets,
)
from cristae.metrics.score import Score
from cristae.metrics.tally import ALL
from cristae.report.page import Fact, Section, build_page, fold, render
from cristae.report.scores import Cell, Row, full_table

_TABLES = {
    ("F1",): "F1 (Dice), pooled over voxels",
    ("F1_slice_mean",): "F1 (Dice), mean over slices",
    ("Jaccard",): "Jaccard (IoU), pooled over voxels",
    ("kappa", "overall_accuracy"): "Over all voxels that count",
}
"""Metrics of each table, and its caption."""
_OPEN_PAIRS = 6
"""With more pairs than this, their tables of confusions are folded."""


def agreement_page(name: str, agreement: Agreement) -> str:
    """One page for all participants.

    Args:
        name: What the page is called.
        agreement: The counts of every pair.
    """
    scores = agreement.scores()
    sections = [
        Section("Mean IoU", _mean_ious(agreement)),
        Section("Each class", _classes(agreement, scores)),
        Section("Confusions", _confusions(agreement)),
        Section("Volume fractions", _fractions(agreement, scores)),
        Section("All scores", fold(f"All {len(scores)} rows", full_table(scores))),
    ]
    people = ", ".join(agreement.names)
    lead = f"{people} on {agreement.volume}. None of them is taken for the truth: scores are the same for both orders."
    return build_page(f"Agreement: {name}", sections, lead=lead, facts=_facts(agreement))


def _facts(agreement: Agreement) -> list[Fact]:
    """The pair that agrees most and the one that agrees least, over the narrowest set of classes there is."""
    title, names = list(subsets(agreement.classes, agreement.over).items())[-1]
    values = [(mean_iou_of_pair(pair, agreement.classes, names).value, pair.name) for pair in agreement.pairs]
    defined = sorted(entry for entry in values if not math.isnan(entry[0]))
    if not defined:
        return []
    found = [Fact("Highest mean IoU" if len(defined) > 1 else "Mean IoU", f"{defined[-1][0]:.4f}", defined[-1][1])]
    if len(defined) > 1:
        found.append(Fact("Lowest mean IoU", f"{defined[0][0]:.4f}", defined[0][1]))
    return [*found, Fact("Classes", title, f"{len(names)} in the mean")]


def _mean_ious(agreement: Agreement) -> Markup:
    parts = []
    for title, names in subsets(agreement.classes, agreement.over).items():
        means = {
            (pair.first, pair.second): mean_iou_of_pair(pair, agreement.classes, names) for pair in agreement.pairs
        }
        rows = []
        for row in agreement.names:
            cells = []
            for column in agreement.names:
                mean = means.get((row, column)) or means.get((column, row))
                cells.append(Cell("") if mean is None else _shaded(mean.value, f"{mean.n} classes defined"))
            rows.append(Row(row, tuple(cells)))
        parts.append(_matrix(f"Over {title}: {', '.join(names)}", agreement.names, rows))
    return Markup("").join(parts)


def _classes(agreement: Agreement, scores: Sequence[Score]) -> Markup:
    """F1 and Jaccard of each class, then what holds over all of them."""
    parts = []
    for metrics, title in _TABLES.items():
        shown = [score for score in scores if score.metric in metrics]
        columns = list(dict.fromkeys((score.metric, score.class_name) for score in shown))
        by_pair = {
            pair.name: {(s.metric, s.class_name): s for s in shown if s.run == pair.name} for pair in agreement.pairs
        }
        rows = [
            Row(name, tuple(_shaded(own[c].value, f"{own[c].rule} ({own[c].n:,})") for c in columns))
            for name, own in by_pair.items()
        ]
        names = [name if len(metrics) == 1 else _over(metric, name) for metric, name in columns]
        parts.append(_matrix(title, names, rows))
    return Markup("").join(parts)


def _confusions(agreement: Agreement) -> Markup:
    note = "Each row is what the first of a pair says, and how the second divides those voxels; a row adds up to 100 %."
    parts = [Markup('<p class="note">{}</p>').format(note)]
    for pair in agreement.pairs:
        tables = Markup("").join(
            _confusion(pair, names, counts, agreement.classes)
            for names, counts in confusion_tables(pair, agreement.classes)
        )
        folded = len(agreement.pairs) > _OPEN_PAIRS
        parts.append(fold(pair.name, tables) if folded else Markup("<h4>{}</h4>").format(pair.name) + tables)
    return Markup("").join(parts)


def _confusion(pair: Pair, names: Sequence[str], counts: np.ndarray, classes: Classes) -> Markup:
    rows = []
    for name, voxels, parts in zip(names, counts.tolist(), shares(counts).tolist(), strict=True):
        color = classes.color_of(name) if name in classes.names else ""
        cells = [_shaded(part, f"{n:,} voxels", percent=True) for n, part in zip(voxels, parts, strict=True)]
        rows.append(Row(name, tuple(cells), color))
    return _matrix(f"Rows: {pair.first}. Columns: {pair.second}.", names, rows)


def _fractions(agreement: Agreement, scores: Sequence[Score]) -> Markup:
    """Of each participant, then second minus first of each pair."""
    metrics = ("volume_fraction", "volume_fraction_difference")
    shown = {(s.run, s.class_name): s for s in scores if s.metric in metrics}
    runs = [*agreement.names, *(pair.name for pair in agreement.pairs)]
    rows = []
    for name in dict.fromkeys(name for _, name in shown):
        color = agreement.classes.color_of(name) if name in agreement.classes.names else ""
        cells = [_percent(shown[run, name], signed=run not in agreement.names) for run in runs]
        rows.append(Row(name, tuple(cells), color))
    rule = shown[agreement.names[0], agreement.classes.foreground[0]].rule.split(";")[0]
    caption = f"In percent: {rule}. Of a pair: the second minus the first, over voxels that count for both."
    return _matrix(caption, runs, rows)


def _over(metric: str, class_name: str) -> str:
    title = {"kappa": "Cohen's kappa", "overall_accuracy": "voxels of equal class"}[metric]
    return title if class_name == ALL else f"{title}: {class_name}"


def _percent(score: Score, *, signed: bool) -> Cell:
    text = "–" if math.isnan(score.value) else f"{100 * score.value:{'+' if signed else ''}.2f} %"
    return Cell(text, hint=f"{score.rule} ({score.n:,})")


def _shaded(value: float, hint: str, *, percent: bool = False) -> Cell:
    """The darker the more; a dash where undefined."""
    if math.isnan(value):
        return Cell("–", hint=hint)
    text = f"{100 * value:.1f} %" if percent else f"{value:.4f}"
    return Cell(text, share=round(100 * max(0.0, value), 1), hint=hint)


def _matrix(caption: str, columns: Sequence[str], rows: Sequence[Row]) -> Markup:
    return render("matrix.html.j2", caption=caption, columns=columns, rows=rows)
