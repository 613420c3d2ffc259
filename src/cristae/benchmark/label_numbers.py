"""Cells of a learning curve: the same training on fewer labelled slices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cristae.benchmark.cells import Cell
from cristae.benchmark.plan import HowManyLabels, Plan
from cristae.classical.config import RandomForestConfig
from cristae.data.folds.plan import regions_of
from cristae.data.folds.thinning import slabs, thinned
from cristae.data.open import open_data
from cristae.data.splits import Part
from cristae.errors import RecipeError
from cristae.recipe.study_members import Member
from cristae.workflows.plan_study import StudyPlan

SLICES = "labelled slices"
"""What is varied, in words."""
_ROUNDING = 1e-6
"""Of a number of slices."""


def slab_depth(study: StudyPlan) -> int:
    """How many labelled slices of the files its patches need one behind the other; 1 for what sees flat patches."""
    recipe = study.recipe
    if isinstance(recipe.model, RandomForestConfig) or recipe.network.ndim == 2:
        return 1
    depth = (recipe.sampling.size or recipe.network.window)[0]
    working = recipe.data.voxel_size_nm
    if working is None:
        return depth
    sizes = [volume.voxel_size_nm for volume in open_data(recipe.data, recipe.folder).volumes]
    return max(math.ceil(depth * working[0] / size[0] - _ROUNDING) for size in sizes if size is not None)


def with_fewer_labels(plan: Plan, cell: Cell, study: StudyPlan, depth: int) -> Iterator[tuple[Cell, StudyPlan]]:
    """A cell for each number of labelled slices.

    Each member of a study keeps its own fold's slices; instances of one fold keep different ones. More slices contain
    the fewer ones of the same member.

    Args:
        plan: With `labels`.
        cell: What is to be trained on fewer.
        study: Of the cell.
        depth: How many slices stay together, see `slab_depth`.

    Raises:
        RecipeError: More slices are asked for than the smallest training part of a fold has, or other numbers than
            slabs have.
    """
    assert plan.labels is not None, "the plan asks for a learning curve"
    parts = {member.name: open_data(member.recipe.data, member.recipe.folder).train for member in study.members}
    fewest = depth * min(len(slabs(one, depth)) for one in parts.values())
    try:
        numbers = _numbers(plan.labels, fewest, depth, study.recipe.name)
    except RecipeError as error:
        raise RecipeError(f"{plan.place(('labels', 'slices'))}: labels.slices: {error}") from None
    for count in numbers:
        label = f"{cell.label}, {count} {'slice' if count == 1 else 'slices'}"
        settings = {**cell.settings, SLICES: str(count)}
        named = replace(cell, name=f"{cell.name}-{count}-slices", label=label, settings=settings)
        members = tuple(_thinned(member, parts[member.name], count, depth) for member in study.members)
        yield named, replace(study, members=members, facts={**study.facts, "labelled_slices": count})


def _numbers(asked: HowManyLabels, fewest: int, depth: int, name: str) -> list[int]:
    if fewest == 0:
        raise RecipeError(f"a fold of {name} has nowhere the {depth} labelled slices in a row that its patches need")
    if asked.slices == "auto":
        doubled = [depth << power for power in range((fewest // depth).bit_length())]
        return sorted({*doubled, fewest})
    if odd := [count for count in asked.slices if count % depth]:
        raise RecipeError(
            f"patches need {depth} labelled slices in a row, so slices are kept in slabs of {depth}; give multiples of "
            f"{depth} in place of {', '.join(map(str, odd))}"
        )
    if (most := max(asked.slices)) > fewest:
        slabs_of = f" in slabs of {depth}" if depth > 1 else ""
        raise RecipeError(f"{most} labelled slices are asked for, but a fold of {name} trains on {fewest}{slabs_of}")
    return sorted(set(asked.slices))


def _thinned(member: Member, parts: Sequence[Part], count: int, depth: int) -> Member:
    recipe = member.recipe
    volumes = {volume.name: volume for volume in recipe.data.volumes}
    regions = regions_of(thinned(parts, count, turn=(member.instance or 1) - 1, depth=depth), volumes)
    return replace(member, recipe=recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": regions})}))
