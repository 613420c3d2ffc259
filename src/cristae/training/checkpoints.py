"""Checkpoints: whole or not at all, in time, and only continued by the training that wrote them."""

from __future__ import annotations

import io
import pickle
import time
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer

from cristae.data.files import write_bytes
from cristae.errors import RunError
from cristae.training.config import TrainingConfig, without_later_fields
from cristae.training.guard import LOOK_EVERY
from cristae.training.interruption import Interruption
from cristae.training.module import TrainingModule
from cristae.training.nonfinite import NonfiniteReport, at_update

LAST = "last.ckpt"
_FORMAT = 2
"""Of checkpoints; another number is refused. 1, which was not written down, knew whole epochs alone."""
_MAY_DIFFER = {"epochs", "reader_threads", "checkpoint_minutes", "start_from", "give_up", "early_stop_patience"}
"""Training settings that a continued training may have otherwise; where it started from, the checkpoint replaces."""


def settings_of(config: TrainingConfig, batches: int, seed: int) -> dict[str, str]:
    """What must be the same where a checkpoint is continued, as text by name."""
    fields = without_later_fields(config.model_dump(mode="json", exclude=_MAY_DIFFER))
    settings = {f"training.{name}": str(value) for name, value in fields.items()}
    return settings | {"batches of an epoch": str(batches), "seed": str(seed)}


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all, with a format number and the settings they belong to."""

    def __init__(self, settings: dict[str, str]) -> None:
        super().__init__()
        self._settings = settings

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint | {"cristae": {"format": _FORMAT, "settings": self._settings}}, content)
        write_bytes(Path(path), content.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        try:
            checkpoint: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            raise RunError(
                f"{path}: the checkpoint is damaged; remove it to train again from the start. The best weights so far "
                f"are beside it. ({type(error).__name__})"
            ) from None
        self._require_own(path, checkpoint)
        return checkpoint

    def _require_own(self, path: Any, checkpoint: dict[str, Any]) -> None:
        facts = checkpoint.get("cristae", {})
        if facts.get("format") != _FORMAT:
            raise RunError(
                f"{path}: the checkpoint was written by another version of Cristae (format "
                f"{facts.get('format', 1)}, this one reads {_FORMAT}); finish the training with that version, or "
                "remove the file to train again from the start. The best weights so far are beside it."
            )
        there = facts["settings"]
        names = dict.fromkeys([*there, *self._settings])
        changed = [
            f"{name}: {there.get(name, 'none')}, now {self._settings.get(name, 'none')}"
            for name in names
            if there.get(name) != self._settings.get(name)
        ]
        if changed:
            raise RunError(
                f"{path}: the checkpoint belongs to a training of other settings ({'; '.join(changed)}); set these "
                "back, or remove the file to train again from the start"
            )


class TimedCheckpoints(Callback):
    """Writes a checkpoint between two updates when it is time, or when the training was asked to stop."""

    def __init__(self, path: Path, minutes: float, report: NonfiniteReport, interruption: Interruption) -> None:
        self._path, self._seconds = path, 60 * minutes
        self._report, self._interruption = report, interruption
        self._written = time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._written = time.monotonic()  # the epoch before has ended with one
        if trainer.strategy.broadcast(self._interruption.asked):
            raise KeyboardInterrupt

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        # After the last batch of an epoch comes its validation, and then the checkpoint of the whole epoch.
        if pl_module.feed.done == len(pl_module.feed) or not at_update(trainer, pl_module):
            return
        due, asked = self._agreed(trainer, pl_module)
        if not due and not asked:
            return
        self._report.read(trainer, pl_module)  # nothing that is not finite is ever continued from
        trainer.save_checkpoint(self._path)
        self._written = time.monotonic()
        if asked:
            raise KeyboardInterrupt

    def _agreed(self, trainer: Trainer, module: TrainingModule) -> tuple[bool, bool]:
        """Whether it is time, and whether to stop, as the first of all processes says; asking it takes a while, so it
        is not always done."""
        wanted = time.monotonic() - self._written >= self._seconds, self._interruption.asked
        if trainer.world_size == 1:
            return wanted
        if module.feed.done % LOOK_EVERY >= trainer.accumulate_grad_batches:
            return False, False
        due, asked = trainer.strategy.broadcast(wanted)
        return bool(due), bool(asked)
