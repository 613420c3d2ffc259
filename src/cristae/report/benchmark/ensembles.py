"""Ensembles over methods: the score of the k members that were chosen, and the best that was found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from cristae.report.benchmark.drawing import QUIET, Figures, drawing, marker_of, style_of, tip
from cristae.report.benchmark.files import BenchmarkFiles, Record, number
from cristae.report.benchmark.tables import Column, numbers, sortable
from cristae.report.page import Section, fold
from cristae.report.scores import format_value

TITLE = "Ensembles"
_CHOSEN = {
    "validation regions": "Members were chosen on the validation regions, and scored on the test regions.",
    "other folds": "Each fold is scored with the members that the other folds choose, so the score does not flatter.",
    "other slices": "Slices are scored with the members that other slices choose, so the score does not flatter.",
    "same slices": "Members were chosen by the very slices that they are scored on, which flatters.",
}
"""What the column `chosen_on` says."""


def ensembles_section(files: BenchmarkFiles, figures: Figures) -> Section | None:
    """The Top-k curve and its table; None without ensembles."""
    rows = [row for row in files["ensembles"] if math.isfinite(number(row, "value"))]
    if not rows:
        return None
    lead = (
        "Score of an ensemble of k methods, whose probabilities are averaged: the best k by validation (top-k), and "
        "those that were chosen one by one, each as often as the average became better (greedy)."
    )
    best = best_ensemble(files)
    found = Markup("")
    if best is not None:
        sentence = "<p>Best found: {}, {}, with {} members ({}): {} {}{}. {}</p>"
        found = Markup(sentence).format(
            best["name"], best["rule"], f"{number(best, 'k'):.0f}", ", ".join(members_of(files, best)),
            files.metric_title, format_value(number(best, "value")), _interval(best),
            _CHOSEN.get(str(best.get("chosen_on") or ""), ""),
        )  # fmt: skip
    body = Markup("<p>{}</p>").format(lead) + found + _figure(files, rows, figures)
    return Section(TITLE, body + fold(f"All {len(rows)} ensembles", _table(files, rows)))


def best_ensemble(files: BenchmarkFiles) -> Record | None:
    """The ensemble that was chosen, else the one that scores best; of equals the smallest."""
    rows = [row for row in files["ensembles"] if math.isfinite(number(row, "value"))]
    rows = [row for row in rows if row.get("chosen")] or rows
    sign = 1 if files.lower_is_better else -1
    return min(rows, key=lambda row: (sign * number(row, "value"), number(row, "k")), default=None)


def members_of(files: BenchmarkFiles, row: Record) -> list[str]:
    """What an ensemble is made of, as people call it."""
    found: Any = row.get("members") or []
    names = [str(one) for one in found] if isinstance(found, list) else [one.strip() for one in str(found).split(",")]
    weights = str(row.get("weights") or "").split(", ")
    labels = [_label(files, name) for name in names]
    if len(weights) != len(labels) or set(weights) == {"1"}:
        return labels
    return [f"{label} x {weight}" for label, weight in zip(labels, weights, strict=True)]


def _label(files: BenchmarkFiles, name: str) -> str:
    """The label of a cell, also where a member of it is named, such as `unet/fold-1`."""
    cell, slash, member = name.partition("/")
    return files.label(cell) + (f" {member}" if slash else "")


def _figure(files: BenchmarkFiles, rows: Sequence[Record], figures: Figures) -> Markup:
    series: dict[tuple[str, str, str], list[Record]] = {}
    for row in rows:
        series.setdefault((str(row["name"]), str(row["rule"]), str(row.get("split") or "")), []).append(row)
    tips: list[str] = []
    with drawing(8.4, 4.0) as (figure, axes):
        for place, ((name, rule, split), own) in enumerate(series.items()):
            own.sort(key=lambda row: number(row, "k"))
            style = style_of(place)
            x, y = [number(row, "k") for row in own], [number(row, "value") for row in own]
            label = ", ".join(dict.fromkeys(part for part in (name, rule, split) if part))
            axes.plot(x, y, label=label, **style)
            for row, left, height in zip(own, x, y, strict=True):
                (dot,) = axes.plot([left], [height], marker_of(place), color=style["color"], markersize=5)
                low, high = number(row, "low"), number(row, "high")
                if math.isfinite(low) and math.isfinite(high):
                    axes.plot([left, left], [low, high], color=style["color"], linewidth=1, alpha=0.6)
                tip(dot, len(tips))
                tips.append(f"{label}, k {left:.0f}: {format_value(height)}; {', '.join(members_of(files, row))}")
        if files.ranking and math.isfinite(single := number(files.ranking[0], "mean")):
            axes.axhline(single, color=QUIET, linewidth=1.2, linestyle=(0, (4, 3)), label="best single method")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("members")
        axes.set_ylabel(files.metric_title)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9.5)
        return figures.keep("ensembles", figure, label="Score of ensembles over their number of members", tips=tips)


def _table(files: BenchmarkFiles, rows: Sequence[Record]) -> Markup:
    columns = [
        Column("Ensemble", [str(row["name"]) for row in rows]),
        Column("Rule", [str(row["rule"]) for row in rows]),
        numbers("k", rows, "k", ".0f"),
        numbers("Score", rows, "value"),
        numbers("Against the best alone", rows, "difference", "+.4f"),
        Column("95 % interval", [_interval(row).strip(" ()") for row in rows]),
        Column("Scored on", [str(row.get("split") or "") for row in rows]),
        Column("Members", [", ".join(members_of(files, row)) for row in rows]),
    ]
    return sortable(columns, caption=f"Ensembles, scored by {files.metric_title}.")


def _interval(row: Record) -> str:
    low, high = number(row, "low"), number(row, "high")
    return f" ({low:.4f} to {high:.4f})" if math.isfinite(low) and math.isfinite(high) else ""
