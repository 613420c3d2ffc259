"""Learning rates as plain functions of the update and of the validation scores seen so far."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cristae.training.config import Cosine, KerasDecay, Schedule


@dataclass
class LearningRate:
    """The rate of every update. Its few numbers are its whole state, so a resumed run continues exactly.

    `keras`: base / (1 + decay * k) at update k = 0, 1, ...; base starts at the initial rate and is multiplied by the
    plateau factor when validation mIoU has not improved for `patience` epochs. The two compose (SegET, section 5 of the
    paper's settings). `cosine`: a linear rise, then half a cosine to zero at the last update.
    """

    schedule: Schedule
    initial: float
    total_updates: int
    reductions: int = 0
    best: float = -math.inf
    waited: int = 0

    def at(self, update: int) -> float:
        """The learning rate of update `update`, the first being 0."""
        if isinstance(self.schedule, Cosine):
            return self._cosine(self.schedule, update)
        base = self.initial * self.schedule.plateau_factor**self.reductions
        return base / (1 + self.schedule.decay * update)

    def _cosine(self, schedule: Cosine, update: int) -> float:
        warmup = min(schedule.warmup_updates, self.total_updates // 2)
        if update < warmup:
            return self.initial * (update + 1) / warmup
        done = (update - warmup) / max(self.total_updates - warmup, 1)
        return self.initial * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def observe(self, score: float) -> None:
        """Record the validation mIoU of an epoch; NaN counts as no improvement."""
        if score > self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        schedule = self.schedule
        if isinstance(schedule, KerasDecay) and schedule.plateau_patience and self.waited >= schedule.plateau_patience:
            self.reductions, self.waited = self.reductions + 1, 0

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"reductions": self.reductions, "best": self.best, "waited": self.waited}

    def restore(self, state: dict[str, float]) -> None:
        """Continue from `state`."""
        self.reductions, self.best, self.waited = int(state["reductions"]), float(state["best"]), int(state["waited"])
