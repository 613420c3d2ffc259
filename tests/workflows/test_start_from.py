"""A training that starts from weights that are there: which are taken, what is reported, and resuming without them."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from network_data import write_stack
from safetensors.numpy import load_file, save_file
from torch import nn

from cristae.errors import NetworkError
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.network import start_from
from cristae.recipe.run import Run
from cristae.workflows.train import train

KERAS = "training.schedule={name: keras}"
SMALL = ("model={name: unet_bn, widths: [4, 8]}", "sampling.size=[16, 16]", "augment=[]", "training.epochs=1", KERAS)
STILL = "training.learning_rate=1e-12"


class Heard(Progress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def first_run(folder: Path) -> Run:
    folder.mkdir()
    return train(write_stack(folder, "binary", *SMALL), out=folder / "run")


def kernels(path: Path) -> dict[str, np.ndarray]:
    return {name: value for name, value in load_file(path).items() if value.ndim == 4}


def test_matching_weights_of_a_run_are_taken_reported_and_recorded(tmp_path: Path) -> None:
    before = first_run(tmp_path / "first")
    (tmp_path / "second").mkdir()
    heard = Heard()
    start = "training.start_from=../first/run"
    run = train(write_stack(tmp_path / "second", "several", *SMALL, STILL, start), out=tmp_path / "run", progress=heard)
    old, new = kernels(before.weights_path), kernels(run.weights_path)
    other = {name for name in new if old[name].shape != new[name].shape}
    assert other == {"head.weight"}
    assert all(np.allclose(old[name], new[name], atol=1e-6) for name in new if name not in other)
    found = run.summary["start_from"]
    assert found["sha256"] == hashlib.sha256(before.weights_path.read_bytes()).hexdigest()
    assert found["path"].endswith("weights.safetensors")
    assert "head.weight" in str(found["other_shape"])
    (line,) = [line for line in heard.lines if line.startswith("Starting from")]
    assert "match" in line
    assert not heard.warnings
    assert load_recipe(run.path / "recipe.yaml").training.start_from == str(tmp_path / "second" / "../first/run")


@pytest.mark.parametrize(("output", "warnings"), [(4, 0), (24, 1)])
def test_a_start_that_leaves_most_at_random_is_warned_about(tmp_path: Path, output: int, warnings: int) -> None:
    """Of 20 x (6 + output) weights, 120 are filled."""
    save_file({"0.weight": np.ones((20, 6), np.float32)}, tmp_path / "half.safetensors")
    heard = Heard()
    network = nn.Sequential(nn.Linear(6, 20, bias=False), nn.Linear(20, output, bias=False))
    start_from(network, tmp_path / "half.safetensors", heard)
    assert len(heard.warnings) == warnings
    assert all("less than half of the network's parameters" in one for one in heard.warnings)


def test_a_resumed_training_does_not_need_them_again(tmp_path: Path) -> None:
    before = first_run(tmp_path / "first")
    save_file(load_file(before.weights_path), tmp_path / "start.safetensors")
    start = f"training.start_from={tmp_path / 'start.safetensors'}"
    (tmp_path / "second").mkdir()
    recipe = write_stack(tmp_path / "second", "binary", *SMALL, start)
    found = train(recipe, out=tmp_path / "run").summary["start_from"]
    whole = train(load_recipe(recipe.source or "", [*SMALL, start, "training.epochs=2"]), out=tmp_path / "whole")
    (tmp_path / "start.safetensors").unlink()
    longer = load_recipe(recipe.source or "", [*SMALL, start, "training.epochs=2"])
    heard = Heard()
    run = train(longer, out=tmp_path / "run", resume=True, progress=heard)
    assert run.summary["start_from"] == found
    assert not [line for line in heard.lines if line.startswith("Starting from")]
    assert kernels(run.weights_path).keys() == kernels(whole.weights_path).keys()
    assert run.weights_path.read_bytes() == whole.weights_path.read_bytes()


@pytest.mark.parametrize("content", [b"not weights", b""])
def test_weights_that_cannot_be_read_leave_nothing_behind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.safetensors").write_bytes(content)
    with pytest.raises(NetworkError, match=r"bad\.safetensors"):
        train(write_stack(tmp_path, "binary", *SMALL, "training.start_from=bad.safetensors"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_says_what_moved(tmp_path: Path) -> None:
    """A frozen encoder by 0, the other stages by the distance of weights that the two files are apart; also where the
    training was resumed, and its page shows it."""
    before = first_run(tmp_path / "first")
    (tmp_path / "second").mkdir()
    frozen = "training.groups=[{match: encoder, learning_rate_factor: 0}]"
    changes = (*SMALL, "training.start_from=../first/run", frozen)
    recipe = write_stack(tmp_path / "second", "binary", *changes)
    run = train(recipe, out=tmp_path / "run")
    old, new = load_file(before.weights_path), load_file(run.weights_path)
    moved = {row["stage"]: row["relative_change"] for row in run.summary["moved"]}
    assert moved["encoder.0"] == moved["encoder.1"] == 0
    head = [np.concatenate([one["head.weight"].ravel(), one["head.bias"]]).astype(float) for one in (old, new)]
    assert moved["head"] == pytest.approx(np.linalg.norm(head[1] - head[0]) / np.linalg.norm(head[0]))
    assert moved["head"] > 0
    encoder = [name for name in new if name.startswith("encoder.")]
    assert all(np.array_equal(old[name], new[name]) for name in encoder)
    assert "What moved" in (run.path / "report.html").read_text()
    longer = load_recipe(tmp_path / "second" / "recipe.yaml", (*changes, "training.epochs=2"))
    again = train(longer, out=tmp_path / "run", resume=True)
    assert {row["stage"] for row in again.summary["moved"]} == set(moved)
    (tmp_path / "first" / "run" / "weights.safetensors").write_bytes(b"other")
    longest = load_recipe(tmp_path / "second" / "recipe.yaml", (*changes, "training.epochs=3"))
    assert "moved" not in train(longest, out=tmp_path / "run", resume=True).summary
