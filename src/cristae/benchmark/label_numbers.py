"""Cells of a learning curve: the same training on fewer labelled slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cristae.benchmark.cells import Cell
from cristae.benchmark.plan import HowManyLabels
from cristae.data.folds.plan import regions_of
from cristae.data.folds.thinning import labelled_slices, thinned
from cristae.data.open import open_data
from cristae.data.splits import Part
from cristae.errors import RecipeError
from cristae.recipe.recipe import Recipe
from cristae.recipe.study_members import Member
from cristae.workflows.plan_study import StudyPlan

SLICES = "labelled slices"
"""What is varied, in words."""


def with_fewer_labels(asked: HowManyLabels, cell: Cell, study: StudyPlan) -> Iterator[tuple[Cell, StudyPlan]]:
    """A cell for each number of labelled slices.

    Each member of a study keeps its own fold's slices; instances of one fold keep different ones. More slices contain
    the fewer ones of the same member.

    Raises:
        RecipeError: More slices are asked for than the smallest training part of a fold has.
    """
    parts = {member.name: open_data(member.recipe.data, member.recipe.folder).train for member in study.members}
    fewest = min(len(labelled_slices(one)) for one in parts.values())
    for count in _numbers(asked, fewest, study.recipe):
        label = f"{cell.label}, {count} {'slice' if count == 1 else 'slices'}"
        settings = {**cell.settings, SLICES: str(count)}
        named = replace(cell, name=f"{cell.name}-{count}-slices", label=label, settings=settings)
        members = tuple(_thinned(member, parts[member.name], count) for member in study.members)
        yield named, replace(study, members=members, facts={**study.facts, "labelled_slices": count})


def _numbers(asked: HowManyLabels, fewest: int, recipe: Recipe) -> list[int]:
    if asked.slices == "auto":
        doubled = [1 << power for power in range(fewest.bit_length())]
        return sorted({*doubled, fewest})
    if (most := max(asked.slices)) > fewest:
        raise RecipeError(
            f"labels.slices: {most} labelled slices are asked for, but a fold of {recipe.name} trains on {fewest}"
        )
    return sorted(set(asked.slices))


def _thinned(member: Member, parts: Sequence[Part], count: int) -> Member:
    recipe = member.recipe
    volumes = {volume.name: volume for volume in recipe.data.volumes}
    regions = regions_of(thinned(parts, count, turn=(member.instance or 1) - 1), volumes)
    return replace(member, recipe=recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": regions})}))
