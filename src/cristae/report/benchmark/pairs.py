"""The matrix of verdicts: which method is better than which, and what is undecided."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from cristae.report.benchmark.files import BenchmarkFiles, Record, number
from cristae.report.benchmark.tables import Column, Square, numbers, shaded, sortable
from cristae.report.page import Section, fold

TITLE = "Pairs"
_LOOK = {"better": ("var(--better)", "+"), "worse": ("var(--worse)", "-"), "undecided": ("var(--wash)", "?")}
"""Colour and sign of each verdict, so that colour is not needed."""
_FLIPPED = {"better": "worse", "worse": "better"}


def pairs_section(files: BenchmarkFiles) -> Section | None:
    """The matrix, and every test as a table; None without pairs."""
    wanted = (files.metric, files.class_name, files.split)
    rows = [row for row in files["pairs"] if (row["metric"], row["class"], row["split"]) == wanted]
    if not rows:
        return None
    named = {(row["cell"], row["other"]): row for row in rows}
    cells = [cell for cell in files.order if any(cell in pair for pair in named)]
    body = Markup("<p>{}</p>").format(_lead(files, rows)) + _matrix(files, cells, named)
    return Section(TITLE, body + fold(f"All {len(rows)} pairs", _table(files, rows)))


def _lead(files: BenchmarkFiles, rows: Sequence[Record]) -> str:
    pairs = {frozenset((row["cell"], row["other"])): row for row in rows}
    open_ones = [row for row in pairs.values() if row["verdict"] == "undecided"]
    methods = "; ".join(dict.fromkeys(str(row["method"]) for row in rows if row.get("method")))
    tested = f" Tested by: {methods}; p values are corrected for the number of pairs (Holm)." if methods else ""
    text = f"{len(open_ones)} of {len(pairs)} pairs are undecided by {files.metric_title}."
    reasons = list(dict.fromkeys(str(row["reason"]) for row in open_ones if row.get("reason")))
    why = f" Why: {'; '.join(reasons[:3])}." if reasons else ""
    return text + tested + why


def _matrix(files: BenchmarkFiles, cells: Sequence[str], named: Mapping[tuple[str, str], Record]) -> Markup:
    rows = [(files.label(cell), [_square(files, cell, other, named) for other in cells]) for cell in cells]
    caption = (
        "Row against column: + better, - worse, ? undecided, with the difference of the means. Point at a place for "
        "its interval and p value."
    )
    names, hints = [files.short_label(cell) for cell in cells], [files.label(cell) for cell in cells]
    return shaded(rows, names, hints=hints, caption=caption, square=True)


def _square(files: BenchmarkFiles, cell: str, other: str, named: Mapping[tuple[str, str], Record]) -> Square:
    if cell == other:
        return Square("")
    flipped = (cell, other) not in named
    row = named.get((other, cell) if flipped else (cell, other))
    if row is None:
        return Square("–")
    verdict = _verdict(row, flipped)
    difference = -number(row, "difference") if flipped else number(row, "difference")
    color, sign = _LOOK.get(verdict, _LOOK["undecided"])
    text = sign if math.isnan(difference) else f"{sign} {abs(difference):.3f}"
    return Square(text, color, "inherit", f"{files.label(cell)} against {files.label(other)}: {_words(row, flipped)}")


def _verdict(row: Record, flipped: bool) -> str:
    verdict = str(row["verdict"])
    return _FLIPPED.get(verdict, verdict) if flipped else verdict


def _words(row: Record, flipped: bool) -> str:
    sign = -1 if flipped else 1
    low, high = sorted((sign * number(row, "low"), sign * number(row, "high")))
    parts = [_verdict(row, flipped)]
    if math.isfinite(number(row, "difference")):
        parts.append(f"difference {sign * number(row, 'difference'):+.4f}")
    if math.isfinite(low) and math.isfinite(high):
        parts.append(f"95 % {low:+.4f} to {high:+.4f}")
    if math.isfinite(number(row, "p_holm")):
        parts.append(f"p {number(row, 'p_holm'):.3g} after Holm")
    if row.get("reason"):
        parts.append(str(row["reason"]))
    return "; ".join(parts)


def _table(files: BenchmarkFiles, rows: Sequence[Record]) -> Markup:
    columns = [
        Column("Method", [files.label(row["cell"]) for row in rows]),
        Column("Other", [files.label(row["other"]) for row in rows]),
        Column("Verdict", [str(row["verdict"]) for row in rows]),
        numbers("Difference", rows, "difference", "+.4f"),
        numbers("Low", rows, "low", "+.4f"),
        numbers("High", rows, "high", "+.4f"),
        numbers("p", rows, "p", ".3g"),
        numbers("p, Holm", rows, "p_holm", ".3g"),
        numbers("n", rows, "n", ".0f"),
        numbers("Needed of each", rows, "needed", ".0f"),
        Column("Reason", [str(row.get("reason") or row.get("needed_reason") or "") for row in rows]),
    ]
    caption = "Needed: how many folds, seeds or trainings of each would decide a difference this large in 4 of 5 tries."
    return sortable(columns, caption=caption)
