"""The training loop: Lightning with the schedules and early stopping of the papers, resumed after the last epoch."""

from __future__ import annotations

import io
import logging
import math
import pickle
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from cristae.allocator import keep_large_buffers
from cristae.data.files import write_bytes
from cristae.errors import RunError, TrainingError
from cristae.progress import Progress, Task
from cristae.training.averaging import AveragedWeights
from cristae.training.feed import PatchFeed, Worker
from cristae.training.layout import put_channels_last
from cristae.training.module import StepConfig, TrainingModule
from cristae.training.stopping import StopRules

LAST = "last.ckpt"


class TrainingCallback(Protocol):
    """What the caller does after each epoch."""

    def validate(self, network: nn.Module, worker: Worker) -> np.ndarray:
        """Counts (T, K, K) of truth and prediction over this process's part of the validation data: one table for
        exclusive classes, one 2 x 2 table for each overlapping class."""

    def score(self, counts: np.ndarray) -> dict[str, float]:
        """Scores of the counts of all processes, with at least `val_miou`."""

    def save_best(self, network: nn.Module, epoch: int) -> None:
        """Save the weights, which are the best so far. Called in the first process only."""

    def log_epoch(self, row: dict[str, float]) -> None:
        """Keep the figures of an epoch. Called in the first process only."""


@dataclass(frozen=True)
class FitResult:
    """What came of the training loop."""

    best_epoch: int
    """From 1."""
    best_val_miou: float
    seconds: float
    """Spent in epochs, over all sessions."""
    stopped: str | None = None
    """Why it ended before its last epoch, in words."""


class _EndOfEpoch(Callback):
    """Validate, update the schedule, save the best weights, log the epoch."""

    def __init__(self, callback: TrainingCallback, averaged: AveragedWeights | None) -> None:
        self.callback, self.averaged = callback, averaged
        self.best = math.nan
        self.best_epoch = 0
        self.score = math.nan
        self.seconds = 0.0
        self._started = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        epoch = trainer.current_epoch + 1
        row = {
            "epoch": epoch,
            "step": trainer.global_step,
            "train_loss": _mean_loss(pl_module),
            "learning_rate": pl_module.rate.at(max(trainer.global_step - 1, 0)),
        }
        network = pl_module.network if self.averaged is None else self.averaged.network
        scores = self._validate(trainer, pl_module.device, network)
        self.score = score = scores["val_miou"]
        pl_module.rate.observe(score)
        if not self.best_epoch or score > self.best or math.isnan(self.best):
            self.best, self.best_epoch = score, epoch
            if trainer.is_global_zero:
                self.callback.save_best(network, epoch)
        self.seconds += time.monotonic() - self._started
        if trainer.is_global_zero:
            self.callback.log_epoch(row | scores | {"seconds": self.seconds})

    def _validate(self, trainer: Trainer, device: torch.device, network: nn.Module) -> dict[str, float]:
        if trainer.world_size > 1:  # every process evaluates the network that the first one saves
            for buffer in network.buffers():
                torch.distributed.broadcast(buffer, 0)
        counts = self.callback.validate(network, Worker(trainer.global_rank, trainer.world_size))
        if trainer.world_size > 1:
            total = torch.from_numpy(counts).to(device)
            torch.distributed.all_reduce(total)
            counts = total.cpu().numpy()
        return self.callback.score(counts)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]
        self.seconds = state_dict["seconds"]


class _Stop(Callback):
    """End the training when a rule says so; it stays ended when it is resumed."""

    def __init__(self, rules: StopRules, end: _EndOfEpoch) -> None:
        self.rules, self.end = rules, end
        self.why: str | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.why is not None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # After `_EndOfEpoch`, which stands before it among the callbacks and has validated.
        self.why = self.rules.why(trainer.current_epoch + 1, self.end.score, self.end.best_epoch)
        trainer.should_stop = trainer.should_stop or self.why is not None

    def state_dict(self) -> dict[str, Any]:
        return {"why": self.why}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.why = state_dict["why"]


