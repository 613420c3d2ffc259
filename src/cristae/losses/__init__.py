"""Losses: each a config with `build(classes)`, called with logits, target, valid and weight."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cristae.losses.auxiliary import require_auxiliary_weights, with_auxiliary_outputs
from cristae.losses.cross_entropy import BinaryCrossEntropy, CrossEntropy
from cristae.losses.cross_entropy_dice import CrossEntropyDice
from cristae.losses.dense_cell import DenseCellLoss
from cristae.losses.dice import Dice
from cristae.losses.form import LossConfig
from cristae.losses.jaccard_distance import JaccardDistance
from cristae.losses.kernel_l2 import kernel_l2
from cristae.losses.seget import SegETLoss
from cristae.losses.sum import SumLoss, Term
from cristae.losses.term import LossTerm
from cristae.losses.voxels import Voxels

Loss = Annotated[CrossEntropyDice | DenseCellLoss | SegETLoss | SumLoss, Field(discriminator="name")]
"""Any loss, discriminated by `name`."""

__all__ = [
    "BinaryCrossEntropy",
    "CrossEntropy",
    "CrossEntropyDice",
    "DenseCellLoss",
    "Dice",
    "JaccardDistance",
    "Loss",
    "LossConfig",
    "LossTerm",
    "SegETLoss",
    "SumLoss",
    "Term",
    "Voxels",
    "kernel_l2",
    "require_auxiliary_weights",
    "with_auxiliary_outputs",
]
