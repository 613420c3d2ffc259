"""The learning curve over the number of labelled slices, and whether more labels would help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from cristae.report.benchmark.drawing import Figures, drawing, marker_of, style_of
from cristae.report.benchmark.files import BenchmarkFiles, Record, number, shortened
from cristae.report.benchmark.tables import Column, numbers, sortable
from cristae.report.page import Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "How many labels"


def labels_section(files: BenchmarkFiles, figures: Figures) -> Section | None:
    """The curve with its intervals and fits; None where the number of labels was not varied."""
    rows = files["curve"]
    if not rows:
        return None
    series = list(dict.fromkeys(str(row["series"]) for row in rows))
    fits = {str(row["series"]): row for row in files["curve_fit"]}
    lead = f"{files.metric_title} over the labelled slices of a training; bars are 95 % intervals, thin lines the fit."
    verdicts = [
        Markup("<p>{}: {}.</p>").format(name, fits[name]["verdict"])
        for name in series
        if fits.get(name, {}).get("verdict")
    ]
    body = Markup("<p>{}</p>").format(lead) + Markup("").join(verdicts) + _figure(files, series, rows, fits, figures)
    return Section(TITLE, body + _table(files, rows) + _fits(series, fits))


def _figure(
    files: BenchmarkFiles, series: Sequence[str], rows: Sequence[Record], fits: dict[str, Record], figures: Figures
) -> Markup:
    with drawing(8.4, 4.2) as (figure, axes):
        for place, name in enumerate(series):
            own = sorted((row for row in rows if row["series"] == name), key=lambda row: number(row, "slices"))
            x = np.array([number(row, "slices") for row in own]) * (1 + 0.01 * (place - (len(series) - 1) / 2))
            means, low, high = (np.array([number(row, key) for row in own]) for key in ("mean", "low", "high"))
            style = style_of(place)
            axes.plot(x, means, marker=marker_of(place), markersize=5, label=shortened(name), **style)
            axes.vlines(x, low, high, color=style["color"], linewidth=1.4)
            _fit(axes, x, fits.get(name, {}), style["color"])
        axes.set_xscale("log", base=2)
        ticks = sorted({number(row, "slices") for row in rows})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("labelled slices of a training")
        axes.set_ylabel(files.metric_title)
        axes.legend(loc="lower right", fontsize=9.5)
        return figures.keep("labels", figure, label="Learning curve over labelled slices")


def _fit(axes: Axes, x: np.ndarray, fit: Record, color: str) -> None:
    """asymptote - scale * slices ** -power."""
    asymptote, scale, power = (number(fit, key) for key in ("asymptote", "scale", "power"))
    if len(x) and all(map(math.isfinite, (asymptote, scale, power))):
        points = np.geomspace(x[0], 2 * x[-1], 50)
        axes.plot(points, asymptote - scale * points**-power, color=color, linewidth=0.8, alpha=0.6)


def _table(files: BenchmarkFiles, rows: Sequence[Record]) -> Markup:
    columns = [
        Column("Method", [str(row["series"]) for row in rows]),
        numbers("Slices", rows, "slices", "g"),
        *(numbers(title, rows, key) for title, key in (("Mean", "mean"), ("Low", "low"), ("High", "high"))),
        numbers("n", rows, "n", ".0f"),
    ]
    return sortable(columns, caption=f"{files.metric_title} for each number of labelled slices, with 95 % intervals.")


def _fits(series: Sequence[str], fits: dict[str, Record]) -> Markup:
    rows = [fits[name] for name in series if name in fits]
    if not rows:
        return Markup("")
    keys = (
        ("Asymptote", "asymptote"), ("Scale", "scale"), ("Power", "power"), ("Gain of doubling", "gain_doubling"),
        ("Low", "low"), ("High", "high"),
    )  # fmt: skip
    columns = [
        Column("Method", [str(row["series"]) for row in rows]),
        *(numbers(title, rows, key) for title, key in keys),
        Column("Verdict", [str(row.get("verdict") or "") for row in rows]),
    ]
    return sortable(columns, caption="Fit: score = asymptote - scale x slices to the power of -power.")
