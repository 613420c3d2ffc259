"""Values of post-processing that a run chooses on its validation regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cristae.evaluation.tuning import tune_steps
from cristae.evaluation.validation import Validation
from cristae.progress import Progress
from cristae.recipe.postprocess import TUNED
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import Run, write_summary

if TYPE_CHECKING:
    from torch import nn


def tuned_facts(recipe: Recipe, network: nn.Module, validation: Validation, progress: Progress) -> dict[str, Any]:
    """What the summary of a run keeps of the values that are `auto`; nothing where none is."""
    steps = recipe.predict.postprocess
    if not any(step.is_open for step in steps):
        return {}
    return {TUNED: tune_steps(steps, network, validation, progress).facts}


def add_tuned(run: Run, network: nn.Module, validation: Validation, progress: Progress) -> None:
    """Choose them for a run that was finished before, and add them to its summary."""
    facts = {name: value for name, value in run.summary.items() if name not in ("run", "model")}
    write_summary(run, run.model, facts | tuned_facts(run.recipe, network, validation, progress))
