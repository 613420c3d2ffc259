"""Tables with one row for each slice, volume, animal, fold or training: read, checked and grouped into units."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import numpy as np

from cristae.errors import MissingFileError, ScoreError
from cristae.metrics.score import COLUMNS as SCORE_COLUMNS
from cristae.metrics.uncertainty.bootstrap import Bounds
from cristae.metrics.uncertainty.statistic import POOLED, Statistic, mean, mean_rows, pooled_score
from cristae.metrics.uncertainty.units import Unit, correlation_length, group_rows, slab_of

Row = Mapping[str, str]
_COUNTS = ("TP", "FP", "FN", "TN")
_WIDE = ("run", "volume", "slice", "class")
_TIDY = ("run", "unit", "value")
_LARGEST = 1e100
"""Sums and squares of larger numbers would overflow."""
_FARTHEST_SLICE = 10_000_000
"""No stack has more; larger numbers are slips, such as positions in nm or dates."""
SPACING = "spacing_nm"
"""Column with the distance of slices in nm; empty where it is unknown."""

_SHARES = frozenset(
    {*POOLED, "clDice", "adapted_rand_error"}
    | {f"V_{kind}{form}" for kind in ("rand", "info") for form in ("", "_fixed", "_raw")}
)
"""Columns that lie between 0 and 1 by definition; another column may hold anything."""
_FAMILIES = {
    "components_": "detection", "clDice": "centrelines", "V_": "partition", "VI": "partition", "adapted_": "partition"
}  # fmt: skip
"""Families of scores by how the columns begin that only they fill."""


@dataclass(frozen=True, eq=False)
class UnitTable:
    """Units of one run and class; units are in the order of the file."""

    run: str
    class_name: str
    units: tuple[Hashable, ...]
    rows: np.ndarray
    """(units, k) float64, as the statistic reads them."""
    slices: tuple[Hashable, ...] = ()
    """Volume and slice of each row that was added up; none for tidy tables."""


@dataclass(frozen=True, eq=False)
class Measured:
    """All runs and classes of some tables, and the score to compute."""

    metric: str
    statistic: Statistic
    bounds: Bounds | None
    tables: tuple[UnitTable, ...]


@dataclass(frozen=True)
class Trial:
    """One row of a tidy table: one value of one run in one unit, fold or training."""

    run: str
    unit: str
    value: float
    sizes: tuple[float, float] | None
    """Training and test size of a fold."""


def read_rows(paths: Sequence[Path]) -> tuple[list[Row], bool]:
    """Rows of all tables together, and whether they are tables of slices (else tidy ones).

    Raises:
        MissingFileError: There is no such file.
        ScoreError: A file is neither kind of table, is empty, or the kinds are mixed.
    """
    rows: list[Row] = []
    kinds = set()
    for path in paths:
        if not path.is_file():
            raise MissingFileError(f"{path}: there is no such table")
        try:
            reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), strict=True)
            fresh, header = list(reader), list(reader.fieldnames or ())
        except (UnicodeDecodeError, csv.Error) as error:
            raise ScoreError(f"{path}: not a CSV table ({error})") from error
        if twice := [name for name in header if header.count(name) > 1]:
            raise ScoreError(f"{path}: two columns are called '{twice[0]}'; give each its own name")
        kinds.add(_is_wide(path, set(header)))
        if not fresh:
            raise ScoreError(f"{path}: the table has no rows")
        for number, row in enumerate(fresh, start=2):
            if None in row or None in row.values():
                raise ScoreError(f"{path}:{number}: row and header differ in their number of columns")
        rows += [{**row, "": f"{path}:{number}"} for number, row in enumerate(fresh, start=2)]
    if not kinds:
        raise ScoreError("give at least one table")
    if len(kinds) > 1:
        raise ScoreError("give either tables of slices or tidy tables (run, unit, value), not both")
    return rows, kinds.pop()


def measure_slices(
    rows: Sequence[Row], metric: str, unit: Unit, *, class_name: str | None, slice_spacing_nm: float | None
) -> Measured:
    """Group a table of slices into units.

    A metric of counts is pooled: counts are added, then divided. With the suffix `_slice_mean`, and for every other
    column, the score is the mean over the slices where it is defined.

    Raises:
        ScoreError: No such metric or class, a slice that occurs twice, a cell that is not a number.
    """
    chosen = [row for row in rows if class_name in (None, row["class"])]
    if not chosen:
        raise ScoreError(f"no row is of class '{class_name}'; there are {_names(row['class'] for row in rows)}")
    column = metric.removesuffix("_slice_mean")
    pooled = metric in POOLED
    if not pooled and (column not in chosen[0] or column in (*_WIDE, *_COUNTS, SPACING, "")):
        known = [name for name in chosen[0] if name not in (*_WIDE, *_COUNTS, SPACING, "", *POOLED)]
        raise ScoreError(f"unknown metric '{metric}'; the table has {', '.join([*POOLED, *known])}")
    seen: dict[tuple[str, ...], str] = {}
    for row in chosen:
        key = tuple(row[name] for name in _WIDE)
        if key in seen:
            raise ScoreError(f"{row['']}: run, volume, slice and class are those of {seen[key]}; each may occur once")
        seen[key] = row[""]
    tables = []
    for run, name in dict.fromkeys((row["run"], row["class"]) for row in chosen):
        own = [row for row in chosen if (row["run"], row["class"]) == (run, name)]
        if not pooled and not any(row[column].strip() for row in own):
            raise ScoreError(f"'{run}' was not evaluated for {column} of '{name}': the column is empty{_cure(column)}")
        keys = _unit_keys(own, unit, slice_spacing_nm)
        values = (
            np.array([[_count(row, count) for count in _COUNTS] for row in own])
            if pooled
            else mean_rows(np.array([_number(row, column, undefined=True) for row in own]))
        )
        units, sums = group_rows(keys, values)
        slices = tuple(f"{row['volume']}, slice {row['slice']}" for row in own)
        tables.append(UnitTable(run, name, units, sums, slices))
    bounds = (0.0, 1.0) if column in _SHARES else None
    return Measured(metric, pooled_score(metric) if pooled else mean, bounds, tuple(tables))


def _cure(column: str) -> str:
    """How an evaluation gets the scores of a column."""
    family = next((family for start, family in _FAMILIES.items() if column.startswith(start)), None)
    return "" if family is None else f"; evaluate it again, without --scores or with {family} among them"


def correlated_slices(rows: Sequence[Row], measured: Measured) -> float:
    """Over how many slices the scores of a stack go together: the longest of all stacks, runs and classes.

    Args:
        rows: The table of slices that was measured.
        measured: The same with slices as units.

    Returns:
        The length in slices; NaN where no stack is long enough to estimate it.
    """
    lengths = [math.nan]
    for table in measured.tables:
        values = measured.statistic(table.rows)
        for volume in dict.fromkeys(row["volume"] for row in rows):
            own = {unit[1]: value for unit, value in zip(table.units, values, strict=True) if _is_of(unit, volume)}
            if own:
                stack = np.full(max(own) - min(own) + 1, np.nan)
                stack[np.array(list(own)) - min(own)] = list(own.values())
                lengths.append(correlation_length(stack))
    known = [length for length in lengths if length == length]
    return max(known, default=math.nan)


def measure_tidy(rows: Sequence[Row]) -> Measured:
    """Units of a tidy table; the score of a run is the mean of its values.

    Raises:
        ScoreError: A unit occurs twice in a run, or a value is not a finite number.
    """
    tables = []
    for run, trials in read_trials(rows).items():
        values = mean_rows(np.array([trial.value for trial in trials]))
        tables.append(UnitTable(run, "", tuple(trial.unit for trial in trials), values))
    return Measured("value", mean, None, tuple(tables))


def read_trials(rows: Sequence[Row], *, folds: bool = False) -> dict[str, tuple[Trial, ...]]:
    """Values of a tidy table by run.

    Args:
        rows: With the columns run, unit and value; for folds also train_size and test_size.
        folds: Whether the sizes are needed.

    Raises:
        ScoreError: A unit occurs twice in a run, a value is not a finite number, or the sizes of folds are missing.
    """
    found: dict[str, dict[str, Trial]] = {}
    for row in rows:
        if folds and not {"train_size", "test_size"} <= set(row):
            raise ScoreError(f"{row['']}: --folds needs the columns train_size and test_size")
        for column in ("run", "unit"):
            if not row[column].strip():
                raise ScoreError(f"{row['']}: {column} is empty; every row needs its run and its unit")
        own = found.setdefault(row["run"], {})
        if row["unit"] in own:
            raise ScoreError(f"{row['']}: unit '{row['unit']}' occurs twice in run '{row['run']}'; each may occur once")
        sizes = (_number(row, "train_size"), _number(row, "test_size")) if folds else None
        own[row["unit"]] = Trial(row["run"], row["unit"], _number(row, "value"), sizes)
    return {run: tuple(own.values()) for run, own in found.items()}


def aligned(first: UnitTable, second: UnitTable) -> np.ndarray:
    """Rows of the second table in the order of the first one's units.

    Raises:
        ScoreError: The two were not evaluated on the same units.
    """
    for one, two in ((first, second), (second, first)):
        there = {*two.slices, *two.units}
        if lone := [unit for unit in (*one.slices, *one.units) if unit not in there]:
            raise ScoreError(
                f"the runs do not have the same units: '{one.run}' has {_names(map(_say, lone))}, '{two.run}' has not; "
                "evaluate both on the same data"
            )
    place = {unit: index for index, unit in enumerate(second.units)}
    return second.rows[[place[unit] for unit in first.units]]


def _is_wide(path: Path, columns: set[str]) -> bool:
    if columns >= {*_WIDE, *_COUNTS}:
        return True
    if columns >= set(SCORE_COLUMNS):
        beside = path.with_name(f"{path.stem}.slices.csv")
        raise ScoreError(
            f"{path}: is a table of scores, one number for each run, which cannot be compared without its units; "
            f"give the table of slices that evaluate writes beside it ({beside.name})"
        )
    if columns >= set(_TIDY):
        return False
    raise ScoreError(
        f"{path}: expected the columns {', '.join(_TIDY)}, or a table of slices as evaluate writes it "
        f"({', '.join((*_WIDE, *_COUNTS))}, ...); found {', '.join(sorted(columns)) or 'none'}"
    )


def _is_of(unit: Hashable, volume: str) -> TypeGuard[tuple[str, int]]:
    """Whether a slice is of this volume."""
    return isinstance(unit, tuple) and unit[0] == volume


def _unit_keys(rows: Sequence[Row], unit: Unit, slice_spacing_nm: float | None) -> list[Hashable]:
    if unit.kind == "volume":
        return [row["volume"] for row in rows]
    if unit.kind == "column":
        if unit.column not in rows[0]:
            raise ScoreError(
                f"the table has no column '{unit.column}'; it has {_names(name for name in rows[0] if name)}"
            )
        if empty := [row[""] for row in rows if not row[unit.column].strip()]:
            raise ScoreError(f"{empty[0]}: the column '{unit.column}' is empty; every row needs its unit")
        return [row[unit.column] for row in rows]
    slices = [_number(row, "slice") for row in rows]
    if odd := [row for row, z in zip(rows, slices, strict=True) if z != int(z) or abs(z) > _FARTHEST_SLICE]:
        raise ScoreError(f"{odd[0]['']}: slice is '{odd[0]['slice']}'; expected a whole number up to {_FARTHEST_SLICE}")
    numbers = np.array(slices, np.int64)
    if unit.kind == "slab":
        spacings = np.array([_spacing(row, unit, slice_spacing_nm) for row in rows])
        for spacing in np.unique(spacings):
            own = spacings == spacing
            numbers[own] = slab_of(numbers[own], float(spacing), unit.thickness_nm)
    return [(row["volume"], int(number)) for row, number in zip(rows, numbers, strict=True)]


def _spacing(row: Row, unit: Unit, stated: float | None) -> float:
    """Distance of the slices of a volume in nm: what is stated, or what the table says."""
    if stated is not None:
        return stated
    if not row.get(SPACING, "").strip():
        raise ScoreError(f"{row['']}: --unit {unit} needs the distance of slices; give --slice-spacing-nm")
    return _number(row, SPACING)


def _number(row: Row, column: str, *, undefined: bool = False) -> float:
    """A cell; NaN, or an empty cell, only where a value may be undefined."""
    text = row[column].strip()
    if undefined and text.lower() in ("", "nan"):
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ScoreError(f"{row['']}: {column} is '{row[column]}'; expected a number")
    if abs(value) > _LARGEST:
        raise ScoreError(f"{row['']}: {column} is {value:g}; expected a number up to {_LARGEST:g}")
    return value


def _count(row: Row, column: str) -> float:
    value = _number(row, column)
    if value < 0:
        raise ScoreError(f"{row['']}: {column} is {value:g}; a count cannot be negative")
    return value


def _say(unit: Hashable) -> str:
    return f"{unit[0]}, slice or slab {unit[1]}" if isinstance(unit, tuple) else str(unit)


def _names(names: Iterable[str]) -> str:
    unique = list(dict.fromkeys(names))
    return ", ".join(f"'{name}'" for name in unique[:5]) + (f" and {len(unique) - 5} more" if len(unique) > 5 else "")
