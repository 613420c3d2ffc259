"""A study whose members are trained on workers: the same files as one after the other, whatever happens meanwhile."""

from __future__ import annotations

import csv
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from training_data import write_discs
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.cluster.jobs import Job, JobFailure
from cristae.cluster.options import ClusterOptions
from cristae.cluster.run import run_jobs
from cristae.errors import RecipeError, TrainingError
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import Run
from cristae.recipe.study import Study, open_study
from cristae.workflows import train_study as module
from cristae.workflows.train_study import train_study

CHANGES = ("folds={count: 3}", "model.widths=[2, 4]", "sampling.per_epoch=8", "sampling.size=[16, 16]")
LONG = (*CHANGES, "training.epochs=40", "training.checkpoint_minutes=0.0001")
TWO = ClusterOptions(workers=2)


class Said(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def warn(self, message: str) -> None:
        self.warned.append(message)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sums of floats depend on the number of threads in their last bits: here and on workers it is one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("study"), epochs=1)


def results(study: Path) -> dict[str, bytes]:
    """Files that depend on nothing but recipe and data."""
    names = (
        "study.json",
        "ensemble.yaml",
        "scores.csv",
        *(f"fold-{number}/weights.safetensors" for number in (1, 2, 3)),
    )
    return {name: (study / name).read_bytes() for name in names}


@pytest.mark.slow
def test_members_on_workers_end_with_the_same_bytes(data: Path, tmp_path: Path) -> None:
    recipe, said = load_recipe(data, CHANGES), Said()
    study = train_study(recipe, out=tmp_path / "workers", options=TWO, progress=said)
    here = train_study(recipe, out=tmp_path / "here")
    assert results(study.path) == results(here.path)
    assert sorted(path.name for path in study.path.iterdir()) == sorted(path.name for path in here.path.iterdir())
    done = [line for line in said.said if re.match(r"fold-\d: done in \d+ s \(\d of 3\)$", line)]
    assert len(done) == 3
    assert open_study(study.path).complete


@pytest.fixture
def workers_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs of a study, sent as they are to workers, but carried out in this process, which starts faster."""

    def instead(jobs: Sequence[Job], options: ClusterOptions, **rest: Any) -> tuple[JobFailure, ...]:
        assert options == TWO
        assert len({one.lock for one in jobs}) == len(jobs)
        sent = [replace(one, arguments=pickle.loads(pickle.dumps(one.arguments))) for one in jobs]
        return run_jobs(sent, ClusterOptions(), **rest)

    monkeypatch.setattr(module, "run_jobs", instead)


@pytest.mark.slow
def test_members_sent_elsewhere_end_with_the_same_bytes(data: Path, tmp_path: Path, workers_here: None) -> None:
    recipe = load_recipe(data, CHANGES)
    study = train_study(recipe, out=tmp_path / "workers", options=TWO)
    assert results(study.path) == results(train_study(recipe, out=tmp_path / "here").path)


def test_a_member_that_fails_does_not_keep_the_others_from_being_trained(
    data: Path, tmp_path: Path, workers_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, real = load_recipe(data, CHANGES), module.train

    def train(one: Recipe, **rest: Any) -> Run:
        if "fold-2" in one.name:
            raise ZeroDivisionError("by nothing")
        return real(one, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(module, "train", train)
        with pytest.raises(TrainingError, match=r"(?s)fold-2: ZeroDivisionError.*The other 2 of 3 members are trained"):
            train_study(recipe, out=tmp_path / "study", options=TWO)
    assert "Traceback" in (tmp_path / "study" / "failures.log").read_text()
    assert [one.state for one in open_study(tmp_path / "study").members] == ["complete", "training", "complete"]
    study = train_study(recipe, out=tmp_path / "study", options=TWO, resume=True)
    assert study.complete
    assert not (study.path / "failures.log").exists()


def test_a_failed_beginning_on_workers_leaves_nothing(data: Path, tmp_path: Path, workers_here: None) -> None:
    """All members fail by the same line of the recipe, which is told for each."""
    recipe = load_recipe(data, [*CHANGES, "sampling.per_epoch=7"])
    with pytest.raises(RecipeError, match=r"(?s)fold-1: .*only 7 patches.*fold-2: .*only 7 patches"):
        train_study(recipe, out=tmp_path / "study", options=TWO)
    assert not (tmp_path / "study").exists()


def test_one_training_takes_no_workers(data: Path, tmp_path: Path) -> None:
    for option in (["--workers", "2"], ["--scheduler", "tcp://host:8786"], ["--cluster", "queue.yaml"]):
        result = CliRunner().invoke(app, ["train", str(data), "--out", str(tmp_path / "run"), *option])
        assert result.exit_code == 2
        assert f"ClusterError: {option[0]}: the recipe stands for one training" in result.stderr
        assert "--folds" in result.stderr
    assert not (tmp_path / "run").exists()


def until(what: Callable[[], bool], seconds: float = 90) -> bool:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    return what()


def epochs(study: Path, number: int) -> int:
    path = study / f"fold-{number}" / "metrics.csv"
    return len(list(csv.reader(path.open()))) - 1 if path.is_file() else 0


@pytest.fixture(scope="module")
def undisturbed(data: Path) -> Study:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    study = train_study(load_recipe(data, LONG), out=data.parent / "undisturbed")
    torch.set_num_threads(threads)
    return study


def command(data: Path, out: Path, *more: str) -> list[str]:
    changes = [word for change in LONG for word in ("--set", change)]
    return [sys.executable, "-m", "cristae", "train", str(data), "--out", str(out), "--workers", "2", *changes, *more]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_worker_changes_nothing(data: Path, tmp_path: Path, undisturbed: Study) -> None:
    out = tmp_path / "study"
    process = subprocess.Popen(command(data, out), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert until(lambda: epochs(out, 1) > 3 and epochs(out, 2) > 3)
    workers = [one for one in psutil.Process(process.pid).children() if "resource_tracker" not in str(one.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert said.count("its worker was lost; it is begun again") == 1
    assert results(out) == results(undisturbed.path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_study_resumes_to_the_same_bytes(
    data: Path, tmp_path: Path, undisturbed: Study, how: signal.Signals
) -> None:
    """After Ctrl-C members have stopped with a checkpoint; and after a kill of the coordinator no worker is left."""
    out = tmp_path / "study"
    quiet = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    process = subprocess.Popen(command(data, out), **quiet)  # type: ignore[call-overload]
    assert until(lambda: epochs(out, 1) > 3 and epochs(out, 2) > 3)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    _, said = process.communicate(timeout=120)
    assert process.returncode == (130 if how is signal.SIGINT else -signal.SIGKILL)
    assert not psutil.wait_procs(workers, timeout=20)[1], "no worker is left"
    if how is signal.SIGINT:
        assert "the same command with --resume resumes it" in said
        assert (out / "fold-1" / "last.ckpt").is_file()
    stopped = epochs(out, 1)
    assert stopped < 40
    assert [one.state for one in open_study(out).members if one.state == "complete"] == []
    resumed = subprocess.run(command(data, out, "--resume"), capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert results(out) == results(undisturbed.path)
    assert [one.name for one in out.iterdir() if one.name.endswith(".lock")] == []
    assert (out / "report.html").is_file()
