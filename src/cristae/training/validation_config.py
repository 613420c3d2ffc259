"""How a network is judged after each epoch, and by which numbers its best weights are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt

from cristae.config import Config

Criterion = Literal["loss", "accuracy", "auc_roc", "f1", "miou"]
"""What an epoch is judged by; each is the column `val_<criterion>` of metrics.csv."""

CRITERION_NAMES: Mapping[Criterion, str] = {
    "loss": "loss",
    "accuracy": "accuracy",
    "auc_roc": "AUC-ROC",
    "f1": "F1",
    "miou": "mIoU",
}
"""As messages and pages call them."""

SMALLER_IS_BETTER: frozenset[Criterion] = frozenset({"loss"})


def _distinct(criteria: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
    if len(set(criteria)) != len(criteria):
        raise ValueError("a criterion is named twice")
    return criteria


Criteria = Annotated[tuple[Criterion, ...], Field(min_length=1), AfterValidator(_distinct)]


class WholeValidation(Config):
    """Every annotated voxel of the validation regions, predicted as the run will predict; the loss on patches that
    tile them."""

    name: Literal["whole"] = "whole"


class PatchValidation(Config):
    """Patches that the recipe's own sampling draws from the validation regions: a noisy sample, as published.

    Meyer et al. (2021), https://github.com/Cyril-Meyer/NeNISt: 64 batches with augmentation; EM-stellar (Khadangi et
    al. 2021), https://doi.org/10.1016/j.patter.2020.100143: 15.
    """

    name: Literal["patches"] = "patches"
    batches: PositiveInt = 64
    """Batches of training.batch_size patches after each epoch; which patches follows from the seed and the epoch."""
    augment: bool = True
    """Whether they are augmented as in training."""


ValidationConfig = Annotated[PatchValidation | WholeValidation, Field(discriminator="name")]


def merit(criterion: Criterion, value: float) -> float:
    """The value as a number of which more is better."""
    return -value if criterion in SMALLER_IS_BETTER else value
