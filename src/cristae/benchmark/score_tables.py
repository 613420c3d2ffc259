"""Tables of scores of a benchmark: which they are of, and their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cristae.metrics.score import Score, read_scores
from cristae.recipe.benchmark_tables import Familiarity, ScoreRow, Split, read_records


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """A table of scores and what it is about."""

    cell: str
    path: Path
    """The CSV file; that of its slices stands beside it."""
    split: Split
    fold: int | None = None
    instance: int | None = None
    samples: Mapping[str, str | None] = field(default_factory=dict)
    """Of the volumes that are scored."""
    trained_on: frozenset[str | None] = frozenset([None])
    """Samples; None among them where not all are known."""

    @property
    def key(self) -> dict[str, Any]:
        """Columns that say what a row is about."""
        return {"cell": self.cell, "fold": self.fold, "instance": self.instance, "split": self.split}


def score_rows(table: ScoreTable) -> Iterator[ScoreRow]:
    """The rows of `scores`; scores of a single volume are those of all."""
    rows = read_scores(table.path)
    alone = is_alone(rows)
    for row in rows:
        yield ScoreRow(
            **table.key,
            sample=_familiarity(table, row.volume),
            volume="all" if alone else row.volume,
            class_name=row.class_name,
            metric=row.metric,
            threshold=row.threshold,
            value=row.value,
            n=row.n,
            unit=row.unit,
            rule=row.rule,
        )


def is_alone(rows: Sequence[Score]) -> bool:
    """Whether all scores are of one volume, for which then no pooled ones stand beside them."""
    return len({row.volume for row in rows}) == 1


def slice_rows(table: ScoreTable) -> Iterator[dict[str, Any]]:
    """The rows of `slices`; none where slices were not scored."""
    path = table.path.with_name(f"{table.path.stem}.slices.csv")
    for row in read_records(path) if path.is_file() else ():
        own = {**table.key, "sample": _familiarity(table, row["volume"])}
        yield {**own, **{key: value for key, value in row.items() if key != "run"}}


def _familiarity(table: ScoreTable, volume: str) -> Familiarity:
    """Whether the sample of a volume is among those that were trained on."""
    sample = table.samples.get(volume)
    if sample is None or None in table.trained_on:
        return "unknown"
    return "within" if sample in table.trained_on else "new"
