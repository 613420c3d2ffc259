"""What a benchmark folder holds that its page can show, and what the page asks of it again and again."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from cristae.errors import RunError
from cristae.metrics.table import describe_metric
from cristae.recipe.benchmark_folder import PLAN, RESULTS, BenchmarkFacts, read_benchmark
from cristae.recipe.benchmark_tables import read_json

Record = Mapping[str, Any]
Table = Sequence[Record]

TABLES = (
    *("cells", "jobs", "scores", "slices", "epochs"),
    *("ranking", "pairs", "heat", "convergence", "criteria", "best_of", "drop", "curve", "curve_fit"),
    *("ensembles", "stability", "annotators"),
)
SUMMARY = "summary"
_LONGEST = 36
"""Characters of a label in a drawing."""
_SAME = {"IoU": "Jaccard", "Dice": "F1"}
"""Names that a plan may use for a metric, and those of the tables."""
_OF_ALL = "all"


@dataclass(frozen=True, eq=False)
class BenchmarkFiles:
    """A benchmark folder as its page sees it; tables that are missing are empty."""

    path: Path
    facts: BenchmarkFacts
    plan: str
    """The text of `plan.yaml`."""
    tables: Mapping[str, Table]

    def __getitem__(self, name: str) -> Table:
        """The rows of one table."""
        return self.tables.get(name, ())

    def label(self, cell: str) -> str:
        """What people call a cell; its name where it is none of the benchmark's."""
        return self._labels.get(cell, cell)

    def short_label(self, cell: str) -> str:
        """The same for drawings."""
        return shortened(self.label(cell))

    def is_imported(self, cell: str) -> bool:
        """Whether another program made its predictions."""
        return any(one.name == cell and one.imported is not None for one in self.facts.cells)

    def cell_row(self, cell: str) -> Record:
        """What the table of cells says of one."""
        return next((row for row in self["cells"] if row["cell"] == cell), {})

    def jobs_of(self, cell: str) -> list[Record]:
        """Its finished jobs."""
        return [row for row in self["jobs"] if row["cell"] == cell and row["state"] == "complete"]

    @cached_property
    def split(self) -> str:
        """What is ranked: the test regions where there are any."""
        splits = {row["split"] for row in self["ranking"]} or {row["split"] for row in self["scores"]}
        return "test" if "test" in splits else "validation"

    @cached_property
    def metric(self) -> str:
        """What cells are ranked by, as tables call it."""
        known = {row["metric"] for row in self["ranking"] or self["scores"]}
        name = self.facts.metric
        return name if name in known or name not in _SAME else _SAME[name]

    @cached_property
    def class_name(self) -> str:
        """Of which class; where it is the mean over all and there is one alone, that one."""
        rows = [row for row in self["ranking"] or self["scores"] if row["metric"] == self.metric]
        known = dict.fromkeys(row["class"] for row in rows)
        if self.facts.class_name in known or not known:
            return self.facts.class_name
        return str(next(iter(known)))

    @property
    def metric_title(self) -> str:
        """The ranked score in words."""
        title = describe_metric(self.metric).title
        return f"{title}, mean over classes" if self.class_name == _OF_ALL else f"{title} of {self.class_name}"

    @property
    def lower_is_better(self) -> bool:
        """Whether small values of the ranked score are good."""
        return describe_metric(self.metric).better == "lower"

    def ranked(self, metric: str, class_name: str) -> list[Record]:
        """The rows of the ranking by one score, best first; undefined ones last."""
        sign = 1 if describe_metric(metric).better == "lower" else -1
        rows = [row for row in self["ranking"] if (row["metric"], row["class"]) == (metric, class_name)]
        rows = [row for row in rows if row["split"] == self.split]
        return sorted(rows, key=lambda row: _undefined_last(sign * number(row, "mean")))

    @cached_property
    def ranking(self) -> list[Record]:
        """The ranking of the benchmark, best first."""
        return self.ranked(self.metric, self.class_name)

    @cached_property
    def order(self) -> list[str]:
        """All cells: those that are ranked, best first, then the others as planned."""
        return list(dict.fromkeys([*(row["cell"] for row in self.ranking), *(one.name for one in self.facts.cells)]))

    def place(self, cell: str) -> int:
        """The place of a cell in `order`, from 0; unknown ones come last."""
        return self.order.index(cell) if cell in self.order else len(self.order)

    def job_scores(self, cell: str) -> list[float]:
        """The ranked score of each training by itself, all volumes of the split together."""
        return self._job_scores.get(cell, [])

    @cached_property
    def annotator_score(self) -> float:
        """How far a second annotator agrees with the truth by the ranked score, the mean over folds; NaN where none
        has labelled what is ranked."""
        found: dict[Any, list[float]] = defaultdict(list)
        for row in self["annotators"]:
            fits = (row["split"], row["volume"], row["metric"]) == (self.split, "all", self.metric)
            if fits and self.class_name in (_OF_ALL, row["class"]) and row["value"] is not None:
                found[row.get("fold")].append(float(row["value"]))
        return fmean(map(fmean, found.values())) if found else math.nan

    @cached_property
    def _job_scores(self) -> dict[str, list[float]]:
        values: dict[tuple[str, Any, Any], list[float]] = defaultdict(list)
        for row in self["scores"]:
            fits = (row["split"], row["volume"], row["metric"]) == (self.split, "all", self.metric)
            if fits and self.class_name in (_OF_ALL, row["class"]) and row["value"] is not None:
                values[str(row["cell"]), row.get("fold"), row.get("instance")].append(float(row["value"]))
        found: dict[str, list[float]] = defaultdict(list)
        for (cell, _, _), own in values.items():  # the mean over classes, where several are ranked together
            found[cell].append(fmean(own))
        return found

    @cached_property
    def _labels(self) -> dict[str, str]:
        return {one.name: one.label for one in self.facts.cells}


def read_benchmark_files(path: Path) -> BenchmarkFiles:
    """Read the tables of a benchmark.

    Raises:
        MissingFileError: There is no such folder.
        RunError: It is not a benchmark, has no results yet, or a table is damaged.
    """
    facts = read_benchmark(path)
    results, plan = path / RESULTS, path / PLAN
    if not (results / "cells.json").is_file():
        raise RunError(f"{path}: has no results yet; a page can be made once a job is finished")
    names = [name for name in (*TABLES, SUMMARY) if (results / f"{name}.json").is_file()]
    text = plan.read_text(encoding="utf-8") if plan.is_file() else ""
    return BenchmarkFiles(path, facts, text, {name: read_json(results / f"{name}.json") for name in names})


def number(row: Record, key: str) -> float:
    """A number of a record; NaN where it is absent or undefined."""
    value = row.get(key)
    return math.nan if value is None or value == "" else float(value)


def settings_of(row: Record) -> Mapping[str, str]:
    """What was chosen for a cell, by what is varied."""
    found: Mapping[str, str] = json.loads(row.get("settings") or "{}")
    return found


def _undefined_last(value: float) -> float:
    return math.inf if math.isnan(value) else value


def shortened(label: str) -> str:
    """Of a long label its beginning and its end, where labels mostly differ."""
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST // 2]}…{label[1 - _LONGEST // 2 :]}"
