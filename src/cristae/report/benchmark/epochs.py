"""Learning curves of every training: one small panel for each method, one colour for each fold."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from cristae.report.benchmark.drawing import COLORS, Figures, drawing
from cristae.report.benchmark.files import BenchmarkFiles, Record, number
from cristae.report.benchmark.tables import switch
from cristae.report.figures import SOFT
from cristae.report.page import Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Learning curves"
_ACROSS = 5
_TITLE_WIDTH = 30
"""Characters of a line above a panel."""
_MOST = 30
"""Panels; further methods, the lowest in the ranking, are only in the tables."""
_Training = tuple[int | None, int | None]
"""Fold and instance."""
_SHOWN = (
    ("loss", "Loss", ("train_loss", "val_loss")),
    ("miou", "Validation mean IoU", ("val_miou",)),
    ("f1", "Validation F1", ("val_f1",)),
)


def epochs_section(files: BenchmarkFiles, figures: Figures) -> Section | None:
    """Losses and validation scores over the epochs; None without any."""
    rows = files["epochs"]
    cells = [cell for cell in files.order if any(row["cell"] == cell for row in rows)]
    panes = []
    for name, title, columns in _SHOWN:
        if any(math.isfinite(number(row, column)) for row in rows for column in columns):
            panes.append((title, _panels(files, cells[:_MOST], name, title, columns, figures)))
    if not panes:
        return None
    left_out = len(cells) - _MOST
    more = f" The {left_out} lowest in the ranking are not drawn." if left_out > 0 else ""
    lead = Markup("<p>{}</p>").format(
        "One panel for each method in the order of the ranking, one colour for each fold or training. Losses of "
        f"training are dotted, those of validation solid.{more}"
    )
    return Section(TITLE, lead + switch("Curves", panes))


def _panels(
    files: BenchmarkFiles, cells: Sequence[str], name: str, title: str, columns: Sequence[str], figures: Figures
) -> Markup:
    across = min(_ACROSS, len(cells))
    down = -(-len(cells) // across)
    by_cell = {cell: [row for row in files["epochs"] if row["cell"] == cell] for cell in cells}
    rows = [row for own in by_cell.values() for row in own]
    trainings = sorted(dict.fromkeys(map(_training, rows)), key=lambda key: (key[0] or 0, key[1] or 0))
    colors = {key: COLORS[place % len(COLORS)] for place, key in enumerate(trainings)}
    lowest, highest = _limits(rows, columns)
    with drawing(2.55 * across + 0.4, 1.75 * down + 1.1, rows=down, columns=across, sharex=True, sharey=True) as (
        figure,
        found,
    ):
        every = [found] if len(cells) == 1 else list(found.flat)
        for axes, cell in zip(every, cells, strict=False):
            _one(axes, by_cell[cell], columns, colors)
            axes.set_title(_panel_title(files.label(cell)), fontsize=9.5)
            axes.set_ylim(lowest, highest)
            axes.xaxis.get_major_locator().set_params(integer=True, nbins=4)
        for axes in every[len(cells) :]:
            axes.set_axis_off()
        for axes in every[max(0, len(cells) - across) : len(cells)]:
            axes.tick_params(labelbottom=True)
        figure.supxlabel("epoch", fontsize=11, color=SOFT)
        if 1 < len(trainings) <= len(COLORS):
            lines = [every[0].plot([], [], color=colors[key])[0] for key in trainings]
            names = [_training_title(key) for key in trainings]
            figure.legend(lines, names, loc="upper left", ncols=min(len(names), 2 * across), fontsize=9)
        _arrange(figure)
        label = f"{title} over the epochs, of each method and fold"
        return figures.keep(f"curves-{name}", figure, label=label, arranged=True)


def _arrange(figure: Figure) -> None:
    """Panels in a grid with fixed margins, in inches: to measure every text of many panels would take seconds."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=0.65 / width, right=1 - 0.1 / width, bottom=0.6 / height, top=1 - 0.75 / height, wspace=0.12, hspace=0.42
    )


def _one(axes: Axes, rows: Sequence[Record], columns: Sequence[str], colors: Mapping[_Training, str]) -> None:
    for key, color in colors.items():
        own = [row for row in rows if _training(row) == key]
        for column in columns:
            points = [(number(row, "epoch"), number(row, column)) for row in own]
            known = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
            if not known:
                continue
            dotted = ":" if column.startswith("train") else "-"
            marker = "o" if len(known) < 4 else ""
            axes.plot([x for x, _ in known], [y for _, y in known], dotted, color=color, linewidth=1, marker=marker,
                      markersize=2)  # fmt: skip


def _training(row: Record) -> _Training:
    fold, instance = number(row, "fold"), number(row, "instance")
    return None if math.isnan(fold) else int(fold), None if math.isnan(instance) else int(instance)


def _training_title(key: _Training) -> str:
    named = zip(("fold", "instance"), key, strict=True)
    return ", ".join(f"{what} {value}" for what, value in named if value is not None) or "training"


def _panel_title(label: str) -> str:
    """A long label on two lines, as panels are narrow."""
    lines = textwrap.wrap(label, _TITLE_WIDTH)
    if len(lines) < 2:
        return label
    return f"{lines[0]}\n{textwrap.shorten(' '.join(lines[1:]), _TITLE_WIDTH, placeholder='…')}"


def _limits(rows: Sequence[Record], columns: Sequence[str]) -> tuple[float, float]:
    """Of all panels alike; the highest hundredth, such as a loss that exploded, is cut off."""
    values = sorted(number(row, column) for row in rows for column in columns)
    known = [value for value in values if math.isfinite(value)]
    high = known[min(len(known) - 1, int(0.99 * len(known)))]
    room = 0.05 * (high - known[0]) or 0.05
    return known[0] - room, high + room
