"""Trainings of the command line with everything on that can be, killed at any moment, end with the same files."""

import csv
import json
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_train import epochs_done, finish, killed_when
from training_data import write_discs

EVERYTHING = """\
sampling: {name: random, size: [32, 32], per_epoch: 30}
augment:
  - {name: rotate, degrees: 180}
  - {name: elastic, per: epoch, amplitude_vox: 3, spacing_vox: 16, probability: 1}
  - {name: zoom}
  - {name: flip}
  - {name: brightness}
  - {name: knife_marks}
  - {name: noise}
training:
  epochs: 5
  batch_size: 4
  accumulate: 2
  optimizer: radam
  weight_decay: 1e-3
  groups: [{match: norm, weight_decay_factor: 0}, {match: '*.0.bias', learning_rate_factor: 0}]
  learning_rate: 1e-2
  schedule: {name: linear, warmup: 0.2, floor: 1e-4}
  gradient_clip: 1.0
  ema_decay: 0.8
  nonfinite: skip
  validation: {name: patches, batches: 4}
  criteria: [loss, f1]
  checkpoint_minutes: 1e-6
device: cpu
"""
TIMES = {"training_seconds", "last_session_seconds", "peak_memory_bytes"}


def write_everything(folder: Path) -> Path:
    recipe = write_discs(folder, epochs=5)
    kept = recipe.read_text().partition("sampling:")[0]
    recipe.write_text(kept + EVERYTHING)
    return recipe


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without interruptions, beside its recipe."""
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(write_everything(folder), folder / "whole")
    return folder / "whole"


def left_by(run: Path) -> dict[str, object]:
    """All that does not tell the time: weights by each criterion, rows, summary, scores."""
    found: dict[str, object] = {path.name: path.read_bytes() for path in run.glob("weights*.safetensors")}
    with (run / "metrics.csv").open(newline="") as file:
        found["rows"] = [
            {name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)
        ]
    summary = json.loads((run / "summary.json").read_text())
    found["summary"] = {name: value for name, value in summary.items() if name not in TIMES}
    found["scores"] = (run / "scores.csv").read_bytes()
    return found


def differences(one: dict[str, object], two: dict[str, object]) -> list[str]:
    return sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_killed_at_any_moment_with_everything_on(undisturbed: Path, tmp_path: Path) -> None:
    recipe, rng, whole = undisturbed.with_name("recipe.yaml"), np.random.default_rng(0), left_by(undisturbed)
    assert len(whole["rows"]) == 5  # type: ignore[arg-type]
    began = time.monotonic()
    finish(recipe, tmp_path / "again")
    seconds = time.monotonic() - began
    assert not differences(left_by(tmp_path / "again"), whole)
    for number in range(10):
        out = tmp_path / f"run{number}"
        for _ in range(2):
            moment = time.monotonic() + seconds * rng.uniform(0.2, 0.9)
            killed_when(lambda moment=moment: time.monotonic() > moment, recipe, out, signal.SIGKILL)
        finish(recipe, out)
        assert not differences(left_by(out), whole), number


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo on loopback")
def test_two_processes_killed_within_an_epoch_with_everything_on(tmp_path: Path) -> None:
    recipe, out = write_everything(tmp_path), tmp_path / "run"
    text = recipe.read_text().replace("per_epoch: 30", "per_epoch: 200").replace("  epochs: 5", "  epochs: 2")
    recipe.write_text(text.replace("  accumulate: 2", "  accumulate: 2\n  devices: 2"))
    finish(recipe, tmp_path / "whole")
    killed_when((out / "last.ckpt").exists, recipe, out, signal.SIGKILL)
    assert not epochs_done(out), "the checkpoint is of the middle of the first epoch"
    finish(recipe, out)
    assert not differences(left_by(out), left_by(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("file", ["last.ckpt", "weights.safetensors", "weights.f1.safetensors", "metrics.csv"])
def test_killed_while_a_file_is_written(undisturbed: Path, tmp_path: Path, file: str) -> None:
    recipe, out = undisturbed.with_name("recipe.yaml"), tmp_path / "run"
    for _ in range(3):
        killed_when(lambda: any(out.glob(f".{file}.*.part")), recipe, out, signal.SIGKILL)
    finish(recipe, out)
    assert not differences(left_by(out), left_by(undisturbed))
