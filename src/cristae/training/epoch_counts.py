"""What validation counts after an epoch, where the predictions are.

Counts are arrays by name that add up over blocks, patches and processes: `tables` (T, K, K) of true and predicted
class, `ranks` (F, 2, B) of truth and probability for each foreground class, `loss` (2,) the weighted sum of losses and
of their weights.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cristae.data.classes import Classes
from cristae.training.counts import count_on_device
from cristae.training.epoch_end import Counts
from cristae.training.rank_counts import BINS, rank_counts


class EpochCounts:
    """Counts that grow as blocks and patches are predicted."""

    def __init__(self, classes: Classes) -> None:
        size = len(classes.names) if classes.exclusive else 2
        self._classes = classes
        self._tables = np.zeros((1 if classes.exclusive else len(classes.names), size, size), np.int64)
        self._ranks = np.zeros((len(classes.foreground), 2, BINS), np.int64)
        self._losses: list[tuple[Tensor, Tensor]] = []

    def add(self, truth: Tensor, probabilities: Tensor, labels: Tensor, valid: Tensor | None) -> None:
        """Count voxels, where they are.

        Args:
            truth: uint8 (1, *S) of ids, or (K, *S) masks of overlapping classes.
            probabilities: float (C, *S), as many as the classes have logits.
            labels: As `truth`, decided from the probabilities.
            valid: bool (*S), False where a voxel does not count; None where all do.
        """
        size = self._tables.shape[-1]
        for table, true, found in zip(self._tables, truth, labels, strict=True):
            table += count_on_device(true, found, size, valid).counts
        classes = self._classes
        for number, class_id in enumerate(classes.foreground_ids):
            true = truth[0] == class_id if classes.exclusive else truth[number]
            channel = class_id if classes.softmax else number
            self._ranks[number] += rank_counts(true, probabilities[channel], valid)

    def add_loss(self, loss: Tensor, weight: Tensor | float = 1.0) -> None:
        """A loss and how much it counts; both stay on the device for now."""
        self._losses.append((loss, torch.as_tensor(weight, dtype=torch.float32, device=loss.device)))

    def arrays(self) -> Counts:
        """What adds up over processes."""
        losses = np.zeros((0, 2))
        if self._losses:
            losses = torch.stack([torch.stack(pair) for pair in self._losses]).cpu().numpy().astype(np.float64)
        total = np.array([(losses[:, 0] * losses[:, 1]).sum(), losses[:, 1].sum()])
        return {"tables": self._tables, "ranks": self._ranks, "loss": total}
