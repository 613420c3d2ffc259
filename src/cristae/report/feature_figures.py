"""Figures of feature correlations: distributions, blocks against each other, the map of channels, their pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Picture

from cristae.report.figures import INK, SOFT, STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DOTS_PER_INCH = 150
_COLUMNS = 4
_LEVELS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Contours of a density, as parts of its largest value."""
_COARSER = 4
"""Neighbouring bins of a distribution that are taken together for contours."""
_MANY_PAIRS = 2000
"""Of fewer pairs, too, bins are taken together."""
_SHEET_COLUMNS = 16
_GAP = 2
"""White pixels around the picture of a channel."""


def draw_distributions(histograms: np.ndarray, networks: Mapping[str, Sequence[int]], names: Sequence[str]) -> Figure:
    """How r is distributed over the pairs of channels of each block: a ridge for each, blocks from top to bottom.

    Args:
        histograms: (B, B, bins) pairs by r from -1 to 1.
        networks: The numbers of the blocks of each network.
        names: Of blocks, without that of the network.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    tallest = max(len(blocks) for blocks in networks.values())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6 * len(networks), 1.2 + 0.5 * tallest), layout="constrained")
        panels = figure.subplots(1, len(networks), squeeze=False)[0]
        for axes, (network, blocks) in zip(panels, networks.items(), strict=True):
            for row, block in enumerate(blocks):
                pairs, base = histograms[block, block], len(blocks) - 1 - row
                density = _density(pairs if pairs.sum() > _MANY_PAIRS else _coarse(pairs))
                centres = _centres(len(density))
                axes.fill_between(centres, base, base + 0.95 * density, color="#0a5a8a", alpha=0.75, linewidth=0)
                axes.plot(centres, base + 0.95 * density, color=INK, linewidth=0.6)
            axes.set_yticks(range(len(blocks)), [names[block] for block in reversed(blocks)])
            axes.set_xlim(-1, 1)
            axes.set_xticks([-1, -0.5, 0, 0.5, 1])
            axes.axvline(0, color=SOFT, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.set_xlabel("r of two channels of the block")
            axes.set_title(network)
        return figure


def draw_contours(histograms: np.ndarray, networks: Mapping[str, Sequence[int]], names: Sequence[str]) -> Figure:
    """How r is distributed over the pairs of one block with each block: a panel for each block, contours of density.

    Args:
        histograms: (B, B, bins) pairs by r from -1 to 1.
        networks: The numbers of the blocks of each network, between which contours end.
        names: Of blocks.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    count = len(names)
    columns = min(_COLUMNS, count)
    rows = math.ceil(count / columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * columns, 2.6 * rows), layout="constrained")
        panels = np.ravel(figure.subplots(rows, columns, squeeze=False))
        coarse = _coarse(histograms)
        bins = coarse.shape[2]
        for place, axes in enumerate(panels):
            axes.set_visible(place < count)
            if place >= count:
                continue
            density = np.array([_density(coarse[place, other]) for other in range(count)]).T
            for others in networks.values():
                # Half a block on both sides: so each block has a width, and a network of one block is drawn, too.
                edges = np.concatenate([[others[0] - 0.45], others, [others[-1] + 0.45]])
                own = density[:, [others[0], *others, others[-1]]]
                if own.any():
                    axes.contourf(edges, _centres(bins), own, levels=(*_LEVELS,), cmap="Blues", vmin=-0.2)
            axes.set_axisbelow(True)
            axes.set_ylim(-1, 1)
            axes.set_xlim(-0.5, count - 0.5)
            step = max(1, count // 9)
            axes.set_xticks(range(0, count, step), [names[at] for at in range(0, count, step)], rotation=90)
            axes.tick_params(labelsize=8)
            axes.set_title(f"{names[place]} with")
            axes.set_ylabel("r" if place % columns == 0 else "")
        return figure


def draw_matrix(values: np.ndarray, names: Sequence[str]) -> Figure:
    """Means of |r| between blocks, as a heat map."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    side = 2.2 + 0.32 * len(names)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(side + 1, side), layout="constrained")
        axes = figure.subplots()
        axes.grid(False)
        shown = axes.imshow(values, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        figure.colorbar(shown, ax=axes, label="mean |r|")
        return figure


def draw_map(values: np.ndarray, starts: Sequence[int], names: Sequence[str]) -> Figure:
    """The map of all channels, each cell the mean |r| of its pairs, with lines between blocks."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 9), layout="constrained")
        axes = figure.subplots()
        axes.grid(False)
        axes.set_facecolor("#8c959f")  # where there are no pairs
        shown = axes.imshow(values, cmap="magma", vmin=0, vmax=1, interpolation="nearest")
        middles = [(a + b - 1) / 2 for a, b in pairwise(starts)]
        for edge in starts[1:-1]:
            axes.axhline(edge - 0.5, color="#ffffff", linewidth=0.5)
            axes.axvline(edge - 0.5, color="#ffffff", linewidth=0.5)
        axes.set_xticks(middles, names, rotation=90, fontsize=8)
        axes.set_yticks(middles, names, fontsize=8)
        figure.colorbar(shown, ax=axes, label="mean |r|", shrink=0.7)
        return figure


def draw_sheet(channels: np.ndarray) -> bytes:
    """Pictures uint8 (K, Y, X) of channels side by side, as PNG."""
    count, y, x = channels.shape
    columns = min(_SHEET_COLUMNS, max(1, count))
    rows = max(1, math.ceil(count / columns))
    sheet = np.full((rows * (y + _GAP) + _GAP, columns * (x + _GAP) + _GAP), 255, np.uint8)
    for place, channel in enumerate(channels):
        top, left = (place // columns) * (y + _GAP) + _GAP, (place % columns) * (x + _GAP) + _GAP
        sheet[top : top + y, left : left + x] = channel
    buffer = io.BytesIO()
    Picture.fromarray(sheet).save(buffer, format="PNG", compress_level=9)
    return buffer.getvalue()


def figure_files(figure: Figure) -> dict[str, bytes]:
    """A figure as `svg` and `png`, the same bytes for the same content."""
    import matplotlib as mpl

    metadata: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
        "png": {"Software": None},
    }
    files = {}
    with mpl.rc_context(STYLE):
        for kind, facts in metadata.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=_DOTS_PER_INCH, metadata=facts)
            files[kind] = buffer.getvalue()
    return files


def _centres(bins: int) -> np.ndarray:
    centres: np.ndarray = (np.arange(bins) + 0.5) * (2 / bins) - 1
    return centres


def _coarse(counts: np.ndarray) -> np.ndarray:
    """Several neighbouring bins together, along the last axis."""
    together: np.ndarray = counts.reshape(*counts.shape[:-1], -1, _COARSER).sum(axis=-1)
    return together


def _density(counts: np.ndarray) -> np.ndarray:
    """A distribution whose highest bin is 1; zeros where there are no pairs."""
    largest = counts.max()
    density: np.ndarray = counts / largest if largest else np.zeros(len(counts))
    return density
