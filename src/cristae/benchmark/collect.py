"""The tables of a benchmark, gathered from the folders of its jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from cristae.benchmark.annotators import ANNOTATORS, SECOND, score_second_annotator
from cristae.benchmark.chosen import write_best
from cristae.benchmark.ensembles import write_ensembles
from cristae.benchmark.halving import Stopped, read_stopped
from cristae.benchmark.imported import IMPORTED
from cristae.benchmark.job import COST, is_scored
from cristae.benchmark.label_numbers import SLICES
from cristae.benchmark.network_cost import NetworkCost
from cristae.benchmark.score_tables import ScoreTable, is_alone, score_rows, slice_rows
from cristae.classical.config import RandomForestConfig
from cristae.data.folds.units import sample_of
from cristae.evaluation.benchmarks.statistics import write_statistics
from cristae.metrics.score import read_scores
from cristae.metrics.tally import ALL
from cristae.progress import Progress
from cristae.recipe.benchmark_folder import CELLS, FAILURES, HELD_OUT, RESULTS, CellFacts, read_benchmark
from cristae.recipe.benchmark_tables import (
    SPLITS,
    CellRow,
    JobRow,
    JobState,
    ScoreRow,
    Split,
    read_json,
    read_records,
    row_records,
    write_table,
)
from cristae.recipe.folder import METRICS, SUMMARY, read_facts
from cristae.recipe.run import Run, open_unfinished_run
from cristae.recipe.study import MemberState, Study, open_study
from cristae.workflows.report import report


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

    @property
    def tables(self) -> list[ScoreTable]:
        """Its tables of scores."""
        paths = {split: self.held_out / f"{split}.csv" for split in SPLITS}
        there = {split: path for split, path in paths.items() if path.is_file()}
        volumes = {volume.name: volume for volume in self.run.recipe.data.volumes}
        trained = {one["volume"] for one in self.run.summary.get("data", ()) if one["use"] == "train"}
        known = frozenset(sample_of(name, volumes) for name in trained) or frozenset([None])
        found = []
        for split, path in there.items():
            scored = {row.volume for row in read_scores(path)} - {ALL}
            samples = {name: sample_of(name, volumes) for name in scored}
            place = self.cell, path, split, self.member.fold, self.member.instance
            found.append(ScoreTable(*place, samples, known))
        return found


def collect(path: Path, progress: Progress = Progress()) -> None:
    """Write all tables of a benchmark from what its jobs have finished, and its page.

    Args:
        path: The benchmark folder.
        progress: Where to show how far it is.

    Raises:
        RunError: The folder is damaged.
    """
    facts = read_benchmark(path)
    studies = {cell.name: open_study(path / CELLS / cell.name) for cell in facts.cells if cell.imported is None}
    jobs = [job for cell, study in studies.items() for job in _jobs_of(cell, study)]
    own = [table for job in jobs for table in job.tables]
    split: Split = "test" if not own or any(table.split == "test" for table in own) else "validation"
    others = [
        ScoreTable(cell.name, path / IMPORTED / f"{cell.name}.csv", split) for cell in facts.cells if cell.imported
    ]
    tables = [*own, *others]
    results = path / RESULTS
    results.mkdir(exist_ok=True)
    write_table(results, "cells", row_records(map(_cell_row, facts.cells)))
    failed = {one["job"]: one["error"] for one in read_json(path / FAILURES)} if (path / FAILURES).is_file() else {}
    write_table(results, "jobs", row_records(_all_job_rows(studies, jobs, failed, read_stopped(path))))
    write_table(results, "scores", row_records(row for table in tables for row in score_rows(table)))
    write_table(results, "slices", [row for table in tables for row in slice_rows(table)])
    write_table(results, "epochs", [row for job in jobs for row in _epoch_rows(job)])
    write_table(results, "annotators", row_records(_annotator_rows(path, jobs, progress)))
    best = write_statistics(results, facts)
    write_best(path, None if best is None else studies.get(best))
    write_ensembles(path, facts, studies, progress)
    report(path, progress=progress)


def _jobs_of(cell: str, study: Study) -> Iterator[_Job]:
    for member in study.members:
        folder = study.path / member.run
        if member.state == "complete" and is_scored(folder):
            yield _Job(cell, member, open_unfinished_run(folder), study.plan)


def _all_job_rows(
    studies: Mapping[str, Study], jobs: Sequence[_Job], failed: Mapping[str, str], stopped: Mapping[str, Stopped]
) -> Iterator[JobRow]:
    """A row for every job; of those that are not finished, why not."""
    finished = {(job.cell, job.member.run): job for job in jobs}
    for cell, study in studies.items():
        for member in study.members:
            if (cell, member.run) in finished:
                yield _job_row(finished[cell, member.run])
            else:
                state, why = _why_not(cell, member, failed, stopped)
                yield JobRow(cell, member.fold, member.instance, member.seed, state, why)


def _why_not(
    cell: str, member: MemberState, failed: Mapping[str, str], stopped: Mapping[str, Stopped]
) -> tuple[JobState, str]:
    if (why := failed.get(f"{cell}/{member.run}")) is not None:
        return "failed", why
    return ("stopped", str(stopped[cell])) if cell in stopped else ("waiting", "")


def _cell_row(cell: CellFacts) -> CellRow:
    settings = json.dumps(dict(cell.settings), ensure_ascii=False)
    slices = cell.settings.get(SLICES)
    known = NetworkCost(**cell.cost) if cell.cost else NetworkCost("")
    return CellRow(
        cell.name,
        cell.label,
        cell.imported is not None,
        settings,
        None if slices is None else int(slices),
        **asdict(known),
    )


def _job_row(job: _Job) -> JobRow:
    summary, cost = read_facts(job.run.path / SUMMARY), read_facts(job.held_out / COST)
    training = cost["training"] or {}
    fold = next((one for one in job.plan.get("folds", ()) if one["fold"] == job.member.fold), None)
    forest = isinstance(job.run.recipe.model, RandomForestConfig)
    last = None if forest else _metrics(job)[-1]
    updates = None if last is None else int(last["step"])
    seen = None
    if updates is not None and job.run.recipe.sampling.size:
        config = job.run.recipe.training
        seen = updates * config.batch_size * config.accumulate * prod(job.run.recipe.sampling.size)
    return JobRow(
        **job.key,
        seed=job.member.seed,
        state="complete",
        message=str(summary.get("stopped", "")),
        epochs=None if last is None else int(last["epoch"]),
        best_epoch=summary.get("best_epoch"),
        updates=updates,
        voxels_seen=seen,
        train_vox=None if fold is None else sum(fold["train_vox"].values()),
        validate_vox=None if fold is None else sum(fold["validate_vox"].values()),
        test_vox=_test_vox(job),
        train_seconds=summary.get("training_seconds"),
        predict_seconds=cost["predict_seconds"],
        predict_vox=cost["predict_vox"],
        evaluate_seconds=cost["evaluate_seconds"],
        cpu_seconds=training.get("cpu_seconds"),
        peak_bytes=max(training["peak_bytes"], cost["scoring"]["peak_bytes"]) if training else None,
        energy_wh=training.get("energy_wh"),
        energy_source=training.get("energy_source", ""),
        device=str(summary.get("device", "cpu")),
    )


def _test_vox(job: _Job) -> int | None:
    """Voxels that its test scores are made of; None where it has none."""
    path = job.held_out / "test.csv"
    if not path.is_file():
        return None
    rows = read_scores(path)
    pooled = [row.n for row in rows if row.metric == "accuracy" and (row.volume == ALL or is_alone(rows))]
    return pooled[0] if pooled else None


def _metrics(job: _Job) -> list[dict[str, str]]:
    path = job.run.path / METRICS
    return read_records(path) if path.is_file() else []


def _epoch_rows(job: _Job) -> Iterator[dict[str, Any]]:
    yield from ({**job.key, **row} for row in _metrics(job))


def _annotator_rows(path: Path, jobs: Sequence[_Job], progress: Progress) -> Iterator[ScoreRow]:
    """Scores of a second annotator against the truth, once for each fold."""
    folds = {job.member.fold: job.run for job in reversed(jobs)}
    for fold, run in sorted(folds.items(), key=lambda one: one[0] or 0):
        for split, table in score_second_annotator(run, path / ANNOTATORS / f"fold-{fold or 1}", progress).items():
            yield from score_rows(ScoreTable(SECOND, table, split, fold))
