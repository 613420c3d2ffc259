"""How many epochs and steps fit into the minutes that there are."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

from cristae.errors import RecipeError
from cristae.recipe.proposal.facts import Measured

HEADROOM = 0.95
"""The part of the minutes that steps and validations fill; the rest is for reading data and writing pages."""
_SHARE = 0.12
"""Validation takes about this part at most, while there are at least `_FEW` epochs."""
_FEW, _MANY = 5, 40
_DEAR = 0.4
"""Where six validations took more than this part, patches are drawn to judge epochs instead."""
_DRAWN = 8
"""One batch is judged for so many that are learnt from."""
_INSTANT_S = 1e-6
_LEAST_STEPS, _LEAST_BATCHES = 10, 2
"""Steps of an epoch, and batches that judge it, at least."""


@dataclass(frozen=True)
class Length:
    """Of a training."""

    epochs: int
    steps: int
    """Of one epoch."""
    seconds: float
    """Of all steps, the validations after each epoch and the one at the end."""
    validation_seconds: float
    """The part of them that is validation."""
    validation_batches: int | None = None
    """Batches of patches that judge an epoch, where all validation regions would take too long; None for these."""

    @property
    def updates(self) -> int:
        """In all."""
        return self.epochs * self.steps


def plan_length(minutes: float, measured: Measured) -> Length:
    """The most steps that fit, in 5 to 40 epochs where that is possible, so that validation takes an eighth or so.

    epochs x (steps x seconds of a step + seconds of a validation) + a last validation <= 0.95 x minutes. A batch that
    is only judged is counted as a step.

    Raises:
        RecipeError: Not even one epoch of ten steps fits.
    """
    step, validation = max(measured.seconds_per_step, _INSTANT_S), measured.validation_seconds
    usable = 60 * minutes * HEADROOM
    if (_FEW + 1) * validation <= _DEAR * usable:
        epochs = max(_FEW, min(_MANY, floor(_SHARE * usable / max(validation, _INSTANT_S)) - 1))
        judged, each = None, validation
    else:
        whole = floor((usable - validation) / step)
        epochs = max(1, min(2 * _FEW, whole // (_LEAST_STEPS + _LEAST_BATCHES)))
        judged = max(_LEAST_BATCHES, whole // epochs // _DRAWN)
        each = judged * step
    left = usable - validation
    epochs = max(1, min(epochs, floor(left / (_LEAST_STEPS * step + each))))
    steps = floor((left / epochs - each) / step)
    if steps < _LEAST_STEPS:
        raise RecipeError(_too_short(minutes, step, validation))
    last = epochs * each + validation
    return Length(epochs, steps, epochs * steps * step + last, last, judged)


def _too_short(minutes: float, step: float, validation: float) -> str:
    shortest = (_LEAST_STEPS + _LEAST_BATCHES) * step + validation
    needed = ceil(10 * shortest / HEADROOM / 60 + 0.5) / 10
    return (
        f"--minutes {minutes:g} is not enough for one epoch: {_LEAST_STEPS} steps of {step:.2g} s and a validation of "
        f"{validation:.2g} s were measured here; give --minutes {needed:g} or more, or --no-measure for a recipe that "
        "is trained on another machine"
    )
