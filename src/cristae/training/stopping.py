"""When a training ends before its last epoch."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import NonNegativeInt

from cristae.config import Config
from cristae.training.schedule import Fraction


class GiveUp(Config):
    """End a training that does not get off the ground (Guay et al. 2021: below 0.3 after 10 epochs)."""

    below: Fraction = 0.3
    """The validation mIoU that is too low."""
    after_epochs: NonNegativeInt = 10
    """Epochs that any training is given; from the next one on, each must reach `below`."""

    def holds(self, score: float, epoch: int) -> bool:
        """Whether the score of an epoch, counted from 0, is too low; NaN is not."""
        return score < self.below and epoch >= self.after_epochs


@dataclass(frozen=True)
class StopRules:
    """The rules of a training."""

    patience: int | None
    """Epochs without a better one that end it."""
    give_up: GiveUp | None

    def why(self, epoch: int, score: float, best_epoch: int) -> str | None:
        """Why the training ends after this epoch, in words; None where it goes on.

        Args:
            epoch: The epoch that is done, counted from 1.
            score: Its validation mIoU.
            best_epoch: The best epoch so far by the first criterion, counted from 1; 0 for none.
        """
        if self.give_up is not None and self.give_up.holds(score, epoch - 1):
            return (
                f"gave up: validation mIoU {score:.4f} in epoch {epoch} is below {self.give_up.below:g} "
                "(training.give_up)"
            )
        if self.patience and best_epoch and epoch - best_epoch >= self.patience:
            return (
                f"stopped early: no epoch after epoch {best_epoch} was better, {epoch - best_epoch} in a row "
                "(training.early_stop_patience)"
            )
        return None
