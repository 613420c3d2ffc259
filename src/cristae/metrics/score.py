"""One row of the table of scores, and the files it is kept in."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cristae.data.files import require_new_file, write_together
from cristae.errors import MissingFileError, ScoreError

_TEXTS = ("run", "volume", "class", "metric", "unit", "rule")
COLUMNS = ("run", "volume", "class", "metric", "threshold", "value", "low", "high", "unit", "n", "rule")


@dataclass(frozen=True)
class Score:
    """One number and everything needed to read it."""

    run: str
    """Which run, method or prediction."""
    volume: str
    """Name of the volume; `all` where several were pooled."""
    class_name: str
    """Class; `all` for means over classes. The column is called `class`."""
    metric: str
    """A name that `metrics.table.describe_metric` knows, such as `F1`, `mIoU` or `V_rand_raw`."""
    value: float
    """NaN where undefined."""
    n: int
    """What was counted: voxels where pooled, slices or classes where averaged; `rule` says which."""
    rule: str
    """Positive class, pooled or averaged, what `n` counts."""
    unit: str = "ratio"
    threshold: float | None = None
    """The prediction is foreground where its probability is strictly greater (1 - p for objects between borders, as
    `rule` says then); None for label maps."""
    low: float | None = None
    """Lower end of the confidence interval, where there is one."""
    high: float | None = None
    """Upper end of the confidence interval, where there is one."""

    def as_row(self) -> dict[str, Any]:
        """The columns of the table by name; NaN stays NaN."""
        named = {"class": self.class_name}
        return {column: named[column] if column in named else getattr(self, column) for column in COLUMNS}


def write_scores(path: Path, scores: Iterable[Score]) -> tuple[Path, Path]:
    """Write the table twice, as `NAME.csv` and as `NAME.json` beside it.

    In CSV an undefined value reads `nan` and an absent one is empty; in JSON both are null (`n` distinguishes them).

    Returns:
        The CSV and the JSON path.

    Raises:
        OutputExistsError: One of the two exists.
        StorageError: The disk is full or the place may not be written; then neither is there.
        ScoreError: The name ends in neither .csv nor .json.
    """
    table, document = score_paths(path)
    require_new_file(table, what="the scores")
    require_new_file(document, what="the scores")
    rows = list(scores)
    write_together({table: scores_csv(rows).encode(), document: scores_json(rows).encode()})
    return table, document


def score_paths(path: Path) -> tuple[Path, Path]:
    """The CSV and the JSON path that belong to either.

    Raises:
        ScoreError: The name ends in neither .csv nor .json.
    """
    if path.suffix.lower() not in (".csv", ".json"):
        raise ScoreError(f"{path}: scores are written as .csv (with a .json beside it); give a name that ends in .csv")
    return path.with_suffix(".csv"), path.with_suffix(".json")


def scores_csv(scores: Iterable[Score]) -> str:
    """The table as CSV."""
    return csv_of([score.as_row() for score in scores], COLUMNS)


def csv_of(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Any table as CSV with a header; other columns of the rows are left out."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def scores_json(scores: Iterable[Score | Mapping[str, Any]]) -> str:
    """The table as a JSON list of objects; undefined values are null."""
    rows = [score.as_row() if isinstance(score, Score) else dict(score) for score in scores]
    plain = [{key: _null_if_nan(value) for key, value in row.items()} for row in rows]
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_scores(path: Path) -> tuple[Score, ...]:
    """Read a table that `write_scores` wrote, from its CSV or its JSON.

    Raises:
        MissingFileError: There is no such file.
        ScoreError: The file is not such a table, or has no rows.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such file of scores")
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = json.loads(text) if path.suffix.lower() == ".json" else list(csv.DictReader(io.StringIO(text)))
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("it holds no list of rows")
        scores = tuple(_score_of(row) for row in rows)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        columns = ", ".join(COLUMNS)
        found = f"has no {error}" if isinstance(error, KeyError) else error
        raise ScoreError(f"{path}: not a table of scores ({found}); expected the columns {columns}") from error
    if not scores:
        raise ScoreError(f"{path}: the table of scores has no rows; evaluate again")
    return scores


def _score_of(row: Mapping[str, Any]) -> Score:
    value = row["value"]
    if wrong := [name for name in _TEXTS if not isinstance(row[name], str)]:
        raise ValueError(f"{wrong[0]} is {row[wrong[0]]!r}, not text")
    return Score(
        run=row["run"],
        volume=row["volume"],
        class_name=row["class"],
        metric=row["metric"],
        value=float("nan") if value is None else float(value),
        n=int(row["n"]),
        rule=row["rule"],
        unit=row["unit"],
        threshold=_optional(row["threshold"]),
        low=_optional(row["low"]),
        high=_optional(row["high"]),
    )


def _optional(value: str | float | None) -> float | None:
    return None if value is None or value == "" else float(value)


def _null_if_nan(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
