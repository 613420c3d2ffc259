"""What is said, saved and counted of updates whose loss or gradient was not finite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from cristae.augment import Batch
from cristae.data.files import write_bytes
from cristae.errors import TrainingError
from cristae.progress import Progress
from cristae.training.guard import BAD_LOSS, LOOK_EVERY
from cristae.training.module import TrainingModule, ready_batch

FOLDER = "nonfinite"
_MOST_IN_A_ROW = 20
"""Updates without a finite loss and gradient one after the other that end a training which skips them."""
_MOST_FILES = 5
"""Batches that are saved of one epoch."""
_KEPT = "The last checkpoint, if there is one yet, is kept."


class NonfiniteReport(Callback):
    """Reads the guard's notes now and then, and at the latest before anything is made of the weights."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._folder, self._progress = folder / FOLDER, progress
        self._seen = 0
        self.skipped = 0
        """Updates of this epoch that were undone."""
        self._in_a_row = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._seen = self.skipped = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        done = pl_module.feed.done
        due = not pl_module.guard.waits or done % LOOK_EVERY < trainer.accumulate_grad_batches
        if due and at_update(trainer, pl_module):
            self.read(trainer, pl_module)

    def read(self, trainer: Trainer, module: TrainingModule) -> None:
        """Report what the guard has noted since the last look.

        Raises:
            TrainingError: An update was bad and the recipe says stop, or too many in a row were.
        """
        done, step = module.feed.done, trainer.accumulate_grad_batches
        notes = module.guard.notes[self._seen : done].tolist()
        for first in range(0, len(notes), step):
            bad = [self._seen + first + place for place, note in enumerate(notes[first : first + step]) if note]
            self._in_a_row = self._in_a_row + 1 if bad else 0
            if bad:
                self._report(trainer, module, bad, "loss" if BAD_LOSS in notes[first : first + step] else "gradient")
        self._seen = done

    def _report(self, trainer: Trainer, module: TrainingModule, numbers: Sequence[int], what: str) -> None:
        self.skipped += 1
        saved = self._save(trainer, module, numbers, what) if self.skipped <= _MOST_FILES else ()
        place = "; ".join(saved) if saved else f"batch {numbers[0] + 1}"
        epoch = module.current_epoch + 1
        if not module.guard.skip:
            raise TrainingError(
                f"the {what} is not finite (NaN or infinity) in epoch {epoch}: {place}. If the saved image, weight or "
                f"target looks wrong, correct the data; else {_cure(module)}, or leave such batches out with "
                f"training.nonfinite: skip. {_KEPT}"
            )
        if self._in_a_row >= _MOST_IN_A_ROW:
            raise TrainingError(
                f"{self._in_a_row} updates in a row had no finite loss and gradient, the last in epoch {epoch}: "
                f"{place}; {_cure(module)}. {_KEPT}"
            )
        if saved and trainer.is_global_zero:
            self._progress.warn(f"an update was skipped, because its {what} is not finite, in epoch {epoch}: {place}")

    def _save(self, trainer: Trainer, module: TrainingModule, numbers: Sequence[int], what: str) -> tuple[str, ...]:
        """Make the batches again, as every process can; the first one writes them. Gives where they came from."""
        texts = []
        for number in numbers:
            indices = module.feed.whole(number)
            (raw,) = module.feed.batches(module.feed.epoch, [indices])
            keys = module.keys(indices)
            batch = ready_batch(module.step, raw.to(module.device), keys)
            epoch = module.current_epoch + 1
            path = self._folder / f"epoch-{epoch:03}-batch-{number + 1:03}.safetensors"
            facts = _facts(batch, keys) | {"epoch": epoch, "batch": number + 1, "not_finite": what}
            if trainer.is_global_zero:
                _write(path, batch, facts)
            patches = "; ".join(f"{name} {box}" for name, box in zip(raw.volumes, raw.boxes, strict=True))
            wrong = f"; not finite in it: {', '.join(facts['not_finite_in'])}" if facts["not_finite_in"] else ""
            texts.append(f"batch {number + 1} (patches {patches}{wrong}), saved as {path}")
        return tuple(texts)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self._seen, "skipped": self.skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._seen, self.skipped = state_dict["seen"], state_dict["skipped"]
        self._in_a_row = state_dict["in_a_row"]


def _cure(module: TrainingModule) -> str:
    cures = "lower training.learning_rate, or set training.gradient_clip: 1.0"
    return f"{cures}, or train in fp32" if module.step.config.precision != "fp32" else cures


def at_update(trainer: Trainer, module: TrainingModule) -> bool:
    """Whether the batches so far make whole updates, so that nothing is accumulated."""
    done = module.feed.done
    return done % trainer.accumulate_grad_batches == 0 or done == len(module.feed)


def _facts(batch: Batch, keys: Sequence[Sequence[int]]) -> dict[str, Any]:
    tensors = _tensors(batch)
    return {
        "volumes": list(batch.volumes),
        "boxes": [str(box) for box in batch.boxes],
        "seeds": [list(key) for key in keys],
        "not_finite_in": [
            name for name, one in tensors.items() if one.is_floating_point() and not bool(torch.isfinite(one).all())
        ],
    }


def _tensors(batch: Batch) -> dict[str, torch.Tensor]:
    found = {"image": batch.image, "target": batch.target, "valid": batch.valid}
    if batch.weight is not None:
        found["weight"] = batch.weight
    return found | {f"further.{name}": one for name, one in batch.further.items()}


def _write(path: Path, batch: Batch, facts: dict[str, Any]) -> None:
    from safetensors.torch import save

    tensors = {name: one.detach().cpu().contiguous().clone() for name, one in _tensors(batch).items()}
    write_bytes(path, save(tensors, metadata={"facts": json.dumps(facts)}))
