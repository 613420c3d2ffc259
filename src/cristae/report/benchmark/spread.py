"""What one may expect of a single training: the distribution over trainings, the best m of n, and new samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from cristae.report.benchmark.drawing import (
    ACCENT,
    QUIET,
    WARM,
    Figures,
    drawing,
    marker_of,
    rows_axis,
    style_of,
    tall,
    tip,
)
from cristae.report.benchmark.files import BenchmarkFiles, Record, number
from cristae.report.benchmark.tables import Column, numbers, sortable
from cristae.report.page import Section, fold
from cristae.report.scores import format_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPREAD, DROP = "Trainings", "New samples"
_QUANTILE = "quantile_"


def spread_section(files: BenchmarkFiles, figures: Figures) -> Section | None:
    """Distribution over trainings and the best of several; None without either."""
    parts = []
    wanted = (files.metric, files.class_name)
    rows = [row for row in files["stability"] if (row["metric"], row["class"]) == wanted]
    if rows:
        parts.append(_stability(files, sorted(rows, key=lambda row: files.place(row["cell"])), figures))
    if files["best_of"]:
        parts.append(_best_of(files, files["best_of"], figures))
    return Section(SPREAD, Markup("").join(parts)) if parts else None


def drop_section(files: BenchmarkFiles, figures: Figures) -> Section | None:
    """Scores within the samples that were trained on and on new ones; None where that is not known."""
    rows = [row for row in files["drop"] if math.isfinite(number(row, "drop"))]
    if not rows:
        return None
    rows.sort(key=lambda row: files.place(row["cell"]))
    with drawing(8.4, tall(len(rows))) as (figure, axes):
        for place, row in enumerate(rows):
            within, new = number(row, "within"), number(row, "new")
            axes.plot([within, new], [place, place], color="#d8dee4", linewidth=3, zorder=1)
            (first,) = axes.plot(
                [within], [place], "o", color=ACCENT, markersize=7, label="within" if not place else ""
            )
            (second,) = axes.plot([new], [place], "s", color=WARM, markersize=7, label="new" if not place else "")
            tip(first, 2 * place)
            tip(second, 2 * place + 1)
        rows_axis(axes, [files.short_label(row["cell"]) for row in rows])
        axes.set_xlabel(files.metric_title)
        axes.legend([first, second], ["within", "new"], loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9.5)
        tips = [f"{files.label(row['cell'])}, {key}: {format_value(number(row, key))}" for row in rows
                for key in ("within", "new")]  # fmt: skip
        drawn = figures.keep("drop", figure, label="Scores within trained samples and on new ones", tips=tips)
    lead = "Scores on regions of samples that were trained on (within) and on samples that were not (new)."
    keys = (("Within", "within"), ("New", "new"), ("Drop", "drop"), ("Low", "low"), ("High", "high"))
    table = _table(files, rows, keys, caption="The drop from within to new, with its 95 % interval.")
    return Section(DROP, Markup("<p>{}</p>").format(lead) + drawn + table)


def _stability(files: BenchmarkFiles, rows: Sequence[Record], figures: Figures) -> Markup:
    names = [key for key in rows[0] if key.startswith(_QUANTILE)]
    quantiles = {int(key.removeprefix(_QUANTILE)): key for key in names}
    with drawing(8.4, tall(len(rows))) as (figure, axes):
        for place, row in enumerate(rows):
            _box(axes, place, row, quantiles)
            singles = files.job_scores(row["cell"])
            axes.plot(singles, [place + 0.3] * len(singles), "o", color=QUIET, markersize=2.6, alpha=0.7, linestyle="")
        rows_axis(axes, [files.short_label(row["cell"]) for row in rows])
        axes.set_xlabel(files.metric_title)
        drawn = figures.keep("stability", figure, label="Distribution of the score over trainings")
    keys = [(f"{percent} %", quantiles[percent]) for percent in sorted(quantiles)]
    lead = (
        "What a single training of each method may give. Small dots are trainings; boxes hold the middle half of them, "
        f"lines reach from {min(quantiles)} % to {max(quantiles)} %, the thick mark is the median."
    )
    table = _table(files, rows, [*keys, ("Deviation", "deviation")], caption="Quantiles over the trainings.")
    return Markup("<p>{}</p>").format(lead) + drawn + table


def _box(axes: Axes, place: int, row: Record, quantiles: Mapping[int, str]) -> None:
    values = {percent: number(row, key) for percent, key in quantiles.items()}
    known = sorted(percent for percent, value in values.items() if math.isfinite(value))
    if not known:
        return
    axes.plot([values[known[0]], values[known[-1]]], [place, place], color=ACCENT, linewidth=1.6)
    if 25 in known and 75 in known:
        axes.barh(place, values[75] - values[25], left=values[25], height=0.36, color="#cfe3f1", edgecolor=ACCENT)
    if 50 in known:
        axes.plot([values[50]] * 2, [place - 0.18, place + 0.18], color=ACCENT, linewidth=2.4)


def _best_of(files: BenchmarkFiles, rows: Sequence[Record], figures: Figures) -> Markup:
    cells = sorted(dict.fromkeys(str(row["cell"]) for row in rows), key=files.place)
    with drawing(8.4, 4.0) as (figure, axes):
        for place, cell in enumerate(cells):
            own = sorted((row for row in rows if row["cell"] == cell), key=lambda row: number(row, "m"))
            x, y = [number(row, "m") for row in own], [number(row, "mean") for row in own]
            style = style_of(place)
            axes.plot(x, y, marker=marker_of(place), markersize=3.5, label=files.short_label(cell), **style)
            spread = [number(row, "deviation") for row in own]
            lower, upper = ([b + sign * s for b, s in zip(y, spread, strict=True)] for sign in (-1, 1))
            if len(cells) <= 4:
                axes.fill_between(x, lower, upper, color=style["color"], alpha=0.12, linewidth=0)
        axes.set_xlabel("how many of the trainings, the best by validation")
        axes.set_ylabel(files.metric_title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9.5)
        drawn = figures.keep("best-of", figure, label="Mean of the m best of n trainings")
    lead = "Mean score of those m trainings of a method that have the best validation."
    title = Markup("<h4>Best m of n</h4><p>{}</p>").format(lead)
    keys = (("m", "m"), ("Mean", "mean"), ("Deviation", "deviation"))
    table = _table(files, rows, keys, caption="The m best of n trainings by validation.")
    return title + drawn + fold(f"All {len(rows)} rows", table)


def _table(files: BenchmarkFiles, rows: Sequence[Record], keys: Sequence[tuple[str, str]], *, caption: str) -> Markup:
    columns = [Column("Method", [files.label(row["cell"]) for row in rows])]
    for title, key in (*keys, ("n", "n")):
        columns.append(numbers(title, rows, key, ".0f" if key in ("n", "m") else ".4f"))
    return sortable(columns, caption=caption)
