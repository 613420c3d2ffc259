"""A small training that can be interrupted anywhere: what `test_resuming` runs, here or in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import nn

from cristae.augment import Augmentations, required_margin
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.losses import CrossEntropyDice
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress, Task
from cristae.recipe.document import read_document
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
from cristae.training.validation_config import Criterion

BINARY = Classes(names=("background", "thing"))
EPOCHS, BATCHES = 3, 5
PATCHES = 4 * BATCHES + 2  # the last ones fill no batch
SCORES = (0.6, 0.4, 0.5)
TRAINING = {"epochs": EPOCHS, "batch_size": 4, "learning_rate": 1e-2, "criteria": ["miou", "loss"]}
"""The training section, to which options add lines, such as a schedule. Of other sections they can have `augment`, and
`spoilt: true` makes some losses NaN."""
EVERYTHING = """\
checkpoint_minutes: 1e-6
optimizer: radam
weight_decay: 1e-2
schedule: {name: linear, warmup: 0.3, floor: 1e-3}
groups:
  - {match: norm, weight_decay_factor: 0}
  - {match: layers.4.bias, learning_rate_factor: 0}
  - {match: layers.4.*, learning_rate_factor: 0.5}
accumulate: 2
gradient_clip: 0.5
ema_decay: 0.8
nonfinite: skip
criteria: [loss, f1]
batch_size: 2
spoilt: true
augment:
  - {name: rotate, degrees: 180}
  - {name: elastic, per: epoch, amplitude_vox: 2, spacing_vox: 12, probability: 1}
  - {name: zoom}
  - {name: flip}
  - {name: rotate90}
  - {name: brightness}
  - {name: gamma}
  - {name: noise}
"""


class Stopped(Exception):
    """What a killed process looks like from inside."""


class Interruptions(Progress):
    """Interrupts after a number of events: batches, validations, files written."""

    def __init__(self, after: int, *, kill: bool = False) -> None:
        self.left, self.kill = after, kill

    def event(self) -> None:
        """One thing that happens during a training."""
        self.left -= 1
        if self.left == 0:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Stopped

    @contextmanager
    def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
        outer = self

        class Counting(Task):
            def advance(self, steps: int = 1, *, note: str = "") -> None:
                if unit == "batches" and steps:
                    outer.event()

        yield Counting()


def digest(network: nn.Module) -> int:
    """A number that tells networks apart by any bit."""
    return zlib.crc32(b"".join(tensor.numpy().tobytes() for tensor in network.state_dict().values()))


class Spoilt(nn.Module):
    """A loss that is NaN for some batches; which, their targets decide."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: torch.Tensor, target: torch.Tensor, *others: object) -> torch.Tensor:
        loss: torch.Tensor = self.loss(logits, target, *others)
        return loss * float("nan") if int(target.sum()) % 7 == 0 else loss


class Kept:
    """Keeps what a run folder would: best weights and rows, as files."""

    def __init__(self, folder: Path, interruptions: Interruptions) -> None:
        self.folder, self.interruptions = folder, interruptions
        self._epoch = self._validated = 0

    def validate(self, network: nn.Module, epoch: int, worker: Worker) -> Counts:
        self.interruptions.event()
        self._epoch, self._validated = epoch, digest(network)
        return {}

    def score(self, counts: Counts) -> dict[str, float]:
        value = SCORES[(self._epoch - 1) % len(SCORES)]
        return {"val_miou": value, "val_loss": value, "val_f1": 1 - value, "validated": self._validated}

    def save_best(self, network: nn.Module, criterion: Criterion, kept: Mapping[Criterion, Best]) -> None:
        assert digest(network) == self._validated, "what is kept is what was validated"
        torch.save(network.state_dict(), self.folder / f"{criterion}.pt")
        self.interruptions.event()

    def log_epoch(self, row: dict[str, float]) -> None:
        row = {name: value for name, value in row.items() if name != "seconds"}
        (self.folder / f"row-{self._epoch}").write_text(repr(sorted(row.items())))
        self.interruptions.event()


class Tiny(nn.Module):
    """Convolution, batch normalisation and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(4, 1, 1)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(image)
        return logits


def train_once(
    folder: Path, interruptions: Interruptions, options: str = "", *, kept: Callable[[Path, Interruptions], Kept] = Kept
) -> None:
    """One session of the training, resumed from what is in `folder`."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    labels = (rng.random((2, 48, 48)) > 0.7).astype(np.uint8)
    image = (labels * 90 + rng.random(labels.shape) * 60).astype(np.uint8)
    volume = Volume("v", image_of_array(image), labels=(image_of_array(labels),))
    given = TRAINING | (read_document(options, "training").value if options else {})
    augment = TypeAdapter(Augmentations).validate_python(
        given.pop("augment", [{"name": name} for name in ("flip", "rotate90", "noise")])
    )
    spoilt, config = given.pop("spoilt", False), TrainingConfig.model_validate(given)
    margin = required_margin(augment, (16, 16))
    with open_cache() as cache:
        whole = [Part(volume, Box.of_shape(image.shape))]
        framing = Framing().grown(margin)
        parts = cache_parts(whole, BINARY, cache, framing, size=(1, 16, 16), progress=Progress())
        plan = RandomPatches(size=(16, 16), per_epoch=PATCHES).plan([p.sample_part() for p in parts], seed=1)
        sizes = {"batch_size": config.batch_size, "accumulate": config.accumulate}
        feed = PatchFeed(plan, parts, Framing(), margin=margin, **sizes)
        form, targets = CrossEntropyDice(l2=1e-4), partial(NoWeighting(), statistics={})
        loss = Spoilt(form.build(BINARY)) if spoilt else form.build(BINARY)
        step = StepConfig(
            loss, form.penalty, augment, targets, {"v": Normalizer(0, 150)}, config, 1, torch.device("cpu")
        )
        torch.manual_seed(1)
        network = Tiny()
        fit(network, step, feed, callback=kept(folder, interruptions), folder=folder, progress=interruptions)
    torch.save(network.state_dict(), folder / "end.pt")


def results(folder: Path) -> dict[str, object]:
    """All that a training leaves, but for its checkpoint: weights bit by bit, rows of the table as text."""
    found: dict[str, object] = {path.name: path.read_text() for path in folder.glob("row-*")}
    for path in folder.glob("*.pt"):
        for name, tensor in torch.load(path, weights_only=True).items():
            found[f"{path.name}: {name}"] = tensor.numpy().tobytes()
    return found


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[4]))
    train_once(Path(sys.argv[1]), Interruptions(int(sys.argv[2]), kill=True), sys.argv[3])
