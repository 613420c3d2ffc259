"""The cells of a plan: every combination of what it varies, with a recipe for each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from cristae.benchmark.plan import Plan, overrides_of
from cristae.benchmark.widths import scaled
from cristae.classical.config import RandomForestConfig
from cristae.errors import RecipeError
from cristae.recipe.load import load_recipe
from cristae.recipe.recipe import Recipe

_LONGEST = 60


@dataclass(frozen=True, eq=False)
class Cell:
    """One combination of what a plan varies."""

    name: str
    """Its folder."""
    label: str
    """What people call it, such as 'unet_bn, dice'."""
    settings: Mapping[str, str]
    """What was chosen, by what is varied, in words."""
    changes: Mapping[str, Any]
    """What it changes in the base recipe, by path."""
    recipe: Recipe


@dataclass(frozen=True)
class _Choice:
    """One value of one thing that is varied."""

    of: str
    label: str
    changes: Mapping[str, Any]


def cells_of(plan: Plan) -> tuple[Cell, ...]:
    """All cells of a plan in its order; later `vary` paths change fastest.

    Raises:
        RecipeError: A change leads nowhere, makes no valid recipe, or two cells are the same; says which cell.
        MissingFileError: There is no such base recipe.
    """
    found = []
    for combination in product(*_axes(plan)):
        changes = {**plan.changes}
        for choice in combination:
            if twice := set(changes) & set(choice.changes) - set(plan.changes):
                raise RecipeError(f"{plan.place(('cells',))}: {sorted(twice)[0]} is both varied and set by a cell")
            changes |= choice.changes
        label = ", ".join(choice.label for choice in combination) or plan.name
        settings = {choice.of: choice.label for choice in combination}
        found.append(Cell(slug(label), label, settings, changes, _recipe(plan, label, changes)))
    _require_different(plan, found)
    return tuple(found)


def _axes(plan: Plan) -> Iterator[Sequence[_Choice]]:
    if plan.cells:
        yield [_Choice("cell", label, changes) for label, changes in plan.cells.items()]
    for path, choices in plan.vary.items():
        named = choices if isinstance(choices, dict) else dict(zip(labels_of(choices), choices, strict=True))
        if len(named) < len(choices):
            raise RecipeError(f"{plan.place(('vary', path))}: vary.{path}: a value is there twice")
        yield [_Choice(path, label, {path: value}) for label, value in named.items()]


def labels_of(values: Sequence[Any]) -> list[str]:
    """What values are called: a part by its `name` and the fields in which parts of that name differ.

    Example:
        >>> labels_of([{"name": "emnet", "variant": "v1_2x"}, {"name": "emnet", "variant": "v2"}, {"name": "seget"}])
        ['emnet v1_2x', 'emnet v2', 'seget']
        >>> labels_of([4, 8, None, [8, 16]])
        ['4', '8', 'none', '[8, 16]']
    """
    return [_label(value, values) for value in values]


def _label(value: Any, values: Sequence[Any]) -> str:
    if not isinstance(value, Mapping):
        return _text(value)
    alike = [one for one in values if isinstance(one, Mapping) and one.get("name") == value.get("name")]
    own = [(key, one) for key, one in value.items() if key != "name" and any(o.get(key) != one for o in alike)]
    words = [one if isinstance(one, str) else f"{key} {_text(one)}" for key, one in own]
    return " ".join([*([str(value["name"])] if "name" in value else []), *words]) or _text(value)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def slug(label: str) -> str:
    """A folder name of a label, the same on all systems."""
    return re.sub(r"[^a-z0-9._]+", "-", label.lower()).strip("-.")[:_LONGEST] or "cell"


def _recipe(plan: Plan, label: str, changes: Mapping[str, Any]) -> Recipe:
    try:
        recipe = load_recipe(plan.folder / plan.base, overrides_of(changes))
    except RecipeError as error:
        raise RecipeError(f"{plan.place(())}: cell '{label}': {error}") from None
    if plan.width == 1 or isinstance(recipe.model, RandomForestConfig):
        return recipe
    return recipe.model_copy(update={"model": scaled(recipe.network, plan.width)})


def _require_different(plan: Plan, cells: Sequence[Cell]) -> None:
    """Refuse cells of one folder, and cells that would train the same."""
    names: dict[str, str] = {}
    for cell in cells:
        if (other := names.setdefault(cell.name, cell.label)) != cell.label:
            raise RecipeError(
                f"{plan.place(())}: cells '{other}' and '{cell.label}' would have the same folder, {cell.name}; "
                "give them other names (`vary: {path: {name: value}}`)"
            )
    known: dict[str, str] = {}
    for cell in cells:
        other = known.setdefault(cell.recipe.model_dump_json(), cell.label)
        if other != cell.label:
            raise RecipeError(f"{plan.place(())}: cells '{other}' and '{cell.label}' have the same recipe")
