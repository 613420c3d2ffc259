"""The files of a run folder: their names, what makes a folder a run, and reading them with clear errors for damage."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat, NonNegativeInt, ValidationError

from cristae.config import problem_of
from cristae.data.classes import Classes
from cristae.errors import MissingFileError, RunError

RECIPE = "recipe.yaml"
WEIGHTS = "weights.safetensors"
CHECKPOINT = "last.ckpt"
METRICS = "metrics.csv"
SUMMARY = "summary.json"
STUDY = "study.json"


def is_run(path: Path) -> bool:
    """Whether a folder is a run, finished or not; a recipe alone, as it may lie beside the data, makes none."""
    return (path / RECIPE).is_file() and any((path / name).is_file() for name in (SUMMARY, WEIGHTS, CHECKPOINT))


def is_study(path: Path) -> bool:
    """Whether a folder is a study: several runs of one recipe, with `folds` or `instances`."""
    return (path / RECIPE).is_file() and (path / STUDY).is_file()


def require_run(path: Path) -> None:
    """Raise when a folder is no run.

    Raises:
        MissingFileError: There is no such folder.
        RunError: It is something else.
    """
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such run folder")
    if not (path / RECIPE).is_file():
        raise RunError(f"{path}: is not a run folder: it has no {RECIPE}")
    if is_study(path):
        if read_facts(path / STUDY).get("status") != "complete":
            raise RunError(
                f"{path}: is a study folder whose trainings are not finished; finish them with "
                f"`cristae train {path / RECIPE} --out {path} --resume`"
            )
        raise RunError(
            f"{path}: is a study folder with several runs, not a run; name one of them, such as "
            f"{next((one.parent for one in sorted(path.rglob(SUMMARY))), path / 'fold-1')}"
        )
    if not is_run(path):
        raise RunError(f"{path}: is not a run folder: it has a {RECIPE}, but nothing that training leaves beside it")


def read_summary(folder: Path) -> dict[str, Any]:
    """What `summary.json` holds.

    Raises:
        RunError: There is none, or it is damaged.
    """
    content = read_facts(folder / SUMMARY)
    try:
        _Summary.model_validate(content)
    except ValidationError as error:
        raise RunError(f"{folder / SUMMARY}: is damaged: {problem_of(error, 'summary')}") from None
    return content


def read_facts(path: Path) -> dict[str, Any]:
    """A JSON file of named facts.

    Raises:
        RunError: There is none, or it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path}: is missing; the training has not finished") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise RunError(f"{path}: is damaged: expected an object of named facts")
    return content


def read_epochs(folder: Path) -> list[dict[str, str]]:
    """The rows of `metrics.csv` as text, oldest first; empty before the first epoch.

    Raises:
        RunError: It is damaged.
    """
    path = folder / METRICS
    if not path.is_file():
        return []
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8"), newline=""), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: is damaged: {error}; {_CURE}") from None
    for line, row in enumerate(rows, start=2):
        if not _is_epoch(row):
            raise RunError(f"{path}: is damaged: line {line} does not hold an epoch and its numbers; {_CURE}")
    return rows


def _is_epoch(row: Mapping[str, str]) -> bool:
    try:
        int(row["epoch"])
        return all(cell == "" or isinstance(float(cell), float) for cell in row.values())
    except (KeyError, TypeError, ValueError):
        return False


_CURE = "take its rows from a backup, or remove it to continue without the earlier epochs' rows"


Nanometres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""An edge of a voxel."""


class _Row(BaseModel):
    """A region as it was read."""

    shape: tuple[NonNegativeInt, ...] | None = None
    voxel_size_nm: tuple[Nanometres, Nanometres, Nanometres] | None = None
    class_shares: dict[str, FiniteFloat] | None = None


class _Model(BaseModel):
    """What a page shows of the model; `TrainedModel` checks the rest."""

    voxel_size_nm: tuple[Nanometres, Nanometres, Nanometres] | None = None
    classes: Classes | None = None


class _Kept(BaseModel):
    """The best weights by a criterion."""

    epoch: int
    value: FiniteFloat | None
    weights: str


class _Summary(BaseModel):
    """What pages and later steps take from a summary; there may be more."""

    status: str | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    kept: dict[str, _Kept] | None = None
    validation: dict[str, Any] | None = None
    training_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    peak_memory_bytes: dict[str, NonNegativeInt] | None = None
    data: tuple[_Row, ...] | None = None
    model: _Model | None = None
    locality: dict[str, Any] | None = None
