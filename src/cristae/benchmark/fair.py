"""What makes cells comparable: the same folds with the widest gap that any of them needs, and the same budget."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod

from cristae.benchmark.cells import Cell
from cristae.benchmark.label_numbers import slab_depth, with_fewer_labels
from cristae.benchmark.measured_length import epochs_in
from cristae.benchmark.network_cost import NetworkCost, cost_of
from cristae.benchmark.plan import Budget, Plan
from cristae.classical.config import RandomForestConfig
from cristae.data.box import Triple
from cristae.data.folds.config import FoldsConfig
from cristae.errors import CristaeError, RecipeError
from cristae.metrics.uncertainty.statistic import SMALLEST_N
from cristae.progress import Progress
from cristae.recipe.instances import InstancesConfig
from cristae.recipe.recipe import Recipe
from cristae.sampling import as_triple
from cristae.workflows.plan_study import StudyPlan, fold_guards, plan_study


@dataclass(frozen=True, eq=False)
class PlannedCell:
    """A cell and the trainings that it stands for."""

    cell: Cell
    study: StudyPlan
    cost: NetworkCost


def plan_cells(
    plan: Plan, cells: Sequence[Cell], progress: Progress, *, epochs: Mapping[str, int | None] = {}
) -> tuple[tuple[PlannedCell, ...], list[str]]:
    """The studies of all cells, and notes on what makes them comparable.

    Args:
        plan: What is asked.
        cells: As `cells_of` gives them.
        progress: Where warnings go.
        epochs: What a session before has planned, by the names of cells; a budget of minutes is not measured again.

    Raises:
        CristaeError: A recipe or its data cannot be used; says which cell.
    """
    notes, recipes = list[str](), list[Recipe]()
    for cell in cells:
        with _naming(cell):
            recipes.append(_within(_as_study(plan, cell.recipe), plan.budget, epochs.get(cell.name), progress))
    if any(recipe.folds is not None for recipe in recipes):
        recipes, note = _with_one_gap(cells, recipes)
        notes.append(note)
    studies = []
    for cell, recipe in zip(cells, recipes, strict=True):
        with _naming(cell):
            studies.append((replace(cell, recipe=recipe), plan_study(recipe, progress)))
    if plan.labels is not None:
        depth = max(slab_depth(study) for _, study in studies)
        if depth > 1:
            notes.append(f"All cells have labelled slices in slabs of {depth}, which the deepest patches need.")
        studies = [one for cell, study in studies for one in with_fewer_labels(plan, cell, study, depth)]
    planned = [PlannedCell(cell, study, cost_of(study.recipe)) for cell, study in studies]
    notes += _differences(planned)
    return tuple(planned), notes


def _as_study(plan: Plan, recipe: Recipe) -> Recipe:
    """A recipe with the folds and instances of the plan; a single training is a study of one."""
    folds = recipe.folds if plan.folds is None else plan.folds
    asked = plan.instances if isinstance(plan.instances, InstancesConfig) else InstancesConfig(count=plan.instances)
    instances = asked if asked.number > 1 or folds is None else None
    return recipe.model_copy(update={"folds": folds, "instances": instances})


def _within(recipe: Recipe, budget: Budget | None, known: int | None, progress: Progress) -> Recipe:
    """A recipe with as many epochs as the budget allows; a random forest has none."""
    if budget is None or isinstance(recipe.model, RandomForestConfig):
        return recipe
    if budget.epochs is not None:
        epochs = budget.epochs
    elif budget.voxels is not None:
        epochs = max(1, round(budget.voxels / voxels_of_epoch(recipe)))
    else:
        assert budget.minutes is not None, "the budget was checked"
        epochs = known or epochs_in(recipe, budget.minutes, progress)
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": epochs})})


def voxels_of_epoch(recipe: Recipe) -> int:
    """Voxels of all patches of an epoch.

    Raises:
        RecipeError: How many patches an epoch has follows from the data.
    """
    patches = getattr(recipe.sampling, "per_epoch", None)
    if patches is None or recipe.sampling.size is None:
        raise RecipeError(
            recipe.problem("sampling: a budget of voxels needs sampling.per_epoch and sampling.size; give both")
        )
    return int(patches) * prod(recipe.sampling.size)


def _with_one_gap(cells: Sequence[Cell], recipes: Sequence[Recipe]) -> tuple[list[Recipe], str]:
    """Recipes whose folds keep the widest gap that any of them needs, so that equal folds hold the same voxels."""
    widest: Triple = (0, 0, 0)
    folded = [(cell, recipe) for cell, recipe in zip(cells, recipes, strict=True) if recipe.folds is not None]
    for cell, recipe in folded:
        with _naming(cell):
            for own in fold_guards(recipe).values():
                widest = (max(widest[0], own[0]), max(widest[1], own[1]), max(widest[2], own[2]))
    found = [recipe if recipe.folds is None else _with_gap(recipe, recipe.folds, widest) for recipe in recipes]
    gap = " x ".join(map(str, widest))
    return found, f"All folds have a gap of {gap} voxels (z, y, x): the widest that any cell needs."


def _with_gap(recipe: Recipe, folds: FoldsConfig, gap: Triple) -> Recipe:
    return recipe.model_copy(update={"folds": folds.model_copy(update={"guard_vox": gap})})


@contextmanager
def _naming(cell: Cell) -> Iterator[None]:
    """What is wrong with a cell is told at its line of the plan."""
    try:
        yield
    except CristaeError as error:
        error.args = (cell.told(error), *error.args[1:])
        raise


def _differences(planned: Sequence[PlannedCell]) -> list[str]:
    """In what the cells are not alike, for whoever reads their scores."""
    notes = []
    folds = [len(one.study.facts["folds"]) for one in planned if "folds" in one.study.facts]
    if len(planned) > 1 and folds and 1 < max(folds) < SMALLEST_N:
        notes.append(
            f"{max(folds)} folds are a first look: they rank cells, but to decide that one is better takes at least "
            f"{SMALLEST_N}."
        )
    if len({json.dumps(one.study.facts.get("folds"), sort_keys=True) for one in planned}) > 1:
        notes.append("The cells do not have the same folds, because the plan varies these or the data.")
    networks = [one.cell.recipe for one in planned if not isinstance(one.cell.recipe.model, RandomForestConfig)]
    seen = {prod(as_triple(r.sampling.size)) * _patches(r) * r.training.epochs for r in networks if r.sampling.size}
    if len(seen) > 1:
        notes.append(
            f"The cells see from {min(seen):,} to {max(seen):,} voxels of patches in a training: what sets them apart "
            "may be that."
        )
    return notes


def _patches(recipe: Recipe) -> int:
    return getattr(recipe.sampling, "per_epoch", None) or 1
