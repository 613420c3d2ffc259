"""The tables of a benchmark: rows of plain values, kept as CSV, JSON and Parquet.

Beside those of the rows below there are two whose columns depend on what was computed. `epochs`: cell, fold, instance
and the columns of `metrics.csv`. `slices`: cell, fold, instance, split, sample and the columns of a table of slices.
Every table begins with the cell that a row is about; fold and instance are counted from 1 and empty where a benchmark
has none. Statistics and pages are made of these tables alone.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from cristae.config import facts_from
from cristae.data.files import write_bytes, write_text
from cristae.errors import MissingFileError, RunError

CRITERION_TITLES = {"auc_roc": "AUC-ROC", "f1": "F1", "miou": "mean IoU"}
"""What people call criteria of validation, where it is not their name in the tables."""
Split = Literal["validation", "test"]
SPLITS: tuple[Split, ...] = ("validation", "test")
Familiarity = Literal["within", "new", "unknown"]
"""Whether the sample (animal, specimen) that is scored is among those that were trained on, as far as a recipe names
samples."""
JobState = Literal["waiting", "complete", "failed", "stopped"]
"""`stopped`: halving has ended it before its last epoch, and it was not scored."""


@dataclass(frozen=True)
class CellRow:
    """One combination of what a plan varies."""

    name: ClassVar[str] = "cells"
    cell: str
    """Name of its folder under `cells`."""
    label: str
    """What people call it."""
    imported: bool
    """Whether its predictions were made by another program."""
    settings: str
    """JSON: what was chosen, by what is varied."""
    labelled_slices: int | None
    """That each training has, where that is varied."""
    network: str
    """Empty where another program made the predictions."""
    parameters: int | None
    conv_gflop: float | None
    """Of one training patch."""
    patch: str
    """The patch (z, y, x) that it is stated for."""
    epochs: int | None
    """That each training is allowed."""
    patch_vox: int | None
    """Voxels of a training patch."""
    batch_size: int | None


@dataclass(frozen=True)
class ScoreRow:
    """One score of one training on one volume, or on all volumes of a split (`volume` is `all`)."""

    name: ClassVar[str] = "scores"
    cell: str
    fold: int | None
    instance: int | None
    split: Split
    sample: Familiarity
    volume: str
    class_name: str
    metric: str
    threshold: float | None
    value: float
    n: int
    unit: str
    rule: str


@dataclass(frozen=True)
class JobRow:
    """One training with its prediction and evaluation, and what they cost; what a session that was interrupted took is
    not known."""

    name: ClassVar[str] = "jobs"
    cell: str
    fold: int | None
    instance: int | None
    seed: int
    state: JobState
    message: str
    """Why it failed, was stopped, or ended before its last epoch."""
    epochs: int | None = None
    """Trained."""
    best_epoch: int | None = None
    updates: int | None = None
    voxels_seen: int | None = None
    """Voxels of all patches of all updates."""
    train_vox: int | None = None
    """Voxels of the training regions."""
    validate_vox: int | None = None
    test_vox: int | None = None
    """Scored voxels of the part that nested folds test, or of the recipe's test regions."""
    train_seconds: float | None = None
    predict_seconds: float | None = None
    predict_vox: int | None = None
    evaluate_seconds: float | None = None
    cpu_seconds: float | None = None
    peak_bytes: int | None = None
    energy_wh: float | None = None
    energy_source: str = ""
    """Where the energy comes from: a counter of the machine, or an assumption that is stated."""
    device: str = ""


Row = CellRow | ScoreRow | JobRow
AnyRow = TypeVar("AnyRow", CellRow, ScoreRow, JobRow)


def write_table(folder: Path, name: str, records: Sequence[Mapping[str, Any]]) -> None:
    """Write a table as CSV, JSON and Parquet; its columns are those of all its records."""
    columns = list(dict.fromkeys(key for record in records for key in record))
    write_text(folder / f"{name}.csv", records_csv(columns, records))
    write_text(folder / f"{name}.json", records_json(records))
    write_bytes(folder / f"{name}.parquet", records_parquet(columns, records))


def records_csv(columns: Sequence[str], records: Iterable[Mapping[str, Any]]) -> str:
    """Records as CSV with these columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n", extrasaction="raise")
    writer.writeheader()
    writer.writerows({key: "" if value is None else value for key, value in record.items()} for record in records)
    return text.getvalue()


def records_json(records: Iterable[Mapping[str, Any]]) -> str:
    """Records as a JSON list; what is absent or undefined is null."""
    plain = [_plain(record) for record in records]
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def records_parquet(columns: Sequence[str], records: Iterable[Mapping[str, Any]]) -> bytes:
    """Records as a Parquet file; what is absent or undefined is null."""
    import pyarrow
    from pyarrow import parquet

    plain = [_plain(record) for record in records]
    values = {column: [record.get(column) for record in plain] for column in columns}
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(values), file)
    return file.getvalue()


def row_records(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows as records, as they stand in files."""
    return [_record(row) for row in rows]


def read_rows(kind: type[AnyRow], folder: Path) -> list[AnyRow]:
    """The rows of one table of a folder of results.

    Raises:
        MissingFileError: There is no such table.
        RunError: It is damaged.
    """
    path = folder / f"{kind.name}.json"
    return [facts_from(kind, _fields(one), f"{path.name}.{number}") for number, one in enumerate(read_json(path))]


def read_records(path: Path) -> list[dict[str, str]]:
    """The records of a CSV table.

    Raises:
        MissingFileError: There is no such table.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such table of results")
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def read_json(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON table.

    Raises:
        MissingFileError: There is no such table.
        RunError: It is damaged.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such table of results")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: is damaged: {error}") from None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise RunError(f"{path}: is damaged: expected a list of records")
    return found


def _column(field: str) -> str:
    return "class" if field == "class_name" else field


def _record(row: Row) -> dict[str, Any]:
    return {_column(key): value for key, value in asdict(row).items()}


def _fields(record: Mapping[str, Any]) -> dict[str, Any]:
    found = {"class_name" if key == "class" else key: value for key, value in record.items()}
    if "value" in found and found["value"] is None:
        found["value"] = math.nan
    return found


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _finite(value) for key, value in record.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
