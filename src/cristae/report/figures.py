"""Learning curves as SVG that stands inside the page, and the form all figures share."""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, LINE = "#1b1f24", "#57606a", "#d8dee4"
_SHIPPED_FONT = "DejaVu Sans"
"""Comes with matplotlib, so that text is measured alike on every machine, also on one without fonts. The page shows it
in its own font, which is narrower."""
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cristae",
    "font.family": _SHIPPED_FONT,
    "font.size": 11,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eaeef2",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
}

THEMED = {
    INK: "ink", "#000000": "ink", SOFT: "soft", LINE: "line", "#eaeef2": "grid", "#ffffff": "paper",
    "#0a5a8a": "accent", "#f2f5f8": "band", "#cfe3f1": "tint",
}  # fmt: skip
"""Colours of drawings that follow the page, which may be dark, and what its style calls them."""
_PIXELS_PER_INCH = 118
"""Of a page: such that text of 11 points is about as large as that of the page."""

Curve = tuple[list[int], list[float]]
"""Epochs and values."""


def learning_curves(rows: Sequence[Mapping[str, str]], colors: Mapping[str, str], best_epoch: int | None) -> Markup:
    """Losses, validation IoU and learning rate over the epochs.

    Args:
        rows: The rows of `metrics.csv`; empty cells are left out.
        colors: '#rrggbb' by class name, for the classes drawn beside the mean.
        best_epoch: The epoch whose weights were kept, as it stands in the file.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(14.5, 3.5), layout=ConstrainedLayoutEngine(wspace=0.05))
        loss, score, rate = figure.subplots(1, 3)
        losses = {"training": (curve(rows, "train_loss"), INK), "validation": (curve(rows, "val_loss"), SOFT)}
        _draw(loss, losses, "Loss")
        classes = {name: (curve(rows, f"val_iou_{name}"), color) for name, color in colors.items()}
        _draw(score, {"mean": (curve(rows, "val_miou"), INK)} | classes, "Validation IoU")
        _draw(rate, {"": (curve(rows, "learning_rate"), INK)}, "Learning rate")
        if best_epoch is not None:
            for axes in (loss, score):
                axes.axvline(best_epoch, color="#0a5a8a", linewidth=1, linestyle=(0, (4, 3)), label="kept")
        if losses["validation"][0][0]:
            loss.legend(fontsize=9.5)
        if any(len(values[0][0]) for values in classes.values()) or best_epoch is not None:
            score.legend(loc="lower center", fontsize=9.5, ncols=1 if len(classes) < 5 else 2)
        rates = curve(rows, "learning_rate")[1]
        if rates and min(rates) > 0 and max(rates) / min(rates) > 20:
            rate.set_yscale("log")
        else:
            rate.yaxis.set_major_formatter("{x:g}")
        return figure_markup(figure)


def curve(rows: Sequence[Mapping[str, str]], column: str) -> Curve:
    """The finite values of one column of `metrics.csv` by epoch."""
    epochs, values = [], []
    for row in rows:
        value = _number(row.get(column))
        if math.isfinite(value):
            epochs.append(int(float(row["epoch"])))
            values.append(value)
    return epochs, values


def _number(text: str | None) -> float:
    return float(text) if text else math.nan


def _draw(axes: Axes, curves: Mapping[str, tuple[Curve, str]], title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for place, (name, ((epochs, values), color)) in enumerate(curves.items()):
        marker = "o" if len(epochs) < 15 else ""
        width = 1.8 if place == 0 else 1.2
        axes.plot(epochs, values, color=color, linewidth=width, marker=marker, markersize=3, label=name)
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def figure_markup(figure: Figure, *, label: str = "") -> Markup:
    """The drawing without date, program or document header, coordinates rounded to a hundredth of a point.

    Names inside the drawing are its own, so that a page can hold several.

    Args:
        figure: Drawn under `STYLE`.
        label: What it shows, for those who cannot see it.
    """
    return svg_markup(figure_svg(figure), figure.get_figwidth(), label=label)


def figure_svg(figure: Figure) -> str:
    """The drawing as an SVG file without date and program: the same text for the same drawing."""
    buffer = io.StringIO()
    metadata: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=metadata)
    return buffer.getvalue()


def svg_markup(text: str, width: float, *, label: str = "", themed: bool = True) -> Markup:
    """An SVG file as part of a page, as `figure_markup` describes it.

    Args:
        text: As `figure_svg` gives it.
        width: Of the figure in inches.
        label: What it shows, for those who cannot see it.
        themed: Whether ink and paper are those of the page, light or dark; False where white stands for a value.
    """
    text = text[text.index("<svg") :].replace(f"'{_SHIPPED_FONT}'", "inherit")
    text = re.sub(r' (d|x|y|transform|points)="[^"]*"', lambda attribute: _rounded(attribute[0]), text)
    if themed:
        text = re.sub(r"(?<=: )#[0-9a-f]{6}\b", lambda color: _themed(color[0]), text)
    described = Markup(' role="img" aria-label="{}"').format(label) if label else ""
    opening = f'<svg{described} style="max-width:{round(_PIXELS_PER_INCH * width)}px"'
    drawing = Markup(opening + _with_own_ids(text)[len("<svg") :])
    return Markup('<div class="curves">{}</div>').format(drawing)


def beside(figures: Sequence[Markup]) -> Markup:
    """Figures next to each other where the page is wide enough."""
    return Markup('<div class="beside">{}</div>').format(Markup("").join(figures))


def _with_own_ids(text: str) -> str:
    """The drawing with a mark of its own in the ids that it refers to, and without the others."""
    mark = f"f{hashlib.sha256(text.encode()).hexdigest()[:8]}-"
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda found: f' id="{mark}{found[1]}"' if found[1] in used else "", text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{mark}", text)


def _themed(color: str) -> str:
    return f"var(--{THEMED[color]}, {color})" if color in THEMED else color


def _rounded(attribute: str) -> str:
    return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", attribute)
