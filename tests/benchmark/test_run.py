"""A plan run from end to end on a small stack: folders, tables, resuming, failures."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from benchmarks.example_benchmark import Size, example_tables
from training_data import write_discs
from typer.testing import CliRunner

from cristae.benchmark import execution, fair
from cristae.benchmark import run as run_module
from cristae.benchmark.cells import cells_of
from cristae.benchmark.execution import Execution
from cristae.benchmark.load import load_plan
from cristae.benchmark.run import benchmark
from cristae.cli.main import app
from cristae.errors import BenchmarkError, NetworkError, OutputExistsError, RecipeError, RunError
from cristae.progress import Progress
from cristae.recipe.benchmark_folder import read_benchmark
from cristae.recipe.benchmark_tables import CellRow, JobRow, ScoreRow, read_records, read_rows
from cristae.recipe.ensemble_file import flat_members
from cristae.recipe.study import open_study
from cristae.workflows import train_study

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


class Heard(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def warn(self, message: str) -> None:
        self.warned.append(message)


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


def test_the_example_that_pages_are_tested_with_has_columns_that_benchmarks_write(done: Path) -> None:
    for name, rows in example_tables(Size(cells=3, folds=3)).items():
        written = read_records(done / "results" / f"{name}.csv")
        assert not written or set(rows[0]) <= set(written[0]), name


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


@pytest.mark.slow
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


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks are planned and their folders made, but no job is done."""
    monkeypatch.setattr(Execution, "run", lambda *_: ())
    monkeypatch.setattr(run_module, "collect", lambda *_: None)


