"""Optimiser, groups, averages, accumulation and stop rules in whole runs, in one process and in two."""

import sys
from pathlib import Path

import pytest
from training_data import write_discs

from cristae.metrics.score import read_scores
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.run import open_run, read_metrics
from cristae.workflows.train import train

PARTS = (
    "training.optimizer=radam",
    "training.weight_decay=1e-3",
    "training.groups=[{match: norm, weight_decay_factor: 0}, {match: '*.0.bias', learning_rate_factor: 0}]",
    "training.schedule={name: constant, warmup: 2}",
    "training.accumulate=2",
    "training.batch_size=4",
    "training.ema_decay=0.8",
    "training.gradient_clip=10",
)
LOW = "training.give_up={below: 0.999, after_epochs: 1}"


class Said(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def test_the_run_holds_the_averages_that_were_validated(tmp_path: Path) -> None:
    quick = "training.optimizer=adamw", "training.learning_rate=3e-2"
    run = train(load_recipe(write_discs(tmp_path, epochs=10), (*PARTS, *quick)), out=tmp_path / "run")
    rows = read_metrics(run)
    assert [int(row["step"]) for row in rows] == [3 * epoch for epoch in range(1, 11)]
    best = max(float(row["val_miou"]) for row in rows)
    assert best > 0.7
    assert "stopped" not in run.summary
    (score,) = [s for s in read_scores(run.path / "scores.csv") if s.metric == "mIoU" and "background inc" in s.rule]
    assert score.value == pytest.approx(best, abs=1e-6)


def test_a_run_that_gave_up_says_so_and_is_complete(tmp_path: Path) -> None:
    recipe, told = load_recipe(write_discs(tmp_path, epochs=9), (LOW,)), Said()
    run = train(recipe, out=tmp_path / "run", progress=told)
    assert len(read_metrics(run)) == 2
    assert str(run.summary["stopped"]).startswith("gave up: validation mIoU 0.")
    assert run.summary["stopped"] in told.said
    assert run.summary["status"] == "complete"
    assert "Ended" in (run.path / "report.html").read_text()
    train(recipe, out=tmp_path / "run", resume=True, progress=told)
    assert told.said[-1].endswith("training had finished already")


@pytest.mark.parametrize("rule", [LOW, "training.early_stop_patience=1"], ids=["gave up", "stopped early"])
def test_with_another_rule_a_run_goes_on_as_if_it_had_never_stopped(tmp_path: Path, rule: str) -> None:
    """Ended in its second epoch; without the rule it ends with the bytes of a run that never had it."""
    path, told, quick = write_discs(tmp_path, epochs=5), Said(), "training.learning_rate=0.5"
    whole = train(load_recipe(path, (quick,)), out=tmp_path / "whole")
    ended = train(load_recipe(path, (quick, rule)), out=tmp_path / "run")
    assert len(read_metrics(ended)) == 2
    run = train(load_recipe(path, (quick,)), out=tmp_path / "run", resume=True, progress=told)
    assert len(read_metrics(run)) == 5
    assert (run.id, "stopped" in run.summary) == (ended.id, False)
    assert run.weights_path.read_bytes() == whole.weights_path.read_bytes()
    train(load_recipe(path, (quick, rule)), out=tmp_path / "run", resume=True, progress=told)
    assert told.said[-1].endswith("training had finished already")


@pytest.mark.slow
def test_a_schedule_over_the_whole_training_says_that_more_epochs_stretch_it(tmp_path: Path) -> None:
    class Warned(Progress):
        def warn(self, message: str) -> None:
            warned.append(message)

    warned: list[str] = []
    path = write_discs(tmp_path, epochs=1)
    for schedule, stretched in (("poly", True), ("linear, updates: 3", False), ("constant, warmup: 0.1", True)):
        out, change = tmp_path / schedule, f"training.schedule={{name: {schedule}}}"
        train(load_recipe(path, (change,)), out=out)
        warned.clear()
        train(load_recipe(path, (change, "training.epochs=2")), out=out, resume=True, progress=Warned())
        assert any("schedule is stretched" in one for one in warned) is stretched, schedule


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo on loopback")
def test_two_processes_resume_to_the_same_bytes_and_stop_together(tmp_path: Path) -> None:
    path, both = write_discs(tmp_path, epochs=4), (*PARTS, "training.devices=2")
    train(load_recipe(path, both), out=tmp_path / "whole")
    train(load_recipe(path, (*both, "training.epochs=2")), out=tmp_path / "run")
    train(load_recipe(path, both), out=tmp_path / "run", resume=True)
    weights = [(tmp_path / out / "weights.safetensors").read_bytes() for out in ("whole", "run")]
    assert weights[0] == weights[1]
    rows = [[row["val_miou"] for row in read_metrics(open_run(tmp_path / out))] for out in ("whole", "run")]
    assert rows[0] == rows[1]
    stopped = train(load_recipe(path, (*both, LOW)), out=tmp_path / "stopped")
    assert len(read_metrics(stopped)) == 2
