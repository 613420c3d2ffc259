"""Figures of the page, which are kept as files of their own too."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from cristae.report.figures import STYLE, figure_svg, svg_markup

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCENT, WARM, QUIET = "#0a5a8a", "#c2410c", "#8c959f"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07d00", "#56b4e9", "#1b1f24")
"""Distinguishable with any colour vision (after Okabe and Ito, yellow darkened)."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
MARKERS = ("o", "s", "^", "D")
_DPI = 150
_TIP = "tip-"


@dataclass
class Figures:
    """The figures of a page: as they are drawn their files are kept by name."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Contents by file name: an `.svg` and a `.png` of each."""

    def keep(
        self,
        name: str,
        figure: Figure,
        *,
        label: str,
        tips: Sequence[str] = (),
        themed: bool = True,
        arranged: bool = False,
    ) -> Markup:
        """The figure as part of the page.

        Args:
            name: Of its files.
            figure: Drawn inside `drawing`.
            label: What it shows, for those who cannot see it.
            tips: What shows when one points at the artists that `tip` has marked.
            themed: Whether ink and paper are those of the page, light or dark.
            arranged: Whether its axes stand where they should; else they are arranged around their texts.
        """
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        if not arranged:
            ConstrainedLayoutEngine().execute(figure)  # once for both files
        text = _with_tips(figure_svg(figure), tips)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=_DPI, metadata={"Software": None})
        self.files[f"{name}.svg"] = text.encode()
        self.files[f"{name}.png"] = picture.getvalue()
        drawn = svg_markup(text, figure.get_figwidth(), label=label, themed=themed)
        kind = "" if themed else " fixed"
        return Markup('<div class="chart{}" data-name="{}">{}</div>').format(kind, name, drawn)


@contextmanager
def drawing(
    width: float, height: float, *, rows: int = 1, columns: int = 1, **options: Any
) -> Iterator[tuple[Figure, Any]]:
    """A figure in the form of the house with its axes: one, or an array (rows, columns)."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        yield figure, figure.subplots(rows, columns, squeeze=rows == columns == 1, **options)


def tip(artist: Artist, number: int) -> None:
    """Mark what the tip of this number belongs to."""
    artist.set_gid(f"{_TIP}{number}")


def style_of(place: int) -> dict[str, Any]:
    """A colour and dash for each line, all different for 28."""
    dash = DASHES[place // len(COLORS) % len(DASHES)]
    return {"color": COLORS[place % len(COLORS)], "linestyle": dash}


def marker_of(place: int) -> str:
    """A marker beside the colour, so that lines can be told apart in black and white too."""
    return MARKERS[place // len(COLORS) % len(MARKERS)]


def rows_axis(axes: Axes, names: Sequence[str]) -> None:
    """One row for each name, the first on top, without a line for each."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelcolor="#1b1f24")
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def tall(rows: int, *, head: float = 0.9, each: float = 0.3) -> float:
    """Inches of a figure with so many rows of text."""
    return max(1.6, head + each * rows)


def _with_tips(text: str, tips: Sequence[str]) -> str:
    """Groups that `tip` has marked get a class and a title, which browsers show as a tip."""

    def titled(found: re.Match[str]) -> str:
        place = int(found[1])
        title = f"<title>{escape(tips[place])}</title>" if place < len(tips) else ""
        return f'<g class="tip">{title}'

    return re.sub(rf'<g id="{_TIP}(\d+)">', titled, text)
