"""The tables of a benchmark, gathered from the folders of its jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from cristae.benchmark.job import COST
from cristae.classical.config import RandomForestConfig
from cristae.data.files import write_text
from cristae.metrics.score import read_scores
from cristae.progress import Progress
from cristae.recipe.benchmark_folder import CELLS, HELD_OUT, RESULTS, CellFacts, read_benchmark
from cristae.recipe.benchmark_tables import (
    CellRow,
    Familiarity,
    JobRow,
    ScoreRow,
    Split,
    read_records,
    records_csv,
    records_json,
    row_records,
)
from cristae.recipe.folder import METRICS, SUMMARY, read_facts
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import Run, open_unfinished_run
from cristae.recipe.study import MemberState, Study, open_study
from cristae.sampling import as_triple
from cristae.workflows.report import report

SPLITS: tuple[Split, ...] = ("validation", "test")


@dataclass(frozen=True, eq=False)
class _Job:
    """A finished job and where its files are."""

    cell: str
    member: MemberState
    run: Run
    plan: Mapping[str, Any]

    @property
    def key(self) -> dict[str, Any]:
        return {"cell": self.cell, "fold": self.member.fold, "instance": self.member.instance}

    @property
    def held_out(self) -> Path:
        return self.run.path / HELD_OUT


def collect(path: Path, progress: Progress = Progress()) -> None:
    """Write all tables of a benchmark from what its jobs have finished, and its page.

    Args:
        path: The benchmark folder.
        progress: Where to report.

    Raises:
        RunError: The folder is damaged.
    """
    facts = read_benchmark(path)
    studies = {cell.name: open_study(path / CELLS / cell.name) for cell in facts.cells if cell.imported is None}
    jobs = [job for cell, study in studies.items() for job in _jobs_of(cell, study)]
    results = path / RESULTS
    results.mkdir(exist_ok=True)
    _write(results, "cells", row_records([_cell_row(cell, studies[cell.name]) for cell in facts.cells]))
    _write(results, "jobs", row_records([_job_row(job) for job in jobs]))
    _write(results, "scores", row_records([row for job in jobs for row in _score_rows(job)]))
    _write(results, "slices", [row for job in jobs for row in _slice_rows(job)])
    _write(results, "epochs", [row for job in jobs for row in _epoch_rows(job)])
    report(path, progress=progress)


def _write(folder: Path, name: str, records: Sequence[Mapping[str, Any]]) -> None:
    columns = list(dict.fromkeys(key for record in records for key in record))
    write_text(folder / f"{name}.csv", records_csv(columns, records))
    write_text(folder / f"{name}.json", records_json(records))


def _jobs_of(cell: str, study: Study) -> Iterator[_Job]:
    for member in study.members:
        folder = study.path / member.run
        if (folder / HELD_OUT / COST).is_file():
            yield _Job(cell, member, open_unfinished_run(folder), study.plan)


def _cell_row(cell: CellFacts, study: Study) -> CellRow:
    recipe = study.recipe
    settings = json.dumps(dict(cell.settings), ensure_ascii=False)
    if isinstance(recipe.model, RandomForestConfig):
        return CellRow(cell.name, cell.label, False, settings, recipe.model.name, None, None, "", None, None, None)
    size = as_triple(tuple(recipe.sampling.size or recipe.network.window))
    parameters, flop = _measured(recipe, study)
    return CellRow(
        cell.name,
        cell.label,
        False,
        settings,
        recipe.network.model_dump()["name"],
        parameters,
        flop,
        " x ".join(map(str, size)),
        recipe.training.epochs,
        prod(size),
        recipe.training.batch_size,
    )


def _measured(recipe: Recipe, study: Study) -> tuple[int | None, float | None]:
    """Parameters, and GFLOP of convolutions for one patch."""
    from cristae.inference.catalogue import measure_network

    options = recipe.network.model_dump(mode="json", exclude_defaults=True)
    name = recipe.network.model_dump()["name"]
    options.pop("name", None)
    found = measure_network(
        name, options, size=recipe.sampling.size, in_channels=recipe.in_channels, out_channels=_logits(study)
    )
    return found.facts.parameters, found.facts.conv_gflop


def _logits(study: Study) -> int:
    runs = [open_unfinished_run(study.path / one.run) for one in study.members if one.state == "complete"]
    return runs[0].classes.n_logits if runs else 1


def _job_row(job: _Job) -> JobRow:
    summary, cost = read_facts(job.run.path / SUMMARY), read_facts(job.held_out / COST)
    fold = next((one for one in job.plan.get("folds", ()) if one["fold"] == job.member.fold), None)
    forest = isinstance(job.run.recipe.model, RandomForestConfig)
    updates = None if forest else int(_metrics(job)[-1]["step"])
    seen = None
    if updates is not None and job.run.recipe.sampling.size:
        training = job.run.recipe.training
        seen = updates * training.batch_size * training.accumulate * prod(job.run.recipe.sampling.size)
    return JobRow(
        **job.key,
        seed=job.member.seed,
        state="complete",
        message="",
        epochs=summary.get("epochs"),
        best_epoch=summary.get("best_epoch"),
        updates=updates,
        voxels_seen=seen,
        train_vox=None if fold is None else sum(fold["train_vox"].values()),
        validate_vox=None if fold is None else sum(fold["validate_vox"].values()),
        train_seconds=summary.get("training_seconds"),
        predict_seconds=cost["predict_seconds"],
        predict_vox=cost["predict_vox"],
        evaluate_seconds=cost["evaluate_seconds"],
        cpu_seconds=cost["training"]["cpu_seconds"],
        peak_bytes=max(cost["training"]["peak_bytes"], cost["scoring"]["peak_bytes"]),
        energy_wh=cost["training"]["energy_wh"],
        energy_source=cost["training"]["energy_source"],
        device=str(summary.get("device", "cpu")),
    )


def _metrics(job: _Job) -> list[dict[str, str]]:
    path = job.run.path / METRICS
    return read_records(path) if path.is_file() else []


def _epoch_rows(job: _Job) -> Iterator[dict[str, Any]]:
    yield from ({**job.key, **row} for row in _metrics(job))


def _score_rows(job: _Job) -> Iterator[ScoreRow]:
    for split in SPLITS:
        path = job.held_out / f"{split}.csv"
        if not path.is_file():
            continue
        rows = read_scores(path)
        alone = len({row.volume for row in rows}) == 1
        for row in rows:
            yield ScoreRow(
                **job.key,
                split=split,
                sample=_familiarity(job, row.volume),
                volume="all" if alone else row.volume,
                class_name=row.class_name,
                metric=row.metric,
                threshold=row.threshold,
                value=row.value,
                n=row.n,
                unit=row.unit,
                rule=row.rule,
            )


def _slice_rows(job: _Job) -> Iterator[dict[str, Any]]:
    for split in SPLITS:
        path = job.held_out / f"{split}.slices.csv"
        for row in read_records(path) if path.is_file() else ():
            own = {"split": split, "sample": _familiarity(job, row["volume"])}
            yield {**job.key, **own, **{key: value for key, value in row.items() if key != "run"}}


def _familiarity(job: _Job, volume: str) -> Familiarity:
    """Whether the sample of a volume is among those that a job was trained on."""
    return "unknown"
