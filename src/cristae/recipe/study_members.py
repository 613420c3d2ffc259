"""The members of a study: one recipe for each fold and each instance, complete by itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cristae.data.box import Box
from cristae.data.description import VolumeConfig
from cristae.data.folds.fold import Fold
from cristae.data.folds.plan import FoldPlan, regions_of
from cristae.data.splits import Part
from cristae.recipe.recipe import Recipe

_LONGEST_NAME = 60
"""Letters of a recipe's name that its members keep, so that what is added fits."""


@dataclass(frozen=True, eq=False)
class Member:
    """One training of a study."""

    name: str
    """Its run folder in the study, such as `fold-1/instance-2`."""
    recipe: Recipe
    """With its own regions and seed, and neither folds nor instances. In nested folds `data.test` is what it is scored
    on."""
    held_out: tuple[tuple[str, Box], ...]
    """Image files and boxes that it predicts out of fold: what it has never been trained on, and in nested folds what
    nothing was chosen on either."""
    fold: int | None = None
    """From 1."""
    instance: int | None = None
    """From 1."""


def members_of(recipe: Recipe, plan: FoldPlan | None, validate: Sequence[Part]) -> tuple[Member, ...]:
    """The members of a study in the order in which they are trained: fold by fold, in each the instances.

    Args:
        recipe: Complete, with `folds` or `instances` or both.
        plan: Its folds, where it has some.
        validate: What the recipe itself validates on; without folds all members do.
    """
    volumes = {volume.name: volume for volume in recipe.data.volumes}
    folds: tuple[Fold | None, ...] = (None,) if plan is None else plan.folds
    seeds = (None,) if recipe.instances is None else recipe.instances.seeds_from(recipe.seed)
    found = []
    for fold in folds:
        held = held_out_of(validate if fold is None else fold.scored)
        own = recipe if fold is None else _of_regions(recipe, fold, volumes)
        for instance, seed in enumerate(seeds, start=1):
            names = ([f"fold-{fold.number}"] if fold else []) + ([f"instance-{instance}"] if seed is not None else [])
            changes = {
                "name": "-".join([recipe.name[:_LONGEST_NAME], *names]),
                "seed": recipe.seed if seed is None else seed,
                "folds": None,
                "instances": None,
            }
            found.append(
                Member(
                    "/".join(names),
                    own.model_copy(update=changes),
                    held,
                    None if fold is None else fold.number,
                    None if seed is None else instance,
                )
            )
    return tuple(found)


def ensemble_size(recipe: Recipe, members: Sequence[Member]) -> int:
    """How many members the ensemble of a study has."""
    best = None if recipe.instances is None else recipe.instances.best
    return len(members) if best is None else best * len({member.fold for member in members})


def member_name_pattern(name: str) -> str:
    """A regular expression of what the recipes of a study's members are called, from the name of its own recipe."""
    return rf"{re.escape(name[:_LONGEST_NAME])}(-fold-\d+)?(-instance-\d+)?"


def _of_regions(recipe: Recipe, fold: Fold, volumes: Mapping[str, VolumeConfig]) -> Recipe:
    regions = {"train": regions_of(fold.train, volumes), "validate_": regions_of(fold.validate, volumes)}
    if fold.tested is not None:
        regions["test"] = regions_of(fold.tested.parts, volumes)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=regions)})


def held_out_of(parts: Sequence[Part]) -> tuple[tuple[str, Box], ...]:
    """The image files and boxes of regions, as ensemble files list them."""
    found = [(part.volume.image.path.absolute().as_posix(), part.box) for part in parts]
    return tuple(dict.fromkeys(found))
