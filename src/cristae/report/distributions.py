"""Histograms of objects, one for each class, all on one axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from cristae.report.figures import INK, SOFT, STYLE, figure_markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 4
_WIDE, _TALL = 3.55, 2.35
"""Inches of one histogram."""
_BINS_PER_DECADE = 8
_MAX_BINS = 32


@dataclass(frozen=True, eq=False)
class Sample:
    """Values of the objects of a class."""

    values: np.ndarray
    """(N,) finite; on a logarithmic axis above 0."""
    pale: np.ndarray
    """(N,) bool: objects whose value may be wrong, such as those cut by the edge of the volume."""
    color: str


def histograms(samples: Mapping[str, Sample], *, axis: str, unit: str, logarithmic: bool) -> Markup:
    """How many objects have which value, a small figure for each class, with the median of its full objects.

    Args:
        samples: By class; those without values are left out.
        axis: What is measured.
        unit: Of the values.
        logarithmic: Bins of equal ratio instead of equal width.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    shown = {name: sample for name, sample in samples.items() if len(sample.values)}
    if not shown:
        return Markup("")
    edges = _edges(np.concatenate([sample.values for sample in shown.values()]), logarithmic)
    columns = min(_COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDE * columns, _TALL * rows), layout="constrained")
        places = np.ravel(figure.subplots(rows, columns, sharex=True, squeeze=False))
        for place, (name, sample) in zip(places, shown.items(), strict=False):
            _draw(place, name, sample, edges, unit, logarithmic)
        for number, place in enumerate(places):
            place.set_visible(number < len(shown))
            last = number + columns >= len(shown)
            place.tick_params(labelbottom=last)
            place.set_xlabel(f"{axis} ({unit})" if last else "")
        return figure_markup(figure, label=f"Histograms of {axis}")


def median(sample: Sample) -> float:
    """The median of the objects that are whole, or of all when none is; NaN without any."""
    whole = sample.values[~sample.pale]
    values = whole if len(whole) else sample.values
    return float(np.median(values)) if len(values) else math.nan


def _draw(axes: Axes, name: str, sample: Sample, edges: np.ndarray, unit: str, logarithmic: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    whole, _ = np.histogram(sample.values[~sample.pale], edges)
    everything, _ = np.histogram(sample.values, edges)
    look: dict[str, Any] = {"width": np.diff(edges), "align": "edge", "edgecolor": INK, "linewidth": 0.4}
    axes.bar(edges[:-1], whole, color=sample.color, **look)
    axes.bar(edges[:-1], everything - whole, bottom=whole, color=_pale(sample.color), **look)
    middle = median(sample)
    axes.axvline(middle, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_title(f"{name} ({len(sample.values):,})", pad=16)
    axes.text(0, 1.02, f"median {middle:.3g} {unit}", transform=axes.transAxes, color=SOFT, fontsize=9.5, va="bottom")
    axes.set_axisbelow(True)
    axes.set_xlim(edges[0], edges[-1])
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    if logarithmic:
        axes.set_xscale("log")
        axes.minorticks_off()


def _edges(values: np.ndarray, logarithmic: bool) -> np.ndarray:
    if not logarithmic:
        count = min(_MAX_BINS, max(8, round(math.sqrt(len(values)))))
        return np.linspace(min(0.0, float(values.min())), float(values.max()) or 1.0, count + 1)
    low, high = math.floor(math.log10(values.min())), math.ceil(math.log10(values.max()))
    high = max(high, low + 1)
    count = min(_MAX_BINS, _BINS_PER_DECADE * (high - low))
    edges: np.ndarray = np.logspace(low, high, count + 1)
    # A value at the very end belongs to the last bin whatever the powers round to.
    edges[0], edges[-1] = min(edges[0], values.min()), max(edges[-1], values.max())
    return edges


def _pale(color: str) -> str:
    """Two thirds of the way to white."""
    return "#" + "".join(f"{round(value + (255 - value) * 0.66):02x}" for value in bytes.fromhex(color[1:]))
