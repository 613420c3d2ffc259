"""A plan run from end to end on a small stack: folders, tables, resuming, failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from training_data import write_discs
from typer.testing import CliRunner

from cristae.benchmark.cells import cells_of
from cristae.benchmark.load import load_plan
from cristae.benchmark.run import benchmark
from cristae.cli.main import app
from cristae.errors import BenchmarkError, NetworkError, OutputExistsError, RunError
from cristae.recipe.benchmark_folder import read_benchmark
from cristae.recipe.benchmark_tables import CellRow, JobRow, ScoreRow, read_rows
from cristae.recipe.ensemble_file import flat_members
from cristae.recipe.study import open_study
from cristae.workflows import train_study as module

PLAN = """\
name: widths
recipe: recipe.yaml
set: {sampling.per_epoch: 8, sampling.size: [16, 16]}
vary:
  model.widths: {narrow: [2, 4], wide: [4, 8]}
folds: {count: 2, by: slices}
budget: {epochs: 1}
rank_by: {metric: Jaccard, class: disc}
"""
TIMES = {
    "train_seconds", "predict_seconds", "evaluate_seconds", "cpu_seconds", "peak_bytes", "energy_wh", "seconds",
    "seconds_95",
}  # fmt: skip
"""What an undisturbed benchmark does not repeat."""


PIPED = subprocess.DEVNULL


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    write_discs(folder, epochs=1)
    (folder / "plan.yaml").write_text(PLAN)
    return folder / "plan.yaml"


@pytest.fixture(scope="module")
def done(plan: Path) -> Path:
    """The plan, undisturbed."""
    return benchmark(load_plan(plan), out=plan.parent / "done")


def without_times(out: Path) -> dict[str, Any]:
    """All tables of a benchmark, but what differs from one session to the next."""
    return {
        path.stem: [
            {key: value for key, value in row.items() if key not in TIMES}
            for row in json.loads(path.read_text())
            if isinstance(row, dict)
        ]
        for path in sorted((out / "results").glob("*.json"))
        if path.stem != "summary"
    }


def test_every_cell_is_a_study_with_a_run_for_each_fold(done: Path) -> None:
    facts = read_benchmark(done)
    assert [(cell.name, cell.label, dict(cell.settings)) for cell in facts.cells] == [
        ("narrow", "narrow", {"model.widths": "narrow"}),
        ("wide", "wide", {"model.widths": "wide"}),
    ]
    studies = [open_study(done / "cells" / cell.name) for cell in facts.cells]
    assert [[member.run for member in study.members] for study in studies] == [["fold-1", "fold-2"]] * 2
    assert all(study.complete and study.ensemble_path.is_file() for study in studies)
    assert [run.recipe.training.epochs for study in studies for run in study.runs] == [1] * 4
    assert studies[0].plan["folds"] == studies[1].plan["folds"], "cells have the same folds"


def test_tables_hold_every_job(done: Path) -> None:
    results = done / "results"
    cells, jobs, scores = (read_rows(kind, results) for kind in (CellRow, JobRow, ScoreRow))
    assert [(row.cell, row.network, row.patch, row.epochs) for row in cells] == [
        ("narrow", "unet_bn", "1 x 16 x 16", 1),
        ("wide", "unet_bn", "1 x 16 x 16", 1),
    ]
    assert (cells[0].parameters or 0) < (cells[1].parameters or 0)
    assert (cells[0].conv_gflop or 0) < (cells[1].conv_gflop or 0)
    assert {(row.cell, row.fold, row.state) for row in jobs} == {
        (cell, fold, "complete") for cell in ("narrow", "wide") for fold in (1, 2)
    }
    assert {row.updates for row in jobs} == {1}, "8 patches are one batch of 8"
    assert {row.voxels_seen for row in jobs} == {8 * 16 * 16}
    assert all((row.peak_bytes or 0) > 1e8 and (row.train_seconds or 0) > 0 for row in jobs)
    pooled = [row for row in scores if (row.volume, row.metric, row.class_name) == ("all", "Jaccard", "disc")]
    assert {(row.cell, row.fold, row.split) for row in pooled} == {
        (cell, fold, "validation") for cell in ("narrow", "wide") for fold in (1, 2)
    }
    assert len({round(row.value, 6) for row in pooled}) > 1


def test_scores_are_those_that_the_run_has_of_itself(done: Path) -> None:
    """Predicted again as any volume is, and read back from its files."""
    run = done / "cells" / "narrow" / "fold-1"
    own = [row for row in json.loads((run / "scores.json").read_text()) if row["metric"] == "F1"]
    scores = read_rows(ScoreRow, done / "results")
    found = [row.value for row in scores if (row.cell, row.fold, row.metric, row.volume) == ("narrow", 1, "F1", "all")]
    assert found == pytest.approx([one["value"] for one in own if one["class"] == "disc"][-1:], abs=1e-9)


def test_nothing_is_overwritten_or_repeated(done: Path, plan: Path) -> None:
    with pytest.raises(OutputExistsError, match="holds a benchmark already; continue it with --resume"):
        benchmark(load_plan(plan), out=done)
    weights = {path: path.stat().st_mtime_ns for path in done.rglob("weights.safetensors")}
    before = without_times(done)
    benchmark(load_plan(plan), out=done, resume=True)
    assert {path: path.stat().st_mtime_ns for path in weights} == weights
    assert without_times(done) == before
    other = load_plan(plan).model_copy(update={"name": "other"})
    with pytest.raises(RunError, match="holds the benchmark 'widths', not 'other'"):
        benchmark(other, out=done, resume=True)


def test_a_plan_that_cannot_resume_changes_nothing(done: Path, plan: Path, tmp_path: Path) -> None:
    before = {name: (done / name).read_bytes() for name in ("plan.yaml", "benchmark.json")}
    other = tmp_path / "other.yaml"
    other.write_text(PLAN.replace("recipe.yaml", str(plan.parent / "recipe.yaml")).replace("count: 2", "count: 3"))
    with pytest.raises(RunError, match=r"folds.count: 2 -> 3"):
        benchmark(load_plan(other), out=done, resume=True)
    assert {name: (done / name).read_bytes() for name in before} == before


def test_fewer_epochs_than_trained_are_refused_once_before_any_job(done: Path, plan: Path) -> None:
    """`done` has one epoch of each; a longer one is made of it by hand."""
    metrics = done / "cells" / "wide" / "fold-2" / "metrics.csv"
    once = metrics.read_text()
    header, row = once.splitlines()
    metrics.write_text("\n".join([header, row, row, row]) + "\n")
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*") if path.is_file()}
    with pytest.raises(RunError) as caught:
        benchmark(load_plan(plan), out=done, resume=True)
    assert str(caught.value).splitlines() == [
        f"{plan}:7: 1 training has done more epochs in {done} than the plan asks for; wide/fold-2 has done 3: a "
        "benchmark that is resumed can have more epochs, not fewer; give 3 or more, or choose another folder with --out"
    ]
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*") if path.is_file()} == before
    metrics.write_text(once)


def test_its_plan_can_be_run_again_from_anywhere(
    done: Path, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    again = load_plan(done / "plan.yaml")
    assert again.recipe == (plan.parent / "recipe.yaml").as_posix()
    assert again.model_dump() == load_plan(plan).anchored().model_dump()
    first, second = cells_of(load_plan(plan)), cells_of(again)
    assert [cell.recipe.model_dump() for cell in first] == [cell.recipe.model_dump() for cell in second]
    assert benchmark(again, out=done, resume=True) == done, "nothing has changed"


def test_a_failed_job_is_told_and_the_others_go_on(
    plan: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = module.train

    def fail(*args: Any, out: Path, **rest: Any) -> Any:
        if (out.parent.name, out.name) == ("narrow", "fold-2"):
            raise NetworkError("the network cannot")
        return real(*args, out=out, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(module, "train", fail)
        with pytest.raises(BenchmarkError, match=r"1 job failed; --resume tries again.*\nnarrow/fold-2: the network"):
            benchmark(load_plan(plan), out=tmp_path / "out")  # the cell and the fold are named once
    jobs = read_rows(JobRow, tmp_path / "out" / "results")
    assert {(row.cell, row.fold): row.state for row in jobs} == {
        ("narrow", 1): "complete",
        ("narrow", 2): "failed",
        ("wide", 1): "complete",
        ("wide", 2): "complete",
    }
    assert next(row.message for row in jobs if row.state == "failed") == "the network cannot"
    benchmark(load_plan(plan), out=tmp_path / "out", resume=True)
    assert without_times(tmp_path / "out") == without_times(done)


def test_the_best_cell_predicts(done: Path) -> None:
    best = flat_members([f"{done}:best"])
    assert {member.run.path.parent.parent.name for member in best} == {"cells"}
    assert len(best) == 2
    with pytest.raises(RunError, match="behind a benchmark :best or :ensemble"):
        flat_members([f"{done}:bset"])


def test_the_command(plan: Path, done: Path) -> None:
    found = CliRunner().invoke(app, ["benchmark", str(plan), "--out", str(done), "--resume"])
    assert (found.exit_code, found.stdout.strip()) == (0, str(done))


@pytest.mark.slow
def test_six_kills_and_a_lost_worker_change_nothing(plan: Path, tmp_path: Path) -> None:
    """Compared with workers, too, as a training has other floats where it has more threads."""
    out, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    begin = [sys.executable, "-m", "cristae", "benchmark", str(plan), "--workers", "2", "--out"]
    subprocess.run([*begin, str(undisturbed)], check=True, stdout=PIPED, stderr=PIPED)
    command = [*begin, str(out)]
    for kill in range(6):
        resumed = [*command, "--resume"] if (out / "benchmark.json").exists() else command
        with subprocess.Popen(resumed, stdout=PIPED, stderr=PIPED, start_new_session=True) as session:
            if kill == 0:
                _kill_a_worker(session.pid)
            time.sleep(8 + kill)
            os.killpg(session.pid, signal.SIGKILL)
    subprocess.run([*command, "--resume"], check=True, stdout=PIPED, stderr=PIPED)
    assert without_times(out) == without_times(undisturbed)


def _kill_a_worker(parent: int) -> None:
    """One process of a session's workers, once it has begun."""
    import psutil

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for one in psutil.Process(parent).children(recursive=True):
            with suppress(psutil.Error):  # one that has just ended
                if "spawn_main" in " ".join(one.cmdline()):
                    time.sleep(4)  # until it has a job
                    one.kill()
                    return
        time.sleep(0.2)
    pytest.fail("no worker was begun")
