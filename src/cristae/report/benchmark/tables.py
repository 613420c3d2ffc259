"""Tables that can be sorted, and parts of which one is shown at a time; both work without scripts as plain ones."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from cristae.report.benchmark.files import Record, number
from cristae.report.page import render

MOST_PANES = 24
"""That a switch has; its style says so too."""


@dataclass(frozen=True)
class Square:
    """One place of a coloured table."""

    text: str
    color: str = ""
    ink: str = ""
    hint: str = ""
    key: float = math.nan
    """What sorting compares."""


@dataclass(frozen=True)
class Column:
    """A column: its texts, and for numbers what sorting compares."""

    title: str
    texts: Sequence[str]
    keys: Sequence[float] = ()
    bold: Sequence[bool] = field(default_factory=tuple)


def numbers(title: str, rows: Sequence[Record], key: str, form: str = ".4f") -> Column:
    """A column of one number of each record, a dash where it is undefined."""
    values = [number(row, key) for row in rows]
    return Column(title, ["–" if math.isnan(value) else format(value, form) for value in values], values)


def sortable(columns: Sequence[Column], *, caption: str) -> Markup:
    """A table that is sorted by the heading that one presses; columns that are empty for all are left out."""
    shown = [column for column in columns if any(text not in ("", "–") for text in column.texts)]
    count = len(shown[0].texts) if shown else 0
    head = next((column for column in shown if not column.keys), None)
    rows = [
        [
            {
                "text": column.texts[place],
                "key": _key(column.keys[place]) if column.keys else "",
                "bold": bool(column.bold) and column.bold[place],
                "number": bool(column.keys),
                "head": column is head,
            }
            for column in shown
        ]
        for place in range(count)
    ]
    return render("sortable.html.j2", columns=shown, rows=rows, caption=caption)


def shaded(
    rows: Sequence[tuple[str, Sequence[Square]]], columns: Sequence[str], *, caption: str, row_title: str = "Method",
    hints: Sequence[str] = (), square: bool = False,
) -> Markup:  # fmt: skip
    """A table of coloured places, sortable by any column.

    Args:
        rows: A name and its places.
        columns: Their names.
        caption: A line above.
        row_title: What rows are.
        hints: What shows over the name of each column.
        square: Whether rows and columns are the same, so that sorting would mean nothing.
    """
    return render(
        "shaded.html.j2",
        rows=[(name, [(one, _key(one.key)) for one in squares]) for name, squares in rows],
        columns=list(zip(columns, hints or [""] * len(columns), strict=True)),
        caption=caption,
        row_title=row_title,
        sorts=not square,
    )


def switch(what: str, panes: Sequence[tuple[str, Markup]]) -> Markup:
    """Parts of which the reader chooses one; a single one stands alone."""
    if len(panes) == 1:
        return panes[0][1]
    content = what + "".join(name + body for name, body in panes)
    mark = f"w{hashlib.sha256(content.encode()).hexdigest()[:8]}"
    return render("switch.html.j2", what=what, panes=panes[:MOST_PANES], mark=mark)


def _key(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
