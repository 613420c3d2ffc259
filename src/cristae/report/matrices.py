"""Labelled matrices: who was taken for what, and who agrees with whom.

A cell's colour is its value; its text is black or white, whichever stands out more, so it reads on any colour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from markupsafe import Markup

from cristae.metrics.ratio import ratio
from cristae.report.page import render

FULL = "#0a5a8a"
"""Colour of the largest value; the smallest is white."""
_UPRIGHT = 10
"""More columns than this have their names turned, so that cells stay narrow."""


@dataclass(frozen=True)
class _Square:
    """A cell."""

    text: str
    color: str
    ink: str
    hint: str
    same: bool
    """Whether row and column have the same name."""


def matrix_markup(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str] | None = None,
    *,
    kind: Literal["counts", "shares", "scores"],
    row_title: str = "",
    column_title: str = "",
    caption: str = "",
    colors: Mapping[str, str] | None = None,
) -> Markup:
    """A matrix with its names, as a table that can be copied.

    Args:
        values: (R, C). For counts and shares how many, not negative; a cell is coloured by its share of its row.
        rows: R names.
        columns: C names; the rows' when None.
        kind: Write counts, their shares of the row in percent, or the values as they are (scores, 0 white and 1 of full
            colour).
        row_title: What rows are, such as 'Truth'.
        column_title: What columns are, such as 'Prediction'.
        caption: A line above.
        colors: '#rrggbb' by name, shown as swatches beside the names.

    Example:
        >>> "75.0 %" in matrix_markup(np.array([[3, 1], [0, 2]]), ["no", "yes"], kind="shares")
        True
    """
    columns = rows if columns is None else columns
    values = np.asarray(values, float)
    if values.shape != (len(rows), len(columns)):
        raise ValueError(f"a matrix of {values.shape}, but {len(rows)} names of rows and {len(columns)} of columns")
    shares = values if kind == "scores" else ratio(values, values.sum(axis=1, keepdims=True))
    squares = [
        [
            _square(kind, values[r, c], shares[r, c], f"{row_title} {row}, {column_title} {column}", row == column)
            for c, column in enumerate(columns)
        ]
        for r, row in enumerate(rows)
    ]
    return render(
        "shades.html.j2",
        rows=list(zip(rows, squares, strict=True)),
        columns=columns,
        row_title=row_title,
        column_title=column_title,
        caption=caption,
        colors=colors or {},
        turned=len(columns) > _UPRIGHT,
    )


def shade(share: float) -> str:
    """'#rrggbb' from white (0) to `FULL` (1); grey where undefined.

    Example:
        >>> shade(0), shade(1), shade(math.nan)
        ('#ffffff', '#0a5a8a', '#eaeef2')
    """
    if math.isnan(share):
        return "#eaeef2"
    share = min(max(share, 0.0), 1.0)
    full = bytes.fromhex(FULL[1:])
    return "#" + "".join(f"{round(255 + share * (value - 255)):02x}" for value in full)


def ink_on(color: str) -> str:
    """Black or white, whichever has the higher contrast on '#rrggbb'; it is at least 4.5 to 1 on every colour.

    References:
        Web Content Accessibility Guidelines 2.2, relative luminance and contrast ratio, https://www.w3.org/TR/WCAG22/
    """
    light = luminance(color)
    return "#000000" if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else "#ffffff"


def luminance(color: str) -> float:
    """Relative luminance of '#rrggbb' in sRGB, 0 black to 1 white."""
    values = [value / 255 for value in bytes.fromhex(color[1:])]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def short_count(count: float) -> str:
    """A count in at most five characters and a unit; exact below 10 000.

    Example:
        >>> [short_count(n) for n in (0, 9999, 12345, 999999, 1234567, 8e9)]
        ['0', '9,999', '12.3 k', '1.00 M', '1.23 M', '8.00 G']
    """
    if count < 10_000:
        return f"{count:,.0f}"
    for unit in ("k", "M", "G", "T"):
        count /= 1000
        text = f"{count:#.3g}".rstrip(".")
        if float(text) < 1000:
            return f"{text} {unit}"
    return f"{count:,.0f} T"


def _square(kind: str, value: float, share: float, place: str, same: bool) -> _Square:
    color = shade(share)
    if kind == "scores":
        text = "–" if math.isnan(value) else f"{value:.4f}"
        hint = f"{place.strip(' ,')}: {'undefined' if math.isnan(value) else f'{value:.6g}'}"
    else:
        percent = "–" if math.isnan(share) else f"{100 * share:.1f} %"
        text = percent if kind == "shares" else short_count(value)
        hint = f"{place.strip(' ,')}: {value:,.0f} ({percent} of the row)"
    return _Square(text, color, ink_on(color), hint, same)
