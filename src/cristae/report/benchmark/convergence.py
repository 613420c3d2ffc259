"""How fast trainings converge by each criterion, and whether validation predicts the score that counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from cristae.recipe.benchmark_tables import CRITERION_TITLES
from cristae.report.benchmark.drawing import ACCENT, QUIET, Figures, drawing, rows_axis, tall, tip
from cristae.report.benchmark.files import BenchmarkFiles, Record, number
from cristae.report.benchmark.tables import Column, numbers, sortable
from cristae.report.page import Section, fold
from cristae.words import duration, listed

TITLE = "Convergence"
_LEVELS = {"jobs": "single trainings", "cells": "means of methods"}
_UNITS = ((7200, 3600, "hours"), (180, 60, "minutes"), (0, 1, "seconds"))
"""From which longest time on a unit is used."""


def criterion_title(criterion: str) -> str:
    """What people call a criterion of validation."""
    return CRITERION_TITLES.get(criterion, criterion)


def convergence_section(files: BenchmarkFiles, figures: Figures) -> Section | None:
    """Times to 95 % of the gain (Fig. 3 of the EM-stellar paper) and correlations; None without either."""
    parts = []
    if rows := [row for row in files["convergence"] if math.isfinite(number(row, "seconds_95"))]:
        parts.append(_times(files, rows, figures))
    if files["criteria"]:
        parts.append(_criteria(files, figures))
    return Section(TITLE, Markup("").join(parts)) if parts else None


def _times(files: BenchmarkFiles, rows: Sequence[Record], figures: Figures) -> Markup:
    criteria = list(dict.fromkeys(str(row["criterion"]) for row in rows))
    cells = [cell for cell in files.order if any(row["cell"] == cell for row in rows)]
    longest = max(number(row, "seconds_95") for row in rows)
    step, unit = next((step, unit) for limit, step, unit in _UNITS if longest >= limit)
    width = 2.6 + 2.3 * len(criteria)
    with drawing(width, tall(len(cells), head=1.3), columns=len(criteria), sharex=True, sharey=True) as (figure, found):
        tips: list[str] = []
        for axes, criterion in zip(found[0] if len(criteria) > 1 else [found], criteria, strict=True):
            for place, cell in enumerate(cells):
                own = [row for row in rows if (row["cell"], row["criterion"]) == (cell, criterion)]
                times = [number(row, "seconds_95") / step for row in own]
                if not times:
                    continue
                axes.plot(times, [place] * len(times), "o", color=QUIET, markersize=3, alpha=0.7, linestyle="")
                (mark,) = axes.plot([fmean(times)], [place], "D", color=ACCENT, markersize=5.5)
                tip(mark, len(tips))
                tips.append(f"{files.label(cell)}, {criterion_title(criterion)}: {duration(fmean(times) * step)}")
            axes.set_title(criterion_title(criterion))
            rows_axis(axes, [files.short_label(cell) for cell in cells])
        axes.set_xlim(0, 1.04 * longest / step or 1)  # of all panels
        figure.supxlabel(f"{unit} until 95 % of the gain", fontsize=11, color="#57606a")
        drawn = figures.keep("convergence", figure, label="Convergence time by criterion and method", tips=tips)
    lead = (
        "How long a training takes until validation has 95 % of what it gains from the first to the best epoch, for "
        "each criterion that validation computes. Dots are single trainings, diamonds their means."
    )
    return Markup("<p>{}</p>").format(lead) + drawn + fold(f"All {len(rows)} rows", _table(files, rows))


def _table(files: BenchmarkFiles, rows: Sequence[Record]) -> Markup:
    seconds = [number(row, "seconds_95") for row in rows]
    columns = [
        Column("Method", [files.label(row["cell"]) for row in rows]),
        numbers("Fold", rows, "fold", ".0f"),
        numbers("Instance", rows, "instance", ".0f"),
        Column("Criterion", [criterion_title(str(row["criterion"])) for row in rows]),
        numbers("Best value", rows, "best_value", ".4f"),
        numbers("Best epoch", rows, "best_epoch", ".0f"),
        numbers("Epoch of 95 %", rows, "epoch_95", ".0f"),
        Column("Time to 95 %", [duration(value) for value in seconds], seconds),
        numbers("Epochs", rows, "epochs", ".0f"),
    ]
    return sortable(columns, caption="Convergence of each training by each criterion.")


def _criteria(files: BenchmarkFiles, figures: Figures) -> Markup:
    rows = files["criteria"]
    names = [f"{criterion_title(str(row['criterion']))}, {_over(row)}" for row in rows]
    with drawing(8.4, tall(len(rows))) as (figure, axes):
        axes.axvline(0, color=QUIET, linewidth=1)
        for place, row in enumerate(rows):
            low, high, value = (number(row, key) for key in ("low", "high", "correlation"))
            if math.isfinite(low) and math.isfinite(high):
                axes.plot([low, high], [place, place], color=ACCENT, linewidth=2)
            if math.isfinite(value):
                (dot,) = axes.plot([value], [place], "o", color=ACCENT, markersize=7)
                tip(dot, place)
        axes.set_xlim(-1.03, 1.03)
        rows_axis(axes, names)
        axes.set_xlabel(f"rank correlation with {files.metric_title} on the {files.split} regions")
        tips = [f"{name}: {number(row, 'correlation'):.3f}" for name, row in zip(names, rows, strict=True)]
        label = "Rank correlation of each validation criterion with the score"
        drawn = figures.keep("criteria", figure, label=label, tips=tips)
    columns = [
        Column("Criterion", [criterion_title(str(row["criterion"])) for row in rows]),
        Column("Over", [_over(row) for row in rows]),
        *(
            numbers(title, rows, key, ".3f")
            for title, key in (("Correlation", "correlation"), ("Low", "low"), ("High", "high"))
        ),
        numbers("n", rows, "n", ".0f"),
        Column("Note", [str(row.get("note") or "") for row in rows]),
    ]
    lead = _predicts(files, rows)
    caption = "Rank correlations (Spearman) of the best validation value with the score, with 95 % intervals."
    title = Markup("<h4>Does validation predict the score?</h4><p>{}</p>").format(lead)
    return title + drawn + sortable(columns, caption=caption)


def _predicts(files: BenchmarkFiles, rows: Sequence[Record]) -> str:
    """Which criteria say which trainings score well, as far as their intervals do."""
    known = [row for row in rows if row["level"] == "jobs" and math.isfinite(number(row, "low"))]
    sure = [criterion_title(str(row["criterion"])) for row in known if number(row, "low") > 0]
    doubtful = [criterion_title(str(row["criterion"])) for row in known if number(row, "low") <= 0]
    parts = [
        f"Dots at 1: the order by the best validation value is that by {files.metric_title} on the {files.split} "
        "regions; at 0: it says nothing of it."
    ]
    if files.split == "validation":
        parts.append("These are the regions that were validated, so it does not say how new ones are predicted.")
    if sure:
        parts.append(f"Trainings with good validation also score well by {listed(sure)}.")
    if doubtful:
        parts.append(f"By {listed(doubtful)} this may be chance: the interval reaches 0.")
    return " ".join(parts)


def _over(row: Record) -> str:
    return _LEVELS.get(str(row["level"]), str(row["level"]))
