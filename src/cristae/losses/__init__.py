"""Losses: each a config with `build(classes)`, called with logits, target, valid and weight."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import BeforeValidator, Field

from cristae.losses.affinity import Affinity
from cristae.losses.auxiliary import require_auxiliary_weights, with_auxiliary_outputs
from cristae.losses.boundary import Boundary, BoundaryAware
from cristae.losses.cl_dice import ClDice
from cristae.losses.cross_entropy import BinaryCrossEntropy, CrossEntropy
from cristae.losses.cross_entropy_dice import CrossEntropyDice
from cristae.losses.dense_cell import DenseCellLoss
from cristae.losses.dice import Dice, PrintedDice, WeightedDice
from cristae.losses.error import AbsoluteError, SquaredError
from cristae.losses.focal import Focal
from cristae.losses.form import LossConfig
from cristae.losses.jaccard_distance import JaccardDistance
from cristae.losses.jaccard_log import JaccardLog
from cristae.losses.kernel_l2 import kernel_l2
from cristae.losses.seget import SegETLoss
from cristae.losses.sum import SumLoss, Term
from cristae.losses.term import LossTerm
from cristae.losses.tversky import Tversky
from cristae.losses.voxels import Voxels


def _no_lone_term(value: object) -> object:
    name = value.get("name") if isinstance(value, dict) else None
    if name in {term.model_fields["name"].default for term in get_args(get_args(Term)[0])}:
        raise ValueError(f"'{name}' is a term; write {{name: sum, terms: [{{name: {name}}}]}}")
    return value


Loss = Annotated[
    CrossEntropyDice | DenseCellLoss | SegETLoss | SumLoss,
    Field(discriminator="name"),
    BeforeValidator(_no_lone_term),
]
"""Any loss, discriminated by `name`."""

__all__ = [
    "AbsoluteError",
    "Affinity",
    "BinaryCrossEntropy",
    "Boundary",
    "BoundaryAware",
    "ClDice",
    "CrossEntropy",
    "CrossEntropyDice",
    "DenseCellLoss",
    "Dice",
    "Focal",
    "JaccardDistance",
    "JaccardLog",
    "Loss",
    "LossConfig",
    "LossTerm",
    "PrintedDice",
    "SegETLoss",
    "SquaredError",
    "SumLoss",
    "Term",
    "Tversky",
    "Voxels",
    "WeightedDice",
    "kernel_l2",
    "require_auxiliary_weights",
    "with_auxiliary_outputs",
]
