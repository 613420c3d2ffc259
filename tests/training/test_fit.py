"""The training loop: exact continuation, best weights, early stop, the guard against a loss that is not finite."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cristae.augment import Flip, Noise, Rotate90
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.errors import RunError, TrainingError
from cristae.losses import CrossEntropyDice
from cristae.losses.form import LossConfig
from cristae.models import create_model
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress, Task
from cristae.sampling import RandomPatches
from cristae.targets import NoWeighting
from cristae.training.cache import cache_parts
from cristae.training.cache_folder import open_cache
from cristae.training.config import TrainingConfig
from cristae.training.epoch_end import Best, Counts
from cristae.training.feed import PatchFeed, Worker
from cristae.training.fit import fit
from cristae.training.framing import Framing
from cristae.training.module import StepConfig
from cristae.training.schedule import Cosine, KerasDecay
from cristae.training.validation_config import Criterion

BINARY = Classes(names=("background", "thing"))


class Stopped(Exception):
    """What a killed process looks like from inside."""


class Notes:
    """A callback that gives scripted scores and can die at an epoch."""

    def __init__(self, scores: list[float], *, dies_in: int = -1) -> None:
        self.scores, self.dies_in = scores, dies_in
        self.rows: list[dict[str, float]] = []
        self.kept: list[int] = []
        self.epoch = 0

    def validate(self, network: nn.Module, epoch: int, worker: Worker) -> Counts:
        return {}

    def score(self, counts: Counts) -> dict[str, float]:
        return {"val_miou": self.scores[len(self.rows) + self.epoch]}

    def save_best(self, network: nn.Module, criterion: Criterion, kept: Mapping[Criterion, Best]) -> None:
        self.kept.append(kept[criterion].epoch)

    def log_epoch(self, row: dict[str, float]) -> None:
        self.rows.append(row)
        if len(self.rows) + self.epoch == self.dies_in:
            raise Stopped


def train_once(
    folder: Path,
    notes: Notes,
    *,
    config: TrainingConfig,
    low: float = 0,
    progress: Progress | None = None,
    batch_size: int = 4,
    network: nn.Module | None = None,
    loss: LossConfig | None = None,
) -> nn.Module:
    """One session of a small training, resumed from what is in `folder`; 12 patches are an epoch."""
    rng = np.random.default_rng(0)
    labels = (rng.random((2, 48, 48)) > 0.7).astype(np.uint8)
    image = (labels * 90 + rng.random(labels.shape) * 60).astype(np.uint8)
    volume = Volume("v", image_of_array(image), labels=(image_of_array(labels),))
    whole = [Part(volume, Box.of_shape(image.shape))]
    with open_cache() as cache:
        parts = cache_parts(whole, BINARY, cache, Framing(), size=(1, 16, 16), progress=Progress())
    plan = RandomPatches(size=(16, 16), per_epoch=12).plan([p.sample_part() for p in parts], seed=1)
    feed = PatchFeed(plan, parts, Framing(), batch_size=batch_size, accumulate=config.accumulate)
    normalizers = {"v": Normalizer(low, 150)}
    augment = (Flip(), Rotate90(), Noise())
    loss = loss or CrossEntropyDice(l2=1e-4)
    targets = partial(NoWeighting(), statistics={})
    step = StepConfig(loss.build(BINARY), loss.penalty, augment, targets, normalizers, config, 1, torch.device("cpu"))
    torch.manual_seed(1)
    network = network or create_model("unet_bn", in_channels=1, out_channels=1, widths=(4, 8))
    fit(network, step, feed, callback=notes, folder=folder, progress=progress or Progress())
    return network


class Heard(Progress):
    """Progress that remembers its last note and how many steps were done."""

    def __init__(self) -> None:
        self.note, self.steps = "", 0

    @contextmanager
    def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
        heard = self

        class Listening(Task):
            def advance(self, steps: int = 1, *, note: str = "") -> None:
                heard.steps += steps
                heard.note = note or heard.note

        yield Listening()


def test_progress_ends_with_the_score_of_the_last_epoch(tmp_path: Path) -> None:
    heard = Heard()
    train_once(tmp_path, Notes([0.5, 0.7, 0.6]), config=TrainingConfig(epochs=3), progress=heard)
    assert heard.note == "epoch 3, validation mIoU 0.6000, best 0.7000 in epoch 2"
    assert heard.steps == 9


def same(one: nn.Module, two: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("schedule", [KerasDecay(decay=1e-2, plateau_patience=1), Cosine(warmup=2)])
@pytest.mark.parametrize("dies_in", [1, 3])
def test_a_killed_training_ends_with_the_same_weights(
    tmp_path: Path, schedule: KerasDecay | Cosine, dies_in: int
) -> None:
    config = TrainingConfig(epochs=4, schedule=schedule, learning_rate=1e-2)
    scores = [0.5, 0.6, 0.4, 0.7]
    undisturbed = train_once(tmp_path / "one", Notes(scores), config=config)
    first = Notes(scores, dies_in=dies_in)
    with pytest.raises(Stopped):
        train_once(tmp_path / "two", first, config=config)
    second = Notes(scores)
    second.epoch = dies_in - 1  # the row was written, the checkpoint was not: the epoch is trained again
    continued = train_once(tmp_path / "two", second, config=config)
    assert same(undisturbed, continued)
    assert [row["epoch"] for row in second.rows] == list(range(dies_in, 5))
    assert second.rows[-1]["step"] == 12


def test_a_finished_training_can_be_made_longer(tmp_path: Path) -> None:
    scores = [0.5, 0.6, 0.4, 0.7]
    whole = train_once(tmp_path / "one", Notes(scores), config=TrainingConfig(epochs=4))
    train_once(tmp_path / "two", Notes(scores), config=TrainingConfig(epochs=2))
    rest = Notes(scores)
    rest.epoch = 2
    assert same(whole, train_once(tmp_path / "two", rest, config=TrainingConfig(epochs=4)))
    assert len(rest.rows) == 2


def test_only_better_epochs_are_kept_and_patience_ends(tmp_path: Path) -> None:
    notes = Notes([0.5, 0.4, 0.6, 0.6, 0.5, 0.9])
    train_once(tmp_path, notes, config=TrainingConfig(epochs=6, early_stop_patience=2))
    assert notes.kept == [1, 3]
    assert len(notes.rows) == 5


def test_a_training_that_stopped_early_stays_stopped(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=6, early_stop_patience=1)
    scores = [0.5, 0.4, 0.9, 0.9, 0.9, 0.9]
    stopped = train_once(tmp_path, Notes(scores), config=config)
    again = Notes(scores)
    again.epoch = 2
    assert same(stopped, train_once(tmp_path, again, config=config))
    assert again.rows == []


def test_any_number_is_better_than_none(tmp_path: Path) -> None:
    notes = Notes([float("nan"), 0.2, 0.1, 0.3])
    train_once(tmp_path, notes, config=TrainingConfig(epochs=4))
    assert notes.kept == [1, 2, 4]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(RunError, match="damaged; remove it"):
        train_once(tmp_path, Notes([0.5]), config=TrainingConfig(epochs=1))


def test_the_rate_in_the_table_is_the_schedules(tmp_path: Path) -> None:
    notes = Notes([0.5, 0.4, 0.3])
    schedule = KerasDecay(decay=0.1, plateau_factor=0.5, plateau_patience=1)
    train_once(tmp_path, notes, config=TrainingConfig(epochs=3, schedule=schedule, learning_rate=1.0))
    expected = [1 / (1 + 0.1 * 2), 1 / (1 + 0.1 * 5), 0.5 / (1 + 0.1 * 8)]
    assert [row["learning_rate"] for row in notes.rows] == pytest.approx(expected)


def test_a_loss_that_is_not_finite_names_the_patches(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=1)
    with pytest.raises(TrainingError, match=r"epoch 1: batch 1 \(patches v [01]:[12],"):
        train_once(tmp_path, Notes([0.5]), config=config, low=float("nan"))
    assert not (tmp_path / "last.ckpt").exists()
