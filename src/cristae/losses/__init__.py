"""Losses: each a config with `build(classes)`, called with logits, target, valid and weight."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cristae.losses.cross_entropy_dice import CrossEntropyDice
from cristae.losses.dense_cell import DenseCellLoss
from cristae.losses.form import LossConfig
from cristae.losses.heads import require_head_weights, with_heads
from cristae.losses.kernel_l2 import kernel_l2
from cristae.losses.seget import SegETLoss

Loss = Annotated[CrossEntropyDice | DenseCellLoss | SegETLoss, Field(discriminator="name")]
"""Any loss, told apart by `name`."""

__all__ = [
    "CrossEntropyDice",
    "DenseCellLoss",
    "Loss",
    "LossConfig",
    "SegETLoss",
    "kernel_l2",
    "require_head_weights",
    "with_heads",
]
