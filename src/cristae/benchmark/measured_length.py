"""How many epochs of a training fit into some minutes on this machine, from a few of its own steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cristae.errors import RecipeError
from cristae.progress import Progress
from cristae.recipe.recipe import Recipe
from cristae.workflows.plan_study import first_member
from cristae.workflows.prepare_training import Prepared
from cristae.workflows.recipes import check_loaded

if TYPE_CHECKING:
    from torch import nn

    from cristae.training.forecast import Forecast

_HEADROOM = 0.95
"""The part of the minutes that is for steps and validations; the rest is for reading data."""


def epochs_in(recipe: Recipe, minutes: float, progress: Progress) -> int:
    """The epochs that fit, with the validation after each and the one at the end; at least one.

    Args:
        recipe: Of a network; of a study, its first member is measured.
        minutes: Of one training.
        progress: Where to report.

    Raises:
        CristaeError: The training cannot begin.
    """
    found: list[Forecast] = []

    def steps(network: nn.Module, prepared: Prepared, _: float) -> None:
        from cristae.training.forecast import Validating, forecast

        count, boxes = prepared.epoch_validation.counts, [box for _, box in prepared.validation.slabs()]
        validation = Validating(lambda *args: count(args[0], 1, args[1]), len(boxes))
        found.append(forecast(network, prepared.step, prepared.feed, validation))

    check_loaded(first_member(recipe, Progress()), Progress(), steps)
    if not found:
        raise RecipeError(recipe.problem("its steps could not be measured; give a budget of epochs"))
    one = found[0]
    epoch = one.batches * one.seconds_per_batch + one.validation_seconds
    epochs = max(1, int((60 * minutes * _HEADROOM - one.validation_seconds) / epoch))
    progress.say(f"{recipe.name}: {epochs} epochs of about {epoch:.3g} s fit into {minutes:g} minutes here")
    return epochs
