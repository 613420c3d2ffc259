"""Weights by which rare classes count as much as common ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from cristae.targets.form import INVALID, LabelledPart, Statistics, TargetConfig, TargetMaps


class ClassBalance(TargetConfig):
    """Every voxel weighs as its class is rare in all training labels: the rarest class has the weight 1, plus a floor.

    Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0, the array W_cb and the floor w of W.
    """

    name: Literal["class_balance"] = "class_balance"
    floor: NonNegativeFloat = 0.01
    """Added to the weight of every voxel (the paper: 0.01), so that common classes are not forgotten."""

    def prepare(self, parts: Sequence[LabelledPart]) -> Statistics:
        """Voxels of each class in all training labels, and of all together: overlapping classes share some."""
        voxels = sum(int(np.count_nonzero(block[0] != INVALID)) for part in parts for block in part.label_blocks())
        return {"class_counts": np.sum([part.class_counts for part in parts], axis=0).tolist(), "voxels": voxels}

    def __call__(self, target: Tensor, valid: Tensor, statistics: Statistics) -> TargetMaps:
        """Weights floor + min N / N of the voxel's class, over the classes that occur; of a mask, its inside and its
        outside are the classes."""
        counts = np.asarray(statistics["class_counts"], np.float64)
        if target.ndim == valid.ndim:
            return TargetMaps(target, weight=_lookup(balanced(counts), target) + self.floor)
        masks = [balanced(np.array([statistics["voxels"] - inside, inside])) for inside in counts[1:]]
        weights = [_lookup(balance, target[:, k]) for k, balance in enumerate(masks)]
        return TargetMaps(target, weight=torch.stack(weights, dim=1) + self.floor)


class BatchBalance(TargetConfig):
    """Every voxel weighs as its class is rare in the batch: the rarest class in it has the weight 1.

    CDeep3M (Haberl et al. 2018), https://doi.org/10.1038/s41592-018-0106-z, as its fork of Caffe trains. Where several
    devices share a batch, each balances its own patches.
    """

    name: Literal["batch_balance"] = "batch_balance"

    def __call__(self, target: Tensor, valid: Tensor, statistics: Statistics) -> TargetMaps:
        """Weights min n / n of the voxel's class, counted over the valid voxels of the batch; of a mask, its inside and
        its outside are the classes."""
        if target.ndim == valid.ndim:
            return TargetMaps(target, weight=_of_batch(target, valid))
        weights = [_of_batch((target[:, k] != 0).byte(), valid) for k in range(target.shape[1])]
        return TargetMaps(target, weight=torch.stack(weights, dim=1))


def _of_batch(target: Tensor, valid: Tensor) -> Tensor:
    ids = torch.arange(256, device=target.device, dtype=torch.uint8)
    present = [int(k) for k in torch.unique(target[valid])]
    counts = np.zeros(len(ids))
    counts[present] = [int(torch.count_nonzero((target == k) & valid)) for k in present]
    return _lookup(balanced(counts), target)


def balanced(counts: np.ndarray) -> np.ndarray:
    """The weight min N / N of each class, over the classes that occur; 0 for those that do not."""
    occurs = counts > 0
    rarest = counts[occurs].min(initial=np.inf)
    balanced: np.ndarray = np.divide(rarest, counts, out=np.zeros(len(counts)), where=occurs)
    return balanced


def _lookup(weights: np.ndarray, ids: Tensor) -> Tensor:
    """The weight of every id; 0 for ids that stand for voxels which do not count."""
    table = torch.zeros(256, dtype=torch.float32)
    table[: min(256, len(weights))] = torch.from_numpy(weights[:256].astype(np.float32))
    return table.to(ids.device)[ids.long()]
