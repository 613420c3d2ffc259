"""How a network is validated after each epoch: on whole slices, or on a sample of patches as published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cristae.data.classes import Classes
from cristae.evaluation.validation import Validation
from cristae.inference.ensemble import plan_ensemble
from cristae.inference.labels import labels_of
from cristae.training.epoch_counts import EpochCounts
from cristae.training.epoch_end import Counts
from cristae.training.feed import Worker
from cristae.training.held_out import HeldOut

if TYPE_CHECKING:
    from torch import nn


class EpochValidation(Protocol):
    """Counts what `scores_of_epoch` makes scores of."""

    def counts(self, network: nn.Module, epoch: int, worker: Worker) -> Counts:
        """Over this process's part of the validation data, after epoch `epoch` (from 1)."""


@dataclass(frozen=True, eq=False)
class WholeSlices:
    """Every annotated voxel once, predicted as the run will predict; the loss on patches that tile the regions."""

    validation: Validation
    tiles: HeldOut

    def counts(self, network: nn.Module, epoch: int, worker: Worker) -> Counts:
        """See `EpochValidation`. Batches of tiles count by their voxels that do."""
        found = EpochCounts(self.validation.classes)
        self.validation.count_into(found, network, worker)
        for one in self.tiles.judged(network, epoch, worker):
            found.add_loss(one.loss, one.valid.sum())
        return found.arrays()


@dataclass(frozen=True, eq=False)
class SampledPatches:
    """All criteria from patches that the recipe's sampling draws: noisy, and not how the run will predict."""

    patches: HeldOut
    classes: Classes
    threshold: float

    def counts(self, network: nn.Module, epoch: int, worker: Worker) -> Counts:
        """See `EpochValidation`. Every batch's loss counts alike."""
        found, ensemble = EpochCounts(self.classes), plan_ensemble([self.classes])
        for one in self.patches.judged(network, epoch, worker):
            probabilities = one.probabilities(self.classes)
            labels = labels_of(probabilities, ensemble, self.threshold)
            found.add(one.truth(self.classes), probabilities, labels, one.valid)
            found.add_loss(one.loss)
        return found.arrays()
