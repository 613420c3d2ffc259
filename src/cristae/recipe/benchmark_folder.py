"""The folder of a benchmark: what `benchmark` makes of a plan.

`plan.yaml` (as given, complete), `benchmark.json` (its cells, in order), `cells/NAME/` (a study folder for each cell),
and once something is finished `results/` (tables), `best.yaml` (the runs of the best cell), `ensemble.yaml` (those of
the best ensemble of cells, where there are two that can predict together), `figures/` and `report.html`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cristae.config import facts_from
from cristae.data.files import write_json
from cristae.errors import MissingFileError, RunError
from cristae.recipe.folder import read_facts

PLAN = "plan.yaml"
BENCHMARK = "benchmark.json"
CELLS = "cells"
RESULTS = "results"
FAILURES = "failures.json"
"""Jobs that failed in the last session."""
HALVING = "halving.json"
"""Cells that were stopped before their last epoch."""
FIGURES = "figures"
HELD_OUT = "held-out"
"""In the folder of a run: predictions and scores of what it has not been trained on."""
BEST, ENSEMBLE_OF = "best", "ensemble"
CHOSEN = (BEST, ENSEMBLE_OF)
"""Ensemble files of a benchmark: `BENCHMARK:best` is the cell that ranks first, `BENCHMARK:ensemble` the best ensemble
found."""
_FORMAT = 1


@dataclass(frozen=True)
class CellFacts:
    """A cell as `benchmark.json` keeps it."""

    name: str
    """Its folder under `cells`."""
    label: str
    settings: Mapping[str, str]
    """What was chosen, by what is varied, in words."""
    changes: Mapping[str, Any]
    """What it changes in the base recipe, by path."""
    cost: Mapping[str, Any] = field(default_factory=dict)
    """What its network is, has and costs; empty where another program made the predictions."""
    imported: str | None = None
    """Where its predictions are, when another program made them."""


@dataclass(frozen=True)
class BenchmarkFacts:
    """What `benchmark.json` holds."""

    name: str
    plan_sha256: str
    cells: tuple[CellFacts, ...]
    metric: str
    """What cells are ranked by."""
    class_name: str
    """Of which class; `all` for the mean over classes."""
    notes: tuple[str, ...] = ()
    """What a reader of the results has to know: how cells were made comparable, what was stopped."""


def is_benchmark(path: Path) -> bool:
    """Whether a folder is a benchmark, finished or not."""
    return (path / BENCHMARK).is_file()


def read_benchmark(path: Path) -> BenchmarkFacts:
    """The facts of a benchmark folder.

    Raises:
        MissingFileError: There is no such folder.
        RunError: It is not a benchmark, or was damaged.
    """
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such benchmark folder")
    if not is_benchmark(path):
        raise RunError(f"{path}: is not a benchmark folder: it has no {BENCHMARK}")
    content = dict(read_facts(path / BENCHMARK))
    if content.pop("format", None) != _FORMAT:
        raise RunError(f"{path / BENCHMARK}: is damaged, or of another version of Cristae")
    return facts_from(BenchmarkFacts, content, "benchmark")


def write_benchmark(path: Path, facts: BenchmarkFacts) -> None:
    """Write `benchmark.json`."""
    write_json(path / BENCHMARK, {"format": _FORMAT, **asdict(facts)})