@pytest.mark.usefixtures("planned")
def test_two_processes_do_not_work_on_one_benchmark(plan: Path, tmp_path: Path) -> None:
    out = benchmark(load_plan(plan), out=tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.suffix != ".part"}
    hold = "import sys; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); print(); input()"
    command = [sys.executable, "-c", hold, str(out / ".session.part")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(BenchmarkError, match="another process works on this benchmark; wait until it has ended"):
            benchmark(load_plan(plan), out=out, resume=True)
        other.kill()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    benchmark(load_plan(plan), out=out, resume=True)  # a process that was killed locks nothing


def test_a_plan_that_cannot_resume_changes_nothing(done: Path, plan: Path, tmp_path: Path) -> None:
    before = {name: (done / name).read_bytes() for name in ("plan.yaml", "benchmark.json")}
    other = tmp_path / "other.yaml"
    other.write_text(PLAN.replace("recipe.yaml", str(plan.parent / "recipe.yaml")).replace("count: 2", "count: 3"))
    with pytest.raises(RunError, match=r"folds.count: 2 -> 3"):
        benchmark(load_plan(other), out=done, resume=True)
    assert {name: (done / name).read_bytes() for name in before} == before


@pytest.mark.parametrize(
    ("ranked", "message"),
    [
        ("metric: Jacard", r"plan.yaml:8: rank_by.metric: .*'Jacard': there is no such score; such as F1, "),
        ("metric: volume_fraction", r"plan.yaml:8: rank_by.metric: .*'volume_fraction': it is neither good nor bad"),
        ("class: disk", r"plan.yaml:8: rank_by.class: cell 'narrow' has no class 'disk'; there are disc, and `all`"),
    ],
)
def test_what_no_cell_will_be_ranked_by_is_told_before_any_training(
    plan: Path, tmp_path: Path, ranked: str, message: str
) -> None:
    other = plan.parent / "other" / "plan.yaml"
    other.parent.mkdir(exist_ok=True)
    text = PLAN.replace("metric: Jaccard, class: disc", ranked).replace("recipe.yaml", "../recipe.yaml")
    other.write_text(text)
    with pytest.raises(RecipeError, match=message):
        benchmark(load_plan(other), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cells_that_a_plan_has_lost_are_told(done: Path, plan: Path, tmp_path: Path) -> None:
    shutil.copytree(done, tmp_path / "out")
    fewer = plan.with_name("fewer.yaml")
    fewer.write_text(PLAN.replace(", wide: [4, 8]", ""))
    heard = Heard()
    benchmark(load_plan(fewer), out=tmp_path / "out", resume=True, progress=heard)
    assert any("the plan has no more 'wide': results will be without" in message for message in heard.warned)
    assert {row.cell for row in read_rows(ScoreRow, tmp_path / "out" / "results")} == {"narrow"}
    assert open_study(tmp_path / "out" / "cells" / "wide").complete


@pytest.mark.slow
@pytest.mark.usefixtures("planned")
def test_minutes_are_measured_once_and_again_when_they_change(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of cells with fewer labels."""
    other = plan.with_name("minutes.yaml")
    text = PLAN.replace("budget: {epochs: 1}", "budget: {minutes: 1}\nlabels: {slices: [1, 2]}")
    other.write_text(text)
    lengths = iter([7, 9, 17, 19])
    monkeypatch.setattr(fair, "epochs_in", lambda *_: next(lengths))
    heard = Heard()

    def epochs() -> dict[str, int]:
        benchmark(load_plan(other), out=tmp_path / "out", resume=(tmp_path / "out").exists(), progress=heard)
        cells = read_benchmark(tmp_path / "out").cells
        studies = {cell.name: open_study(tmp_path / "out" / "cells" / cell.name) for cell in cells}
        return {name: study.recipe.training.epochs for name, study in studies.items()}

    first = epochs()
    assert first == {"narrow-1-slices": 7, "narrow-2-slices": 7, "wide-1-slices": 9, "wide-2-slices": 9}
    assert len([line for line in heard.said if "2 of 2 folds by slices" in line]) == 1, "not for each cell"
    assert len([line for line in heard.said if "All folds have a gap of" in line]) == 1
    assert epochs() == first
    other.write_text(text.replace("minutes: 1", "minutes: 2"))
    assert set(epochs().values()) == {17, 19}


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_failed_job_is_told_and_the_others_go_on(
    plan: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = train_study.train

    def fail(*args: Any, out: Path, **rest: Any) -> Any:
        if (out.parent.name, out.name) == ("narrow", "fold-2"):
            raise NetworkError("the network cannot")
        return real(*args, out=out, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(train_study, "train", fail)
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


def test_where_an_error_of_the_program_comes_from_is_kept(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **rest: Any) -> Any:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(execution, "run_job", fail)
    with pytest.raises(BenchmarkError, match=r"4 jobs failed(?s:.*)Where they failed stands in .*failures.json"):
        benchmark(load_plan(plan), out=tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "failures.json").read_text())
    assert [one["attempts"] for one in kept] == [2] * 4
    assert all("in fail\n" in one["traceback"] for one in kept)


@pytest.mark.slow
def test_what_an_interrupted_session_took_is_not_known(done: Path, plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(done, out)
    before = {(row.cell, row.fold): row for row in read_rows(JobRow, out / "results")}
    killed = [out / "cells" / "narrow" / f"fold-{fold}" / "held-out" for fold in (1, 2)]
    for place in killed:
        (place / "cost.json").unlink()  # killed while it scored
    (killed[1] / "training-cost.json").unlink()  # killed while it trained
    for path in killed[1].glob("validation.*"):
        path.unlink()
    benchmark(load_plan(plan), out=out, resume=True)
    after = {(row.cell, row.fold): row for row in read_rows(JobRow, out / "results")}
    scored, trained = after["narrow", 1], after["narrow", 2]
    assert scored.cpu_seconds == before["narrow", 1].cpu_seconds
    assert (scored.energy_wh or 0) > 0
    assert (scored.predict_seconds, scored.evaluate_seconds) == (None, None)
    assert (trained.cpu_seconds, trained.energy_wh, trained.peak_bytes) == (None, None, None)
    assert trained.predict_seconds is None, "its prediction was there"
    assert (trained.evaluate_seconds or 0) > 0
    assert after["wide", 1] == before["wide", 1]


@pytest.mark.slow
def test_epochs_are_those_that_were_trained(plan: Path, tmp_path: Path) -> None:
    short = plan.with_name("short.yaml")
    short.write_text(
        "name: short\nrecipe: recipe.yaml\nvary: {seed: [1]}\nbudget: {epochs: 3}\n"
        "set: {sampling.per_epoch: 8, sampling.size: [16, 16], model.widths: [2, 4],\n"
        "      training.give_up: {below: 0.99, after_epochs: 0}}\n"
    )
    (job,) = read_rows(JobRow, benchmark(load_plan(short), out=tmp_path / "out") / "results")
    assert (job.epochs, job.updates) == (1, 1)
    assert "gave up" in job.message


def test_the_best_cell_predicts(done: Path) -> None:
    best = flat_members([f"{done}:best"])
    assert {member.run.path.parent.parent.name for member in best} == {"cells"}
    assert len(best) == 2
    with pytest.raises(RunError, match="behind a benchmark :best or :ensemble"):
        flat_members([f"{done}:bset"])


@pytest.mark.slow
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
