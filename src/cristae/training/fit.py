"""The training loop: Lightning with the schedules, criteria and early stopping of the papers, resumed at any batch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from cristae.allocator import keep_large_buffers
from cristae.errors import TrainingError
from cristae.progress import Progress, Task
from cristae.training.averaging import EpochAverages, averages_of
from cristae.training.checkpoints import LAST, AtomicCheckpoints, TimedCheckpoints, settings_of
from cristae.training.epoch_end import Best, EpochEnd, Stop, TrainingCallback
from cristae.training.feed import PatchFeed
from cristae.training.interruption import Interruption
from cristae.training.layout import put_channels_last
from cristae.training.module import StepConfig, TrainingModule
from cristae.training.nonfinite import NonfiniteReport
from cristae.training.stopping import StopRules
from cristae.training.validation_config import CRITERION_NAMES, Criterion


@dataclass(frozen=True)
class FitResult:
    """What came of the training loop."""

    kept: Mapping[Criterion, Best]
    """The best epoch by each criterion of the recipe."""
    seconds: float
    """Spent in epochs, over all sessions."""
    stopped: str | None = None
    """Why it ended before its last epoch, in words."""
    paused: bool = False
    """Whether there are epochs left, which it was not to train now."""


class _Show(Callback):
    """Progress by batches."""

    def __init__(self, progress: Progress, end: EpochEnd) -> None:
        self._progress, self._end = progress, end
        self._context: Any = None
        self._task = Task()
        self._name = CRITERION_NAMES[end.criteria[0]]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        total = int(trainer.num_training_batches) * int(trainer.max_epochs or 1)
        self._context = self._progress.task(
            "Training", total, unit="batches", done=trainer.fit_loop.total_batch_idx + 1
        )
        self._task = self._context.__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Looking at the loss of a GPU makes the processor wait for it.
        loss = float(outputs["loss"]) if batch_idx % (1 if pl_module.device.type == "cpu" else 20) == 0 else None
        note = f"epoch {trainer.current_epoch + 1}, loss {loss:.4f}" if loss is not None else ""
        if note and self._end.best:
            note += f", best validation {self._name} {self._end.best.value:.4f}"
        self._task.advance(note=note)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # After `EpochEnd`, which stands before it among the callbacks and has validated.
        end = self._end
        note = f"epoch {trainer.current_epoch + 1}, validation {self._name} {end.score:.4f}"
        if end.best:
            note += f", best {end.best.value:.4f} in epoch {end.best.epoch}"
        self._task.advance(0, note=note)

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
    until_epoch: int | None = None,
) -> FitResult:
    """Train `network` in place, from the start or from `last.ckpt` in `folder`, to the end or until an epoch is done.

    With `devices` above 1 this is one of the processes of `run_processes`.

    Raises:
        TrainingError: The loss or a gradient is not finite, or the device is out of memory.
        RunError: The checkpoint is damaged, of another version, or of other settings.
        KeyboardInterrupt: Ctrl-C; a checkpoint is on disk.
    """
    config = step.config
    rate = config.rates(feed.updates)
    put_channels_last(network)
    module = TrainingModule(network, step, feed, rate)
    averaged = averages_of(network, config)
    report = NonfiniteReport(folder, progress)
    end = EpochEnd(callback, config.criteria, averaged, report)
    stop = Stop(StopRules(config.early_stop_patience, config.give_up), end, until_epoch)
    interruption = Interruption(progress)
    start = folder / LAST
    callbacks: list[Callback] = [
        *([] if averaged is None else [averaged]),  # before whatever looks at the averages
        report,
        end,
        stop,
        _Show(progress, end),
        TimedCheckpoints(start, config.checkpoint_minutes, report, interruption),
        ModelCheckpoint(folder, filename=start.stem, save_on_train_epoch_end=True, enable_version_counter=False),
    ]
    with _quiet(), interruption.noted():
        trainer = _trainer(step, callbacks, folder, settings_of(config, len(feed), step.seed))
        if step.device.type == "cpu":
            keep_large_buffers()
        try:
            trainer.fit(module, feed, ckpt_path=start if start.exists() else None, weights_only=True)
        except SystemExit as error:  # how Lightning ends after Ctrl-C
            raise KeyboardInterrupt from error
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                "the device is out of memory; lower training.batch_size or the patch size, or train with precision "
                "bf16. The last checkpoint is kept."
            ) from error
    if trainer.interrupted or interruption.asked:  # or asked after the last batch, so that all epochs are done
        raise KeyboardInterrupt
    if stop.why is not None and trainer.is_global_zero:
        progress.say(stop.why)
        if isinstance(averaged, EpochAverages) and averaged.judged(network) is network:
            progress.warn("training.swa: the training ended before from_epoch, so the weights are no average")
    return FitResult(end.kept, end.seconds, stop.why, stop.paused)


def _trainer(step: StepConfig, callbacks: list[Callback], folder: Path, settings: dict[str, str]) -> Trainer:
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
        plugins=[AtomicCheckpoints(settings), *([LightningEnvironment()] if config.devices > 1 else [])],
    )


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
