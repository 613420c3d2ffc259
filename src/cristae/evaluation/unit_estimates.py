"""Estimates from a table of units: counts, sizes, lengths or anything else, of which truth and prediction are known.

Columns: `unit`, `predicted`, `truth` (empty where a unit was not labelled), and if wanted `size` (what the ratio is
per; 1 where there is none), `class` and `part` (a population of its own, such as a volume).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cristae.errors import MissingFileError, ScoreError
from cristae.evaluation.estimate_rows import EstimateRow
from cristae.evaluation.estimation import PartAmounts, Wanted, estimate_classes
from cristae.metrics.uncertainty.designs import Design, Sample, sample_of

_NEEDED = ("unit", "predicted", "truth")
_KNOWN = (*_NEEDED, "size", "class", "part")

Row = Mapping[str, str]


def estimate_table(path: Path, design: Design | None) -> tuple[EstimateRow, ...]:
    """Ratios and totals of a table of units, in the order in which they lie.

    Raises:
        MissingFileError: There is no such file.
        ScoreError: It is no such table, a unit occurs twice, a cell is no number, or too few units are labelled.
    """
    rows = _read(path)
    found: list[EstimateRow] = []
    for name in dict.fromkeys(row.get("class", "") for row in rows):
        own = [row for row in rows if row.get("class", "") == name]
        parts = [
            _part(path, [row for row in own if row.get("part", "") == part], design)
            for part in dict.fromkeys(row.get("part", "") for row in own)
        ]
        quantity = "mean" if "size" not in rows[0] else "ratio"
        wanted = Wanted((name or "all",), quantity, "total", upper=math.inf)
        found += estimate_classes(parts, wanted)
    return tuple(found)


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such table")
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), strict=True)
        rows, header = list(reader), list(reader.fieldnames or ())
    except (UnicodeDecodeError, csv.Error) as error:
        raise ScoreError(f"{path}: not a CSV table ({error})") from error
    if not set(_NEEDED) <= set(header) or set(header) - set(_KNOWN) or len(set(header)) != len(header):
        raise ScoreError(
            f"{path}: expected the columns {', '.join(_NEEDED)} and if wanted size, class, part; found "
            f"{', '.join(header) or 'none'}"
        )
    seen: set[tuple[str, ...]] = set()
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise ScoreError(f"{path}:{number}: row and header differ in their number of columns")
        key = tuple(row.get(name, "") for name in ("class", "part", "unit"))
        if key in seen:
            raise ScoreError(f"{path}:{number}: unit '{row['unit']}' occurs twice; each may occur once")
        seen.add(key)
        row[""] = f"{path}:{number}"
    if not rows:
        raise ScoreError(f"{path}: the table has no rows")
    return list(rows)


def _part(path: Path, rows: Sequence[Row], design: Design | None) -> PartAmounts:
    predicted = np.array([_number(row, "predicted") for row in rows])
    size = np.array([_number(row, "size") if "size" in row else 1.0 for row in rows])
    if (size < 0).any() or not size.sum() > 0:
        raise ScoreError(f"{path}: sizes must not be negative, nor all 0")
    places = [place for place, row in enumerate(rows) if row["truth"].strip()]
    if len(places) < 2:
        raise ScoreError(f"{path}: {len(places)} of {len(rows)} units have a truth; an estimate needs at least two")
    truth = np.array([_number(rows[place], "truth") for place in places])
    if design in (None, "random"):  # rows of a table need not stand in the order of space
        sample = Sample.of("random", len(places), len(rows))
    else:
        sample = sample_of(places, len(rows), design, where=f"{path}: ")
    nothing = np.zeros(1)
    return PartAmounts(
        *(sample, truth[:, None], size[places], predicted[places, None], size[places]),
        *(np.array([predicted.sum()]), float(size.sum()), nothing, nothing, 0.0),
    )


def _number(row: Row, column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ScoreError(f"{row['']}: {column} is '{row[column]}'; expected a number")
    return value
