"""The ranking: means with intervals, the places that the data leave open, and groups that are not told apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from cristae.report.benchmark.cost import cost_columns
from cristae.report.benchmark.drawing import ACCENT, QUIET, WARM, Figures, drawing, rows_axis, tall, tip
from cristae.report.benchmark.files import BenchmarkFiles, Record, number
from cristae.report.benchmark.tables import Column, numbers, sortable
from cristae.report.figures import SOFT
from cristae.report.page import Section
from cristae.report.scores import format_value
from cristae.words import listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Ranking"


def ranking_section(files: BenchmarkFiles, figures: Figures) -> Section | None:
    """Dots and whiskers, and the same as a table; None where nothing is ranked."""
    rows = files.ranking
    if not rows:
        return None
    said = [_lead(files), *_people(files)]
    lead = Markup("").join(Markup("<p>{}</p>").format(one) for one in said)
    return Section(TITLE, lead + _figure(files, rows, figures) + _table(files, rows))


def groups_of(rows: Sequence[Record]) -> list[list[Record]]:
    """Rows, best first, cut where everything above is told from everything below.

    Example:
        >>> rows = [{"rank_low": 1, "rank_high": 2}, {"rank_low": 1, "rank_high": 2}, {"rank_low": 3, "rank_high": 3}]
        >>> [len(group) for group in groups_of(rows)]
        [2, 1]
    """
    groups: list[list[Record]] = []
    for place, row in enumerate(rows):
        apart = all(_place(one, "rank_high") <= place for one in rows[:place])
        apart = apart and all(_place(one, "rank_low") > place for one in rows[place:])
        if apart:
            groups.append([])
        groups[-1].append(row)
    return groups


def places_text(row: Record) -> str:
    """Such as '2' or '1 to 4'; a dash where unknown."""
    low, high = _place(row, "rank_low"), _place(row, "rank_high")
    if not math.isfinite(low) or not math.isfinite(high):
        return "–"
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


def _place(row: Record, key: str) -> float:
    """A cell of unknown place may have any."""
    value = number(row, key)
    return value if math.isfinite(value) else (-math.inf if key == "rank_low" else math.inf)


def _lead(files: BenchmarkFiles) -> str:
    rows = files.ranking
    groups = groups_of(rows)
    what = f"Mean {files.metric_title} on the {files.split} regions"
    better = ", lower is better" if files.lower_is_better else ""
    text = f"{what}{better}; lines are 95 % intervals, small dots single trainings. "
    if len(groups) == 1 and len(rows) > 1:
        return (
            text
            + "Undecided: these data do not cut the methods into groups. On the right stand the places in the ranking "
            "that each may have."
        )
    if all(len(group) == 1 for group in groups):
        return text + "Every method has a place of its own."
    return text + (
        "Between bands the order is settled; within a band it is undecided, however far apart the means look. On the "
        "right stand the places in the ranking that each method may have; blue ones may be the best."
    )


def _people(files: BenchmarkFiles) -> Iterator[str]:
    """How far two annotators agree, and which methods reach that."""
    value = files.annotator_score
    if math.isnan(value):
        return
    sign = -1 if files.lower_is_better else 1
    reach = [files.label(row["cell"]) for row in files.ranking if sign * (number(row, "mean") - value) >= 0]
    said = f"The mean of {listed(reach)} reaches that." if reach else "The mean of no method reaches that."
    yield (
        f"A second annotator, scored like a method where both have labelled, reaches {format_value(value)} (the dashed "
        f"line): about as far as people agree. {said}"
    )


def _figure(files: BenchmarkFiles, rows: Sequence[Record], figures: Figures) -> Markup:
    names = [files.short_label(row["cell"]) + (" (imported)" if row.get("imported") else "") for row in rows]
    with drawing(9.4, tall(len(rows))) as (figure, axes):
        start = 0
        for count, group in enumerate(groups_of(rows)):
            if count % 2 == 0 and len(rows) > 1:
                axes.axhspan(start - 0.5, start + len(group) - 0.5, color="#f2f5f8", zorder=0, linewidth=0)
            start += len(group)
        for place, row in enumerate(rows):
            _one(axes, files, place, row)
        if math.isfinite(files.annotator_score):
            axes.axvline(files.annotator_score, color=WARM, linewidth=1.4, linestyle=(0, (5, 3)), zorder=1)
        rows_axis(axes, names)
        axes.set_xlabel(files.metric_title)
        places = axes.secondary_yaxis("right")
        places.set_yticks(range(len(rows)), [places_text(row) for row in rows])
        places.tick_params(length=0)
        places.spines["right"].set_visible(False)
        axes.set_title("possible places", loc="right", fontsize=10, fontweight="normal", color=SOFT)
        tips = [_tip(files, row) for row in rows]
        return figures.keep("ranking", figure, label=f"Ranking by {files.metric_title}, with intervals", tips=tips)


def _one(axes: Axes, files: BenchmarkFiles, place: int, row: Record) -> None:
    mean, low, high = (number(row, key) for key in ("mean", "low", "high"))
    color = ACCENT if _place(row, "rank_low") <= 1 else QUIET
    singles = files.job_scores(row["cell"])
    axes.plot(singles, [place + 0.22] * len(singles), "o", color=QUIET, markersize=2.6, alpha=0.7, linestyle="")
    if math.isfinite(low) and math.isfinite(high):
        axes.plot([low, high], [place, place], color=color, linewidth=2, solid_capstyle="butt")
    if math.isfinite(mean):
        fill = "#fff" if row.get("imported") else color
        (dot,) = axes.plot([mean], [place], "o", color=color, markersize=7.5, markerfacecolor=fill)
        tip(dot, place)


def _tip(files: BenchmarkFiles, row: Record) -> str:
    interval = _interval(row)
    between = f", 95 % {interval}" if interval != "–" else ""
    return f"{files.label(row['cell'])}: {format_value(number(row, 'mean'))}{between}; place {places_text(row)}"


def _interval(row: Record) -> str:
    low, high = number(row, "low"), number(row, "high")
    return f"{low:.4f} to {high:.4f}" if math.isfinite(low) and math.isfinite(high) else "–"


def _table(files: BenchmarkFiles, rows: Sequence[Record]) -> Markup:
    units = dict.fromkeys(str(row.get("unit") or "") for row in rows)
    unit = next(iter(units)) if len(units) == 1 else ""
    columns = [
        Column("Place", [places_text(row) for row in rows], [number(row, "rank_low") for row in rows]),
        Column("Method", [files.label(row["cell"]) for row in rows]),
        numbers("Mean", rows, "mean"),
        Column("95 % interval", [_interval(row) for row in rows], [number(row, "low") for row in rows]),
        numbers("Standard deviation", rows, "deviation"),
        numbers(f"n ({unit})" if unit else "n", rows, "n", ".0f"),
        *cost_columns(files, [row["cell"] for row in rows]),
    ]
    return sortable(columns, caption=f"{files.metric_title}. Press a heading to sort by it.")
