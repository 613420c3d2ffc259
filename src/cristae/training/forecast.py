"""How long a training will take and how much memory it needs, from a few of its own steps."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import psutil
import torch
from torch import Tensor, nn

from cristae.allocator import hand_back_free_memory, keep_large_buffers
from cristae.errors import TrainingError
from cristae.training.feed import PatchFeed, Worker
from cristae.training.layout import channels_last, put_channels_last
from cristae.training.module import StepConfig, TrainingModule, patch_keys, ready_batch
from cristae.words import memory

_LEAST_STEPS, _MOST_STEPS, _LONG_ENOUGH_S = 3, 12, 10.0
_EVERY_S = 0.01
_QUICK_S = 10.0


@dataclass(frozen=True)
class Forecast:
    """What a training will take on this machine."""

    device: str
    cores: int
    epochs: int
    batches: int
    """Of an epoch."""
    seconds_per_batch: float
    validation_seconds: float
    """After each epoch."""
    peak_bytes: int
    """The most that the measured steps held: memory of the process, or of the GPU."""
    total_bytes: int
    """What the machine, or the GPU, has."""
    finite: bool
    """Whether the loss of every measured step was a finite number."""
    notes: tuple[str, ...] = ()
    """Where the estimate is rough."""

    @property
    def seconds(self) -> float:
        """All epochs, and the validation of the best weights at the end."""
        epoch = self.batches * self.seconds_per_batch + self.validation_seconds
        return self.epochs * epoch + self.validation_seconds

    @property
    def text(self) -> str:
        """For a person."""
        cores = f"cpu, {self.cores} core{'' if self.cores == 1 else 's'}"
        machine = cores if self.device == "cpu" else self.device
        share = round(100 * (self.epochs + 1) * self.validation_seconds / max(self.seconds, 1e-9))
        many = f"{self.epochs} epoch{'' if self.epochs == 1 else 's'} of {self.batches} batches"
        said = (
            f"about {_rounded(self.seconds)} for {many} on this machine ({machine}), {share} % of it validation; "
            f"peak memory {memory(self.peak_bytes)} of {memory(self.total_bytes)}"
        )
        return "; ".join([said, *self.notes])


@dataclass(frozen=True, eq=False)
class Validating:
    """A validation that can be done in parts."""

    validate: Callable[[nn.Module, Worker], object]
    """Validates the part of one of several processes."""
    pieces: int
    """Into how many parts it can be divided."""
    share: float = 1.0
    """Part of the validation data that all of them cover."""


def forecast(
    network: nn.Module,
    step: StepConfig,
    feed: PatchFeed,
    validation: Validating,
    *,
    notes: tuple[str, ...] = (),
    most_steps: int = _MOST_STEPS,
) -> Forecast:
    """Take some steps of a training and a piece of its validation; the network changes and is of no further use.

    Args:
        network: Of the recipe.
        step: What a step is.
        feed: Its patches.
        validation: What follows each epoch.
        notes: What else makes the estimate rough.
        most_steps: Steps that are taken, at least 3, of which the first is not counted.

    Raises:
        TrainingError: A step does not fit into the memory of the device.
    """
    config, device = step.config, step.device
    feed.worker = Worker(0, config.devices)
    put_channels_last(network)
    network.to(device).train()
    if device.type == "cpu":
        keep_large_buffers()  # as training does
        hand_back_free_memory()
    with _peak(device) as peak:
        try:
            seconds, finite = _time_steps(network, step, feed, most_steps)
            validating = _time_validation(network, validation, device)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            raise TrainingError(
                f"a step of the training does not fit into the memory of this machine ({device}); lower "
                "training.batch_size or sampling.size, or choose a smaller network"
            ) from error
    total = psutil.virtual_memory().total
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
    rough = [*notes]
    if config.early_stop_patience or config.give_up:
        rough.append("it may stop earlier")
    if config.devices > 1:
        rough.append(f"measured on one of {config.devices} devices, without what they tell each other")
    if config.compile:
        rough.append("measured without compiling, which makes the first step longer and the others shorter")
    return Forecast(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        epochs=config.epochs,
        batches=len(feed),
        seconds_per_batch=seconds,
        validation_seconds=validating / config.devices,
        peak_bytes=peak[0],
        total_bytes=int(total),
        finite=finite,
        notes=tuple(rough),
    )


def _time_steps(network: nn.Module, step: StepConfig, feed: PatchFeed, most_steps: int) -> tuple[float, bool]:
    """Seconds of a batch, reading included, and whether all losses were finite. The first batch warms up."""
    config, device = step.config, step.device
    module = TrainingModule(network, step, feed, config.rates(feed.updates)).to(device)
    optimizer, taken, finite = module.configure_optimizers(), list[float](), True
    epochs = [feed.indices(number % len(feed)) for number in range(most_steps)]
    began, batches = time.monotonic(), feed.batches(0, epochs)
    for number, (indices, raw) in enumerate(zip(epochs, batches, strict=True)):
        batch = ready_batch(step, raw.to(device), patch_keys(step.seed, 0, indices))
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            loss: Tensor = module.loss(
                network(channels_last(batch.image)), batch.target, batch.valid, batch.weight, batch.further
            )
            loss = loss + step.penalty(network)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        finite = finite and bool(loss.isfinite())  # waits for the device
        now = time.monotonic()
        taken.append(now - began)
        began = now
        if number + 1 >= _LEAST_STEPS and sum(taken) > _LONG_ENOUGH_S:
            break
    batches.close()
    return median(taken[1:]), finite


def _time_validation(network: nn.Module, validation: Validating, device: torch.device) -> float:
    """Seconds of a whole validation, of which one piece is done, or all where that is quick."""
    network.eval()
    seconds = 0.0
    for parts in dict.fromkeys((max(1, validation.pieces), 1)):
        began = time.monotonic()
        validation.validate(network, Worker(0, parts))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = (time.monotonic() - began) * parts
        if seconds > _QUICK_S:
            break
    return seconds / validation.share


@contextmanager
def _peak(device: torch.device) -> Iterator[list[int]]:
    """The most memory that is held meanwhile, in bytes: of the GPU where one is used, otherwise of the process."""
    most, done, process = [0], threading.Event(), psutil.Process()

    def look() -> None:
        while not done.wait(_EVERY_S):
            most[0] = max(most[0], process.memory_info().rss)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield most
        most[0] = int(torch.cuda.max_memory_reserved(device))
        return
    most[0] = process.memory_info().rss
    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


def _rounded(seconds: float) -> str:
    """A duration with no more digits than an estimate has."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{5 * round(minutes / 5) // 60} h {5 * round(minutes / 5) % 60:02d} min"
