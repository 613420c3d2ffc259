"""The post-processing of runs: what their recipes say, with the values that their trainings chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from cristae.config import problem_of
from cristae.errors import RunError
from cristae.postprocessing import SplitStep, Step, parse_steps
from cristae.progress import Progress
from cristae.recipe.ensemble_file import MemberRun
from cristae.recipe.folder import RECIPE, SUMMARY
from cristae.recipe.run import Run

TUNED = "postprocess"
"""The entry of a summary that holds the values chosen for `auto`."""


def steps_of(members: Sequence[MemberRun], progress: Progress = Progress()) -> tuple[Step, ...]:
    """The steps that follow the prediction of one run or of several that are fused.

    Those of their ensemble file, or of their recipes: then runs of the same classes must ask for the same steps, and
    values that their trainings chose are those of the first. Runs of different structures each treat their own classes,
    one run after the other.

    Raises:
        RunError: Recipes of the same classes ask for different steps, `auto` was not chosen, or ensemble files differ.
    """
    schemes: dict[Any, list[MemberRun]] = {}
    for member in members:
        schemes.setdefault(member.run.classes.scheme, []).append(member)
    found = [_stated_or_agreed(alike, progress) for alike in schemes.values()]
    if len(found) == 1:
        return found[0]
    own = [
        step.model_copy(update={"classes": step.chosen(alike[0].run.classes)})
        for steps, alike in zip(found, schemes.values(), strict=True)
        for step in steps
    ]
    return tuple(sorted(own, key=lambda step: isinstance(step, SplitStep)))


def chosen_steps(run: Run) -> tuple[Step, ...] | None:
    """The steps of a run with its chosen values; None where they were not chosen for what its recipe says now.

    Raises:
        RunError: The summary was changed by hand.
    """
    asked = run.recipe.predict.postprocess
    if not any(step.is_open for step in asked):
        return asked
    kept = run.summary.get(TUNED)
    if not isinstance(kept, Mapping) or kept.get("asked") != [step.model_dump(mode="json") for step in asked]:
        return None
    try:
        return parse_steps(kept.get("steps"))
    except ValidationError as error:
        raise RunError(f"{run.path / SUMMARY}: {problem_of(error, f'{TUNED}.steps')}") from None


def _stated_or_agreed(members: Sequence[MemberRun], progress: Progress) -> tuple[Step, ...]:
    """The steps of members of the same classes."""
    first = members[0]
    for member in members[1:]:
        if member.postprocess != first.postprocess:
            stating = next(one for one in (first, member) if one.postprocess is not None)
            other = member if stating is first else first
            raise RunError(
                f"{other.run.path}: cannot be fused with the members of {stating.ensemble}, which states other "
                "post-processing; name all runs in one ensemble file"
            )
    return _agreed([one.run for one in members], progress) if first.postprocess is None else first.postprocess


def _agreed(runs: Sequence[Run], progress: Progress) -> tuple[Step, ...]:
    """The steps of runs of the same classes."""
    first, found = runs[0], []
    for run in runs:
        if run.recipe.predict.postprocess != first.recipe.predict.postprocess:
            raise RunError(
                f"{run.path}: cannot be fused with {first.path}: their recipes differ in predict.postprocess; make it "
                "the same in both run folders' recipe.yaml"
            )
        steps = chosen_steps(run)
        if steps is None:
            raise RunError(
                f"{run.path}: predict.postprocess holds `auto`, which has not been chosen yet; "
                f"`cristae train {run.path / RECIPE} --out {run.path} --resume` chooses it"
            )
        found.append(steps)
    if any(steps != found[0] for steps in found):
        progress.warn(
            f"{first.path}: the trainings chose different values for predict.postprocess; those of this run are taken"
        )
    return found[0]
