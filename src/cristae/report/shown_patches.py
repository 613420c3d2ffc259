"""Pictures of what a network is shown: a row for each patch, with image, labels, validity, weights, further targets."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cristae.data.classes import Classes
from cristae.report.figures import STYLE
from cristae.training.shown import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TALLEST = 2.4
"""Inches of one picture."""
_MAX_SIDE = 1500
"""Longer sides are shown at every other voxel, or fewer."""
_DOTS_PER_INCH = 150


@dataclass(frozen=True, eq=False)
class _Column:
    """One kind of picture for all patches."""

    title: str
    planes: np.ndarray
    """(N, Y, X), or (N, Y, X, 3) colours from 0 to 1."""
    look: dict[str, Any]
    """How matplotlib shows it."""
    scale: bool = False
    """Whether a colour bar says what the colours mean."""


def draw_shown(shown: Shown, classes: Classes, *, most: int) -> bytes:
    """A PNG with a row for each of the first patches; of 3D patches their middle slice.

    Weights have one logarithmic colour scale for all rows, and are white where a voxel does not count or weighs 0.

    Args:
        shown: The patches.
        classes: Names and colours.
        most: Rows at most.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    columns = _columns(shown, classes, min(most, len(shown.places)))
    rows = len(columns[0].planes)
    height, width = columns[0].planes.shape[1:3]
    tall, wide = _TALLEST * min(1, height / width), _TALLEST * min(1, width / height)
    with mpl.rc_context({**STYLE, "axes.grid": False, "svg.fonttype": "path"}):
        figure = Figure(figsize=((wide + 0.5) * len(columns), (tall + 0.35) * rows + 0.6), layout="constrained")
        axes = figure.subplots(rows, len(columns), squeeze=False)
        for place, column in enumerate(columns):
            drawn = [_draw(axes[row][place], column.planes[row], column.look) for row in range(rows)]
            axes[0][place].set_title(column.title, fontsize=10)
            if column.scale:
                bar = figure.colorbar(drawn[0], ax=axes[:, place], shrink=min(1, 4 / rows), pad=0.02)
                if "norm" in column.look:
                    wide = column.look["norm"].vmax > 10 * column.look["norm"].vmin
                    bar.ax.yaxis.set(major_formatter="{x:g}", minor_formatter=NullFormatter() if wide else "{x:g}")
        for row in range(rows):
            axes[row][0].set_ylabel(shown.places[row].replace(" ", "\n", 1), fontsize=7)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Axes, plane: np.ndarray, look: dict[str, Any]) -> Any:
    axes.set_xticks([])
    axes.set_yticks([])
    return axes.imshow(plane, interpolation="nearest", **look)


def _columns(shown: Shown, classes: Classes, rows: int) -> list[_Column]:
    from matplotlib.colors import ListedColormap

    depth, height, width = shown.valid.shape[1:]
    step = -(-max(height, width) // _MAX_SIDE)

    def planes(voxels: np.ndarray) -> np.ndarray:
        """(N, ..., Y, X) of (N, ..., Z, Y, X)."""
        return voxels[:rows, ..., depth // 2, ::step, ::step]

    valid = planes(shown.valid)
    low, high = np.percentile(shown.image, (0.5, 99.5))
    grey = {"cmap": "gray", "vmin": low, "vmax": max(high, low + 1e-6)}
    columns = [
        _Column("image", planes(shown.image), grey),
        _Column("labels", _coloured(planes(shown.target), valid, classes), {}),
        _Column("valid", valid, {"cmap": ListedColormap(["#d8dee4", "#1b7837"]), "vmin": 0, "vmax": 1}),
        *_weight_columns(planes(shown.weights()), valid, classes),
    ]
    for name, channels in shown.further.items():
        titles = _titles(name, channels.shape[1], classes)
        for place, title in enumerate(titles):
            plane = np.where(valid, planes(channels[:, place]), np.nan)
            columns.append(_Column(title, plane, _range(plane), scale=True))
    return columns


def _titles(name: str, count: int, classes: Classes) -> Sequence[str]:
    """Of channels, each of a foreground class where there are as many."""
    if count == 1:
        return [name]
    return [f"{name}\n{one}" for one in (classes.foreground if count == len(classes.foreground) else range(count))]


def _weight_columns(weights: np.ndarray, valid: np.ndarray, classes: Classes) -> list[_Column]:
    """One picture of weights, or one for each overlapping class."""
    from matplotlib.colors import LogNorm

    several = weights.ndim > valid.ndim
    named = {f"weight\n{name}": weights[:, k] for k, name in enumerate(classes.names)} if several else {}
    columns = []
    for title, plane in (named or {"weight": weights}).items():
        counted = np.where(valid & (plane > 0), plane, np.nan)
        seen = counted[np.isfinite(counted)]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (1.0, 1.0)
        if low < high:
            look: dict[str, Any] = {"cmap": "viridis", "norm": LogNorm(low, high)}
        else:
            look = {"cmap": "viridis", "vmin": low / 2, "vmax": 2 * low}
        columns.append(_Column(title, counted, look, scale=True))
    return columns


def _range(plane: np.ndarray) -> dict[str, Any]:
    """Colours from the smallest value to the largest; around 0 where there are values on both sides of it."""
    seen = plane[np.isfinite(plane)]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
    if low < 0 < high:
        most = max(-low, high)
        return {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
    return {"cmap": "viridis", "vmin": low, "vmax": max(high, low + 1e-6)}


def _coloured(target: np.ndarray, valid: np.ndarray, classes: Classes) -> np.ndarray:
    """(N, Y, X, 3): the colour of each class, of overlapping ones their mean; pale where nothing counts."""
    colors = np.array([tuple(bytes.fromhex(classes.color_of(name)[1:])) for name in classes.names]) / 255
    if target.ndim == valid.ndim:
        picture: np.ndarray = colors[np.minimum(target, len(colors) - 1)]
    else:
        inside = (target != 0).astype(float)
        picture = np.einsum("nkyx,kc->nyxc", inside, colors) / np.maximum(inside.sum(axis=1), 1)[..., None]
    picture[~valid] = 0.85
    return picture
