"""Cost against score: what each network has, computes and took."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from markupsafe import Markup

from cristae.report.benchmark.drawing import COLORS, Figures, drawing, tip
from cristae.report.benchmark.files import BenchmarkFiles, number
from cristae.report.benchmark.tables import Column, sortable, switch
from cristae.report.matrices import short_count
from cristae.report.page import Section
from cristae.report.scores import format_value
from cristae.words import duration, memory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Cost and score"
_MOST_POINTS = 1600
"""Area of the largest ball, in points squared."""
_LEAST_POINTS = 50
_NUMBERED_INSIDE = 260
"""Smaller balls have their number beside them."""
_SAME_AREA = 160
"""Of balls whose parameters nobody knows."""


def cost_section(files: BenchmarkFiles, figures: Figures) -> Section | None:
    """Balls and a table; None where no cost is known."""
    cells = files.order
    columns = all_cost_columns(files, cells)
    if not any(math.isfinite(key) for column in columns for key in column.keys):
        return None
    scores = {row["cell"]: number(row, "mean") for row in files.ranking}
    panes = []
    for name, title, value in _AXES:
        known = [cell for cell in cells if _is_drawn(value(files, cell), scores.get(cell, math.nan))]
        if known:
            panes.append((title, _balls(files, known, name, title, figures)))
    lead = (
        "Each ball is a method, its area the number of its parameters, its number that of the list. Of methods that "
        "are not told apart, the one farthest to the left costs least."
    )
    body = Markup("")
    if panes:
        body = Markup("<p>{}</p>").format(lead) + switch("Cost", panes)
    table = sortable([Column("Method", [files.label(cell) for cell in cells]), *columns], caption=_caption(files))
    return Section(TITLE, body + table)


def cost_columns(files: BenchmarkFiles, cells: Sequence[str]) -> list[Column]:
    """The few columns that stand beside a score."""
    return all_cost_columns(files, cells)[:3]


def all_cost_columns(files: BenchmarkFiles, cells: Sequence[str]) -> list[Column]:
    """Parameters, work, times, memory and energy, means over the trainings of each cell."""
    per_vox = [prediction_seconds(files, cell) for cell in cells]
    jobs = {cell: files.jobs_of(cell) for cell in cells}
    means = {
        key: [_mean([number(job, key) for job in jobs[cell]]) for cell in cells]
        for key in ("train_seconds", "peak_bytes", "energy_wh", "updates", "voxels_seen")
    }
    return [
        _column("Parameters", [number(files.cell_row(cell), "parameters") for cell in cells], short_count),
        _column("GFLOP of a patch", [number(files.cell_row(cell), "conv_gflop") for cell in cells], _three),
        _column("Training", means["train_seconds"], duration),
        _column("Prediction, s per Mvox", per_vox, _three),
        _column("Peak memory", means["peak_bytes"], memory),
        _column("Energy of training, Wh", means["energy_wh"], _three),
        _column("Updates", means["updates"], short_count),
        _column("Voxels seen", means["voxels_seen"], short_count),
    ]


def prediction_seconds(files: BenchmarkFiles, cell: str) -> float:
    """Of a million voxels, over all trainings of a cell together."""
    pairs = [(number(job, "predict_seconds"), number(job, "predict_vox")) for job in files.jobs_of(cell)]
    known = [(seconds, voxels) for seconds, voxels in pairs if seconds > 0 and voxels > 0]
    voxels = sum(voxels for _, voxels in known)
    return 1e6 * sum(seconds for seconds, _ in known) / voxels if voxels else math.nan


def training_seconds(files: BenchmarkFiles, cell: str) -> float:
    """Mean over its trainings."""
    return _mean([number(job, "train_seconds") for job in files.jobs_of(cell)])


def peak_gib(files: BenchmarkFiles, cell: str) -> float:
    """Peak memory, the mean over its trainings."""
    return _mean([number(job, "peak_bytes") for job in files.jobs_of(cell)]) / (1 << 30)


def energy_wh(files: BenchmarkFiles, cell: str) -> float:
    """Of a training, the mean over its trainings."""
    return _mean([number(job, "energy_wh") for job in files.jobs_of(cell)])


def _gflop(files: BenchmarkFiles, cell: str) -> float:
    return number(files.cell_row(cell), "conv_gflop")


_AXES: tuple[tuple[str, str, Callable[[BenchmarkFiles, str], float]], ...] = (
    ("cost-gflop", "GFLOP of one patch", _gflop),
    ("cost-training", "seconds of a training", training_seconds),
    ("cost-prediction", "seconds to predict a million voxels", prediction_seconds),
    ("cost-memory", "GiB of memory at most", peak_gib),
    ("cost-energy", "Wh of a training", energy_wh),
)


def _is_drawn(cost: float, score: float) -> bool:
    return math.isfinite(score) and math.isfinite(cost) and cost > 0


def _balls(files: BenchmarkFiles, cells: Sequence[str], name: str, title: str, figures: Figures) -> Markup:
    from matplotlib.ticker import LogLocator

    value = next(function for own, _, function in _AXES if own == name)
    score = {row["cell"]: number(row, "mean") for row in files.ranking}
    parameters = {cell: number(files.cell_row(cell), "parameters") for cell in cells}
    largest = max((one for one in parameters.values() if math.isfinite(one)), default=math.nan)
    areas = {
        cell: _SAME_AREA if math.isnan(count) else max(_LEAST_POINTS, _MOST_POINTS * count / largest)
        for cell, count in parameters.items()
    }
    with drawing(9.4, 5.0) as (figure, axes):
        tips: list[str] = []
        for cell in sorted(cells, key=lambda cell: -areas[cell]):  # small balls over large ones
            x, y, place = value(files, cell), score[cell], files.place(cell)
            color = COLORS[place % len(COLORS)]
            ball = axes.scatter([x], [y], s=areas[cell], color=color, alpha=0.45, edgecolors=color, linewidths=1.2)
            tip(ball, len(tips))
            tips.append(_tip(files, cell, x, title, y))
        _numbers(axes, [(value(files, cell), score[cell], files.place(cell), areas[cell]) for cell in cells])
        costs = [value(files, cell) for cell in cells]
        if max(costs) / min(costs) > 10:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
        axes.margins(0.12)
        axes.set_xlabel(title)
        axes.set_ylabel(files.metric_title)
        for cell in cells:
            axes.plot([], [], "o", color=COLORS[files.place(cell) % len(COLORS)], markersize=5,
                      label=f"{files.place(cell) + 1}  {files.short_label(cell)}")  # fmt: skip
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9.5, handletextpad=0.3)
        return figures.keep(name, figure, label=f"{files.metric_title} against {title}", tips=tips)


def _numbers(axes: Axes, points: Sequence[tuple[float, float, int, float]]) -> None:
    """The place of each ball inside it, of small ones beside it."""
    import matplotlib.patheffects as effects

    halo = [effects.withStroke(linewidth=2.5, foreground="#fff")]
    for x, y, place, area in points:
        beside = 0.0 if area >= _NUMBERED_INSIDE else 5 + math.sqrt(area) / 2
        axes.annotate(
            str(place + 1), (x, y), (beside, 0), textcoords="offset points", ha="left" if beside else "center",
            va="center", fontsize=9, fontweight="bold", path_effects=halo,
        )  # fmt: skip


def _tip(files: BenchmarkFiles, cell: str, cost: float, title: str, score: float) -> str:
    count = number(files.cell_row(cell), "parameters")
    known = "" if math.isnan(count) else f", {short_count(count)} parameters"
    return f"{files.label(cell)}: {format_value(score)}; {_three(cost)} {title}{known}"


def _caption(files: BenchmarkFiles) -> str:
    patches = dict.fromkeys(str(row.get("patch") or "") for row in files["cells"])
    sources = dict.fromkeys(str(row.get("energy_source") or "") for row in files["jobs"])
    devices = dict.fromkeys(str(row.get("device") or "") for row in files["jobs"])
    parts = ["Means over the trainings of a method"]
    for what, found in (("patches (z, y, x)", patches), ("energy", sources), ("devices", devices)):
        known = [one for one in found if one]
        if known:
            parts.append(f"{what}: {', '.join(known)}")
    return "; ".join(parts) + "."


def _column(title: str, values: Sequence[float], text: Callable[[float], str]) -> Column:
    return Column(title, ["–" if math.isnan(value) else text(value) for value in values], values)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return fmean(known) if known else math.nan


def _three(value: float) -> str:
    return f"{value:.3g}"
