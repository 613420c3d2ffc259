"""The heat map of all scores: raw and min-max normalised for each, as Fig. 2 of the EM-stellar paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from cristae.metrics.table import COMPARED, describe_metric
from cristae.report.benchmark.drawing import Figures, drawing
from cristae.report.benchmark.files import BenchmarkFiles, Record, number
from cristae.report.benchmark.tables import Square, shaded, switch
from cristae.report.matrices import ink_on, shade
from cristae.report.page import Section, fold
from cristae.report.scores import format_value

TITLE = "All scores"
_ALSO = ("clDice", "instance_AP", "SQ", "RQ", "VI", "adapted_rand_error", "boundary_F1", "ECE", "HD95", "ASD", "kappa")
_MOST = 60
"""Columns of the table that holds every score."""


def heat_section(files: BenchmarkFiles, figures: Figures) -> Section | None:
    """The heat map, a class at a time; None without scores."""
    rows = [row for row in files["heat"] if row["split"] == files.split]
    if not rows:
        return None
    by_class: dict[str, list[Record]] = {}
    for row in rows:
        by_class.setdefault(str(row["class"]), []).append(row)
    first = [name for name in by_class if name == files.class_name]
    names = [*first, *(name for name in by_class if name not in first)]
    panes = [
        (name, _class_pane(files, f"heat-{place + 1}" if place else "heat", by_class[name], figures))
        for place, name in enumerate(names)
    ]
    lead = Markup("<p>{}</p>").format(
        "Dark is good: where lower is better, colours are turned round. Press a heading to sort by it."
    )
    return Section(TITLE, lead + switch("Class", panes))


def _class_pane(files: BenchmarkFiles, name: str, rows: Sequence[Record], figures: Figures) -> Markup:
    """The maps of one class; `name` is that of the figure's files."""
    known = {(row["metric"], row["cell"]): row for row in rows}
    metrics = list(dict.fromkeys(str(row["metric"]) for row in rows))
    usual = [one for one in (*COMPARED, *_ALSO) if one in metrics] or metrics[:_MOST]
    if files.metric in metrics and files.metric not in usual:
        usual.insert(0, files.metric)
    cells = [cell for cell in files.order if any((metric, cell) in known for metric in metrics)]
    panes = [
        ("min-max of each score", _map(files, cells, usual, known, scaled=True)),
        ("raw values", _map(files, cells, usual, known, scaled=False)),
    ]
    every = fold("As a figure", _draw(files, name, cells, usual, known, figures))
    if len(metrics) > len(usual):
        rest = [one for one in metrics if one not in usual][:_MOST]
        every += fold(f"{len(rest)} further scores", _map(files, cells, rest, known, scaled=True))
    return switch("Values", panes) + every


def _map(
    files: BenchmarkFiles, cells: Sequence[str], metrics: Sequence[str], known: Mapping[tuple[str, str], Record],
    *, scaled: bool,
) -> Markup:  # fmt: skip
    rows = [(files.label(cell), [_square(known.get((metric, cell), {}), metric, scaled) for metric in metrics])
            for cell in cells]  # fmt: skip
    described = [describe_metric(metric) for metric in metrics]
    titles = [one.title + (" ↓" if one.better == "lower" else "") for one in described]
    hints = [f"{one.name}, {one.unit}" + (f", {one.better} is better" if one.better else "") for one in described]
    what = "Each score from the worst (0) to the best (1) of these methods" if scaled else "Values as they are"
    return shaded(rows, titles, hints=hints, caption=f"{what}; ↓: lower is better.")


def _square(row: Record, metric: str, scaled: bool) -> Square:
    value, share = number(row, "value"), number(row, "scaled")
    shown = share if scaled else value
    color = shade(share if scaled or not _is_ratio(metric) else _goodness(metric, value))
    hint = f"{format_value(value)}" + ("" if math.isnan(share) else f", {share:.2f} of the way to the best")
    text = "–" if math.isnan(shown) else f"{shown:.2f}" if scaled else _short(value)
    return Square(text, color, ink_on(color), hint, shown)


def _is_ratio(metric: str) -> bool:
    return describe_metric(metric).unit == "ratio"


def _goodness(metric: str, value: float) -> float:
    return 1 - value if describe_metric(metric).better == "lower" else value


def _short(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.4g}"


def _draw(
    files: BenchmarkFiles, name: str, cells: Sequence[str], metrics: Sequence[str],
    known: Mapping[tuple[str, str], Record], figures: Figures,
) -> Markup:  # fmt: skip
    """The normalised map as a figure; the page has it as a table too."""
    from matplotlib.colors import LinearSegmentedColormap

    values = np.array([[number(known.get((metric, cell), {}), "scaled") for metric in metrics] for cell in cells])
    ramp = LinearSegmentedColormap.from_list("ramp", [shade(0), shade(1)]).with_extremes(bad=shade(math.nan))
    with drawing(2.8 + 0.5 * len(metrics), 2.4 + 0.3 * len(cells)) as (figure, axes):
        axes.pcolormesh(np.ma.masked_invalid(values), cmap=ramp, vmin=0, vmax=1, edgecolors="#fff", linewidth=1)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.set_yticks(np.arange(len(cells)) + 0.5, [files.short_label(cell) for cell in cells])
        titles = [describe_metric(metric).title for metric in metrics]
        axes.set_xticks(np.arange(len(metrics)) + 0.5, titles, rotation=50, ha="right", rotation_mode="anchor")
        axes.tick_params(length=0, labelcolor="#1b1f24")
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        for y, x in zip(*np.nonzero(np.isfinite(values)), strict=True):
            ink = ink_on(shade(values[y, x]))
            axes.text(x + 0.5, y + 0.5, f"{values[y, x]:.2f}", ha="center", va="center", fontsize=8, color=ink)
        label = "Scores from the worst (0) to the best (1) of these methods"
        return figures.keep(name, figure, label=label, themed=False)
