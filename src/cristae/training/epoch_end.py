"""What happens after each epoch: it is judged, its weights are kept where they are better, and it is logged."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from cristae.training.averaging import Averages
from cristae.training.feed import Worker
from cristae.training.module import TrainingModule
from cristae.training.nonfinite import NonfiniteReport
from cristae.training.stopping import StopRules
from cristae.training.validation_config import Criterion, merit

Counts = Mapping[str, np.ndarray]
"""Counts and sums by name that add up over processes: int64 or float64 of any shape."""


class TrainingCallback(Protocol):
    """What the caller does after each epoch."""

    def validate(self, network: nn.Module, epoch: int, worker: Worker) -> Counts:
        """Counts over this process's part of the validation data, after epoch `epoch`, from 1."""

    def score(self, counts: Counts) -> dict[str, float]:
        """Scores of the counts of all processes: `val_<criterion>` for every criterion, and more."""

    def save_best(self, network: nn.Module, criterion: Criterion, kept: Mapping[Criterion, Best]) -> None:
        """Save the weights, which are the best so far by a criterion. Called in the first process only."""

    def log_epoch(self, row: dict[str, float]) -> None:
        """Keep the figures of an epoch. Called in the first process only."""


@dataclass(frozen=True)
class Best:
    """The epoch that a criterion prefers."""

    epoch: int
    """From 1."""
    value: float
    """Of the criterion, on the validation regions; NaN where it was undefined in every epoch so far."""
    val_miou: float
    """Mean IoU of the same epoch."""


class EpochEnd(Callback):
    """Validate, update the schedule, save the best weights, log the epoch."""

    def __init__(
        self,
        callback: TrainingCallback,
        criteria: Sequence[Criterion],
        averaged: Averages | None,
        report: NonfiniteReport,
    ) -> None:
        self.callback, self.criteria, self.averaged = callback, tuple(criteria), averaged
        self.kept: dict[Criterion, Best] = {}
        self.score = self.miou = math.nan
        """The first criterion and the mean IoU, of the last epoch."""
        self.seconds = 0.0
        self._report = report
        self._started = time.monotonic()

    @property
    def best(self) -> Best | None:
        """By the first criterion."""
        return self.kept.get(self.criteria[0])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        self._report.read(trainer, pl_module)
        epoch = trainer.current_epoch + 1
        row: dict[str, float] = {
            "epoch": epoch,
            "step": trainer.global_step,
            "train_loss": pl_module.guard.mean_loss(),
            "learning_rate": pl_module.rate.at(max(trainer.global_step - 1, 0)),
        }
        if pl_module.guard.skip:
            row["skipped_updates"] = self._report.skipped
        network = pl_module.network if self.averaged is None else self.averaged.judged(pl_module.network)
        scores = self._validate(trainer, network, pl_module.device, epoch)
        self.score, self.miou = scores[f"val_{self.criteria[0]}"], scores["val_miou"]
        pl_module.rate.observe(merit(self.criteria[0], self.score))
        self._keep_better(trainer, network, epoch, scores)
        self._count_seconds()
        if trainer.is_global_zero:
            self.callback.log_epoch(row | scores | {"seconds": self.seconds})

    def _keep_better(self, trainer: Trainer, network: nn.Module, epoch: int, scores: Mapping[str, float]) -> None:
        for criterion in self.criteria:
            value, known = scores[f"val_{criterion}"], self.kept.get(criterion)
            if math.isnan(value) and (known or criterion != self.criteria[0]):
                continue  # only the run itself needs weights whatever they are worth
            if known and not (merit(criterion, value) > merit(criterion, known.value) or math.isnan(known.value)):
                continue
            self.kept[criterion] = Best(epoch, value, scores["val_miou"])
            if trainer.is_global_zero:
                self.callback.save_best(network, criterion, self.kept)

    def _validate(self, trainer: Trainer, network: nn.Module, device: torch.device, epoch: int) -> dict[str, float]:
        if trainer.world_size > 1:  # every process evaluates the network that the first one saves
            for buffer in network.buffers():
                torch.distributed.broadcast(buffer, 0)
        counts = self.callback.validate(network, epoch, Worker(trainer.global_rank, trainer.world_size))
        if trainer.world_size > 1:
            totals = {name: torch.from_numpy(array).to(device) for name, array in counts.items()}
            for total in totals.values():
                torch.distributed.all_reduce(total)
            counts = {name: total.cpu().numpy() for name, total in totals.items()}
        return self.callback.score(counts)

    def state_dict(self) -> dict[str, Any]:
        kept = {name: [best.epoch, best.value, best.val_miou] for name, best in self.kept.items()}
        self._count_seconds()
        return {"kept": kept, "seconds": self.seconds, "miou": self.miou}

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self.seconds, self._started = self.seconds + now - self._started, now

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.kept = {name: Best(*values) for name, values in state_dict["kept"].items()}
        self.seconds = state_dict["seconds"]
        self.miou = state_dict.get("miou", math.nan)


class Stop(Callback):
    """End the training when a rule says so; it stays ended when it is resumed, unless its rules have changed. Or pause
    it after an epoch, from where it can be resumed."""

    def __init__(self, rules: StopRules, end: EpochEnd, until_epoch: int | None = None) -> None:
        self.rules, self.end, self.until_epoch = rules, end, until_epoch
        self.why: str | None = None
        self.paused = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._judge(trainer, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # After `EpochEnd`, which stands before it among the callbacks and has validated.
        self._judge(trainer, trainer.current_epoch + 1)

    def _judge(self, trainer: Trainer, epochs: int) -> None:
        best = self.end.best
        self.why = self.rules.why(epochs, self.end.miou, best.epoch if best else 0)
        until, last = self.until_epoch, trainer.max_epochs or epochs
        self.paused = self.why is None and until is not None and until <= epochs < last
        trainer.should_stop = trainer.should_stop or self.paused or self.why is not None
