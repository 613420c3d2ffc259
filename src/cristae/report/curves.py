"""Curves of scores: over thresholds, ROC, precision and recall, and how far a score can be taken at its word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from markupsafe import Markup

from cristae.metrics.calibration import Reliability
from cristae.report.figures import INK, SOFT, STYLE, figure_markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]
"""x and y, equally long."""

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
"""Distinguishable with any colour vision (after Okabe and Ito)."""
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_CHANCE: Any = {"color": "#8c959f", "linewidth": 1.1, "linestyle": (0, (4, 3)), "zorder": 1}
_TALL = 3.6
"""Height of a square figure in inches."""


def threshold_curves(
    curves: Mapping[str, Points], *, metric: str, better: Literal["higher", "lower"] = "higher"
) -> Markup:
    """A metric over the threshold, a line for each run, its best threshold marked and stated.

    Args:
        curves: Thresholds, ascending, and values by run; undefined values are gaps.
        metric: What is drawn, as the axis says it.
        better: Which end is best; of equal values the lowest threshold is marked.
    """
    with _figure(7.5, _TALL) as (figure, axes):
        for (name, points), style in zip(curves.items(), _styles(), strict=False):
            x, y = _arrays(points)
            defined = np.flatnonzero(np.isfinite(y))
            axes.plot(x, y, **style)
            if not len(defined):
                axes.plot([], [], **style, label=f"{name}: undefined")
                continue
            best = defined[np.argmax(y[defined] if better == "higher" else -y[defined])]
            axes.plot(
                [x[best]], [y[best]], "o", color=style["color"], markersize=6, markeredgecolor="#fff", clip_on=False
            )
            axes.plot([], [], **style, label=f"{name}: {y[best]:.4f} at {x[best]:g}")
        axes.set_xlim(0, 1)
        axes.set_xlabel("threshold")
        axes.set_ylabel(metric)
        _legend(axes)
        return figure_markup(figure, label=f"{metric} over the threshold")


def roc_curves(curves: Mapping[str, Points], areas: Mapping[str, float] | None = None) -> Markup:
    """Sensitivity over the share of background taken for foreground, a line for each run.

    Args:
        curves: False and true positive rates by run, from (0, 0) to (1, 1).
        areas: Area under the curve by run, stated beside its name.
    """
    with _figure(5.6, _TALL) as (figure, axes):
        axes.plot([0, 1], [0, 1], **_CHANCE)
        _lines(axes, curves, areas, "AUC")
        _unit_square(axes, "false positive rate (1 - specificity)", "true positive rate (sensitivity)")
        _legend(axes)
        return figure_markup(figure, label="ROC curves")


def precision_recall_curves(
    curves: Mapping[str, Points], averages: Mapping[str, float] | None = None, *, foreground: float | None = None
) -> Markup:
    """Precision over recall in steps, as average precision adds them up, a line for each run.

    Args:
        curves: Recall, ascending, and precision by run; each precision holds from the recall before it.
        averages: Average precision by run, stated beside its name.
        foreground: Share of foreground, the precision of chance.
    """
    with _figure(5.6, _TALL) as (figure, axes):
        if foreground is not None:
            axes.axhline(foreground, **_CHANCE)
        _lines(axes, curves, averages, "AP", drawstyle="steps-pre")
        _unit_square(axes, "recall (sensitivity)", "precision (PPV)")
        _legend(axes)
        return figure_markup(figure, label="Precision and recall")


def reliability_diagram(bins: Mapping[str, Reliability], errors: Mapping[str, float] | None = None) -> Markup:
    """The share of foreground found over the share claimed, and below how many voxels there are of each score.

    Args:
        bins: By run.
        errors: Expected calibration error by run, stated beside its name.
    """
    with _figure(5.6, 4.6, rows=(3.2, 1)) as (figure, pair):
        axes, below = pair
        axes.plot([0, 1], [0, 1], **_CHANCE)
        for (name, one), style in zip(bins.items(), _styles(), strict=False):
            used = one.voxels > 0
            label = _labelled(name, errors, "ECE")
            axes.plot(
                one.mean_probability[used], one.observed[used], "o", label=label, clip_on=False, markersize=4, **style
            )
            below.stairs(np.where(used, one.voxels, np.nan), one.edges, color=style["color"], linewidth=1.4)
        axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of foreground")
        axes.tick_params(labelbottom=False)
        below.set(xlim=(0, 1), xlabel="score", ylabel="voxels")
        if any(one.voxels.any() for one in bins.values()):
            _log_counts(below, np.concatenate([one.voxels[one.voxels > 0] for one in bins.values()]))
        _legend(axes)
        return figure_markup(figure, label="Reliability diagram")


@contextmanager
def _figure(width: float, height: float, *, rows: Sequence[float] = ()) -> Iterator[tuple[Figure, Any]]:
    """A figure in the form of the house with one axes, or with one for each of `rows`, of these heights."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(len(rows), 1, height_ratios=rows) if rows else figure.subplots()


def _styles() -> Iterator[dict[str, Any]]:
    """A colour and dash for each line, all different for 28 lines, then anew."""
    while True:
        for dash in _DASHES:
            for color in _COLORS:
                yield {"color": color, "linestyle": dash}


def _lines(axes: Axes, curves: Mapping[str, Points], values: Mapping[str, float] | None, what: str, **how: Any) -> None:
    for (name, points), style in zip(curves.items(), _styles(), strict=False):
        axes.plot(*_arrays(points), label=_labelled(name, values, what), **style, **how)


def _labelled(name: str, values: Mapping[str, float] | None, what: str) -> str:
    value = (values or {}).get(name, math.nan)
    return name if math.isnan(value) else f"{name}: {what} {value:.4f}"


def _arrays(points: Points) -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.asarray(values, float) for values in points)
    return x, y


def _log_counts(axes: Axes, counts: np.ndarray) -> None:
    """A logarithmic axis of whole powers of ten around the counts."""
    low, high = math.floor(math.log10(counts.min())), math.ceil(math.log10(counts.max() + 1))
    axes.set_yscale("log")
    axes.set_ylim(10.0**low * 0.8, 10.0**high)
    axes.set_yticks([10.0**low, 10.0**high])
    axes.minorticks_off()


def _unit_square(axes: Axes, x: str, y: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y)
    axes.set_aspect("equal")


def _legend(axes: Axes) -> None:
    """Beside the axes, where it hides no curve."""
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), labelcolor=SOFT, fontsize=9.5)
