"""A training that is interrupted anywhere, any number of times, ends with the bytes of an undisturbed one."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import resuming_work as work
import torch
from resuming_work import Interruptions, Kept, Stopped, results, train_once
from torch import nn

from cristae.errors import RunError
from cristae.training.epoch_end import Counts
from cristae.training.feed import Worker

EVENTS = work.EPOCHS * (work.BATCHES + 3)
"""About as many as an undisturbed training has: batches, validations, weights and rows."""
OPTIONS = {
    "whole epochs": "schedule: {name: keras, decay: 1e-2, plateau_patience: 1}\n",
    "each batch": "schedule: {name: keras, decay: 1e-2, plateau_patience: 1}\ncheckpoint_minutes: 1e-6\n",
    "clipped, skipping": "checkpoint_minutes: 1e-6\ngradient_clip: 0.5\nnonfinite: skip\n",
    "cosine": "checkpoint_minutes: 1e-6\nschedule: {name: cosine, warmup: 2}\n",
    "accumulated averages": "checkpoint_minutes: 1e-6\naccumulate: 2\nema_decay: 0.9\n",
    "epoch averages, thawing": (
        "checkpoint_minutes: 1e-6\nswa: {from_epoch: 2}\ngroups: [{match: 'layers.[01].*', frozen_epochs: 1}]\n"
    ),
    "everything": work.EVERYTHING,
}
"""Lines of the recipe's training section besides those that all of them have."""


def until_done(folder: Path, rng: np.random.Generator, options: str) -> int:
    """Train with interruptions after random numbers of events; how many there were."""
    for count in range(200):
        try:
            train_once(folder, Interruptions(int(rng.integers(2, EVENTS))), options)
        except Stopped:
            continue
        return count
    raise AssertionError("the training never gets to its end")


def rounds(tmp_path: Path, options: str, seeds: range) -> None:
    train_once(tmp_path / "undisturbed", Interruptions(0), options)
    expected, stops = results(tmp_path / "undisturbed"), 0
    assert len(expected) > work.EPOCHS
    if "spoilt" in options:
        assert "('skipped_updates', 2)" in str(expected["row-2"])
    for seed in seeds:
        stops += until_done(tmp_path / str(seed), np.random.default_rng(seed), options)
        assert results(tmp_path / str(seed)) == expected, f"seed {seed}"
    assert stops


@pytest.mark.parametrize("options", ["each batch", "epoch averages, thawing", "everything"])
def test_interrupted_anywhere_the_same_bytes_come_out(tmp_path: Path, options: str) -> None:
    rounds(tmp_path, OPTIONS[options], range(3))


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_interrupted_anywhere_twenty_times(tmp_path: Path, options: str) -> None:
    rounds(tmp_path, OPTIONS[options], range(20))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not a signal of Windows")
def test_a_killed_process_leaves_what_is_needed(tmp_path: Path) -> None:
    options = OPTIONS["each batch"]
    train_once(tmp_path / "undisturbed", Interruptions(0), options)
    threads = str(torch.get_num_threads())  # other numbers of threads add in another order
    command = [sys.executable, str(work.__file__), str(tmp_path / "killed"), "10", options, threads]
    assert subprocess.run(command, check=False, env=dict(os.environ)).returncode == -signal.SIGKILL
    train_once(tmp_path / "killed", Interruptions(0), options)
    assert results(tmp_path / "killed") == results(tmp_path / "undisturbed")


def test_a_batch_is_not_trained_twice_where_checkpoints_are_frequent(tmp_path: Path) -> None:
    options = OPTIONS["each batch"]
    with pytest.raises(Stopped):
        train_once(tmp_path / "run", Interruptions(4), options)
    rest = Interruptions(1000)
    train_once(tmp_path / "run", rest, options)
    undisturbed = Interruptions(1000)
    train_once(tmp_path / "other", undisturbed, options)
    assert undisturbed.left + 3 == rest.left  # the three batches before the interrupted one are not trained again


def test_the_first_ctrl_c_ends_with_a_checkpoint_between_two_batches(tmp_path: Path) -> None:
    assert threading.current_thread() is threading.main_thread()

    class Pressed(Interruptions):
        def event(self) -> None:
            super().event()
            if self.left == 96:
                signal.raise_signal(signal.SIGINT)

        def say(self, message: str) -> None:
            said.append(message)

    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        train_once(tmp_path / "run", Pressed(100))
    assert said == ["stopping after this batch, with a checkpoint; Ctrl-C again stops at once"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    rest, whole = Interruptions(100), Interruptions(100)
    train_once(tmp_path / "run", rest)
    train_once(tmp_path / "undisturbed", whole)
    assert results(tmp_path / "run") == results(tmp_path / "undisturbed")
    assert rest.left == whole.left + 4


@pytest.mark.parametrize(("pressed_in", "left"), [(work.EPOCHS - 1, work.BATCHES + 2), (work.EPOCHS, 0)])
def test_ctrl_c_in_a_validation_ends_with_the_epoch_and_is_not_forgotten(
    tmp_path: Path, pressed_in: int, left: int
) -> None:
    class Pressed(Kept):
        def validate(self, network: nn.Module, epoch: int, worker: Worker) -> Counts:
            if epoch == pressed_in:
                signal.raise_signal(signal.SIGINT)
            return super().validate(network, epoch, worker)

    with pytest.raises(KeyboardInterrupt):
        train_once(tmp_path / "run", Interruptions(0), kept=Pressed)
    rest = Interruptions(100)
    train_once(tmp_path / "run", rest)
    train_once(tmp_path / "undisturbed", Interruptions(0))
    assert rest.left == 100 - left, "the epoch was done"
    assert results(tmp_path / "run") == results(tmp_path / "undisturbed")


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    class Pressed(Interruptions):
        def event(self) -> None:
            super().event()
            if self.left == 96:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_once(tmp_path / "run", Pressed(100))
    assert not (tmp_path / "run" / "last.ckpt").exists()


@pytest.mark.parametrize(("name", "updates"), [("each batch", 7), ("accumulated averages", 3)])
def test_a_training_interrupted_within_an_epoch_can_be_made_longer(tmp_path: Path, name: str, updates: int) -> None:
    options = OPTIONS[name]
    with pytest.raises(Stopped):
        train_once(tmp_path / "run", Interruptions(12), options + "epochs: 2\n")
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == updates
    train_once(tmp_path / "run", Interruptions(0), options)
    train_once(tmp_path / "undisturbed", Interruptions(0), options)
    assert results(tmp_path / "run") == results(tmp_path / "undisturbed")


def test_a_checkpoint_of_an_older_version_is_refused(tmp_path: Path) -> None:
    train_once(tmp_path, Interruptions(0))
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    del checkpoint["cristae"]
    torch.save(checkpoint, tmp_path / "last.ckpt")
    with pytest.raises(RunError, match=r"another version of Cristae \(format 1, this one reads 2\); finish"):
        train_once(tmp_path, Interruptions(0))


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    train_once(tmp_path, Interruptions(0), "gradient_clip: 1.0\n")
    with pytest.raises(RunError, match=r"other settings \(training.gradient_clip: 1.0, now 2.0\); set these back"):
        train_once(tmp_path, Interruptions(0), "gradient_clip: 2.0\n")
    train_once(tmp_path, Interruptions(0), "gradient_clip: 1.0\ncheckpoint_minutes: 3\nreader_threads: 1\n")
