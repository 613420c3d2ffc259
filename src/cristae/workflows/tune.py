"""Values of post-processing that runs choose on their validation regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cristae.evaluation.tuning import tune_steps
from cristae.evaluation.validation import Validation
from cristae.postprocessing import Step
from cristae.progress import Progress
from cristae.recipe.postprocess import TUNED
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import Run, write_summary
from cristae.workflows.held_out import validation_of_run

if TYPE_CHECKING:
    from torch import nn


def tuned_facts(recipe: Recipe, network: nn.Module, validation: Validation, progress: Progress) -> dict[str, Any]:
    """What the summary of a run keeps of the values that are `auto`; nothing where none is."""
    steps = recipe.predict.postprocess
    if not any(step.is_open for step in steps):
        return {}
    return {TUNED: tune_steps(steps, [(network, validation)], progress).facts}


def add_tuned(run: Run, progress: Progress) -> None:
    """Choose them for a run that was finished before, and add them to its summary."""
    facts = {name: value for name, value in run.summary.items() if name not in ("run", "model")}
    with validation_of_run(run, progress) as (network, validation):
        write_summary(run, run.model, facts | tuned_facts(run.recipe, network, validation, progress))


def tune_together(runs: Sequence[Run], progress: Progress) -> tuple[Step, ...] | None:
    """The steps of an ensemble of runs of one recipe, whose values are chosen on the validation regions of all of them
    together, each predicted by its own run; None where no value is `auto`."""
    steps = runs[0].recipe.predict.postprocess
    if not any(step.is_open for step in steps):
        return None

    def members() -> Iterator[tuple[nn.Module, Validation]]:
        for run in runs:
            with validation_of_run(run, progress) as member:
                yield member

    return tune_steps(steps, members(), progress).steps