class _Show(Callback):
    """Progress by batches."""

    def __init__(self, progress: Progress, end: _EndOfEpoch) -> None:
        self._progress, self._end = progress, end
        self._context: Any = None
        self._task = Task()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        total = int(trainer.num_training_batches) * int(trainer.max_epochs or 1)
        done = trainer.global_step * trainer.accumulate_grad_batches
        self._context = self._progress.task("Training", total, unit="batches", done=done)
        self._task = self._context.__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Looking at the loss of a GPU makes the processor wait for it.
        loss = float(outputs["loss"]) if batch_idx % (1 if pl_module.device.type == "cpu" else 20) == 0 else None
        note = f"epoch {trainer.current_epoch + 1}, loss {loss:.4f}" if loss is not None else ""
        if note and self._end.best_epoch:
            note += f", best validation mIoU {self._end.best:.4f}"
        self._task.advance(note=note)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # After `_EndOfEpoch`, which stands before it among the callbacks and has validated.
        end = self._end
        note = f"epoch {trainer.current_epoch + 1}, validation mIoU {end.score:.4f}, best {end.best:.4f}"
        self._task.advance(0, note=f"{note} in epoch {end.best_epoch}")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._context is not None:
            self._context.__exit__(None, None, None)
            self._context = None


def fit(
    network: nn.Module,
    step: StepConfig,
    feed: PatchFeed,
    *,
    callback: TrainingCallback,
    folder: Path,
    progress: Progress,
) -> FitResult:
    """Train `network` in place, from the start or from `last.ckpt` in `folder`.

    With `devices` above 1 this is one of the processes of `run_processes`.

    Raises:
        TrainingError: The loss is not finite.
        KeyboardInterrupt: Ctrl-C; the last finished epoch is on disk.
    """
    config = step.config
    rate = config.rates(feed.updates)
    put_channels_last(network)
    module = TrainingModule(network, step, feed, rate)
    averaged = AveragedWeights(network, config.ema_decay) if config.ema_decay else None
    end = _EndOfEpoch(callback, averaged)
    stop = _Stop(StopRules(config.early_stop_patience, config.give_up), end)
    last = ModelCheckpoint(
        folder, filename=LAST.removesuffix(".ckpt"), save_on_train_epoch_end=True, enable_version_counter=False
    )
    with _quiet():
        averaging = [] if averaged is None else [averaged]
        trainer = _trainer(step, [*averaging, end, stop, _Show(progress, end), last], folder)
        if step.device.type == "cpu":
            keep_large_buffers()
        start = folder / LAST
        try:
            trainer.fit(module, feed, ckpt_path=start if start.exists() else None, weights_only=True)
        except SystemExit as error:  # how Lightning ends after Ctrl-C
            raise KeyboardInterrupt from error
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                "the device is out of memory; lower training.batch_size or the patch size, or train with precision "
                "bf16. The last finished epoch is kept."
            ) from error
    if trainer.interrupted:
        raise KeyboardInterrupt
    if stop.why is not None and trainer.is_global_zero:
        progress.say(stop.why)
    return FitResult(end.best_epoch, end.best, end.seconds, stop.why)


def _trainer(step: StepConfig, callbacks: list[Callback], folder: Path) -> Trainer:
    config, device = step.config, step.device.type
    return Trainer(
        max_epochs=config.epochs,
        accelerator={"cuda": "gpu"}.get(device, device),
        devices=config.devices,
        strategy="ddp" if config.devices > 1 else "auto",
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
        gradient_clip_val=config.gradient_clip,
        accumulate_grad_batches=config.accumulate,
        callbacks=callbacks,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        deterministic="warn",
        use_distributed_sampler=False,
        sync_batchnorm=config.devices > 1 and device == "cuda",
        # Named, so that a cluster's variables around the process do not count.
        plugins=[_AtomicCheckpoints(), *([LightningEnvironment()] if config.devices > 1 else [])],
    )


class _AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_bytes(Path(path), content.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        try:
            checkpoint: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            raise RunError(
                f"{path}: the checkpoint is damaged; remove it to train again from the start. The best weights so far "
                f"are beside it. ({type(error).__name__})"
            ) from None
        return checkpoint


def _mean_loss(module: TrainingModule) -> float:
    mean = float(module.loss_sum) / max(len(module.feed), 1)
    if not np.isfinite(mean):
        raise TrainingError(
            f"the loss became {mean} in epoch {module.current_epoch + 1}; lower training.learning_rate or set "
            "training.gradient_clip: 1.0. The last finished epoch is kept."
        )
    return mean


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's own remarks are for programmers; ours are for users. What it sets for all of torch ends with it."""
    deterministic, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            # Runs repeat bit by bit on a CPU, where the operations it names do so; elsewhere nothing is promised.
            warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
