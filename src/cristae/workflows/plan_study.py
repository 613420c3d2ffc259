"""The members of a study, planned from a recipe and its opened data; `recipe check` plans the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cristae.classical.config import RandomForestConfig
from cristae.data.box import Triple
from cristae.data.folds.plan import FoldPlan, plan_folds
from cristae.data.leaks import LEAVE_A_GAP, USE_A_STRETCH
from cristae.errors import CristaeError
from cristae.progress import Handed, Progress
from cristae.recipe.fold_guard import Guard, guard_of, guards_in_files
from cristae.recipe.recipe import Recipe
from cristae.recipe.study import plan_facts
from cristae.recipe.study_members import Member, ensemble_size, members_of
from cristae.workflows.prepare_training import make_network
from cristae.workflows.training_data import TrainingData, check_form, open_training_data

_SPLITS = re.compile(r"data\.(train|validate|test)\b|(training|validation) regions")
_CURES = {
    LEAVE_A_GAP: "leave a gap with folds.guard_vox, such as [1, 0, 0]",
    USE_A_STRETCH: "use `order: blocked` and a gap with folds.guard_vox, such as [1, 0, 0]",
}
"""What is to be done about regions that touch, where folds name them and not a person."""


@dataclass(frozen=True, eq=False)
class StudyPlan:
    """What a study will train."""

    recipe: Recipe
    """Complete."""
    members: tuple[Member, ...]
    facts: Mapping[str, Any]
    """Of its folds, as `study.json` keeps them; empty without folds."""

    @property
    def nested(self) -> bool:
        """Whether members are scored on parts that nothing was chosen on."""
        return self.recipe.folds is not None and self.recipe.folds.nested


def plan_study(recipe: Recipe, progress: Progress) -> StudyPlan:
    """Check a recipe, open its data and plan what each member trains on and validates.

    Args:
        recipe: With `folds` or `instances`.
        progress: Where warnings go.

    Raises:
        CristaeError: The recipe or its data cannot be used, or folds cannot be made of them.
    """
    recipe = check_form(recipe, progress)
    data = open_training_data(recipe)
    plan, facts = None, dict[str, Any]()
    if recipe.folds is not None:
        plan, guard = _plan_folds(recipe, data, progress)
        facts = plan_facts(plan, guard, data.dataset.classes)
        progress.say(f"{len(plan.folds)} of {plan.count} folds by {plan.by}: {plan.why}; the gap is {guard.rule}")
        for warning in plan.warnings:
            progress.warn(recipe.problem(warning))
    members = members_of(recipe, plan, data.dataset.validate)
    with recipe.telling_where():  # else the ensemble could not predict
        recipe.predict.fusion.check(ensemble_size(recipe, members))
    return StudyPlan(recipe, members, facts)


@contextmanager
def naming(member: Member, progress: Progress) -> Iterator[Progress]:
    """For work on a member of a study: what is wrong with it begins with its name. Yields where to report."""
    try:
        yield progress if member.fold is None else _OfFold(progress, member.fold)
    except CristaeError as error:
        error.args = (f"{member.name}: {error}", *error.args[1:])
        raise


class _OfFold(Handed):
    """Says of which fold the split is that a warning is about, and how folds cure it; all else is the same in all
    folds."""

    def __init__(self, shown: Progress, fold: int) -> None:
        super().__init__(shown)
        self._fold = fold

    def warn(self, message: str) -> None:
        """With the fold before it."""
        for cure, of_folds in _CURES.items():
            message = message.replace(cure, of_folds)
        super().warn(f"fold-{self._fold}: {message}" if _SPLITS.search(message) else message)


def first_member(recipe: Recipe, progress: Progress) -> Recipe:
    """The recipe itself, or where it stands for several trainings, that of the first; says so."""
    if not recipe.is_study:
        return recipe
    member = plan_study(recipe, progress).members[0]
    progress.say(f"{recipe.name} stands for several trainings; this is about {member.name}")
    return member.recipe


def fold_guards(recipe: Recipe) -> Mapping[str, Triple]:
    """The gap (z, y, x) that the folds of a recipe need, in voxels of each volume's files.

    Args:
        recipe: With folds; a gap that they name is taken.

    Raises:
        CristaeError: The recipe or its data cannot be used.
    """
    recipe = check_form(recipe, Progress())
    return _guards(recipe, open_training_data(recipe), Progress())[1]


def _guards(recipe: Recipe, data: TrainingData, progress: Progress) -> tuple[Guard, Mapping[str, Triple]]:
    """The gap of a recipe's folds, and the same in the files of each volume."""
    config, dataset, regions = recipe.folds, data.dataset, data.regions
    assert config is not None
    if config.guard_vox != "auto":
        named = Guard(config.guard_vox, "what folds.guard_vox says")
        return named, {one.name: config.guard_vox for one in recipe.data.volumes}
    forest = isinstance(recipe.model, RandomForestConfig)
    locality = None if forest else make_network(recipe, dataset.classes, progress, weights=False)[1]
    guard = guard_of(recipe, locality, regions.affinities, regions.voxel_size_nm)
    parts = (*dataset.train, *dataset.validate)
    return guard, guards_in_files(guard, parts, recipe.data, flat=recipe.model.ndim == 2)


def _plan_folds(recipe: Recipe, data: TrainingData, progress: Progress) -> tuple[FoldPlan, Guard]:
    config, dataset = recipe.folds, data.dataset
    assert config is not None
    volumes = {one.name: one for one in recipe.data.volumes}
    guard, guards = _guards(recipe, data, Progress())
    splits = {"train": dataset.train, "validate": dataset.validate, "test": dataset.test}
    with recipe.telling_where():
        return plan_folds(config, splits, volumes, dataset.classes, guards, progress), guard
