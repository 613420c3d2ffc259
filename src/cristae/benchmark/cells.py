"""The cells of a plan: every combination of what it varies, with a recipe for each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from cristae.benchmark.plan import Plan, override_of
from cristae.benchmark.widths import scaled
from cristae.classical.config import RandomForestConfig
from cristae.errors import MissingFileError, RecipeError
from cristae.recipe.load import parse_recipe, read_text
from cristae.recipe.recipe import Recipe

_LONGEST = 60
_ONE_PROBLEM = re.compile(r"\n(?!\s)")
"""Between two problems; what follows a problem on lines of its own is indented."""
_ADVICE = re.compile(r"--set '([^'=]+)=(.*?)'(?=[\s,;.]|$)")


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
    places: tuple[str, ...] = ()
    """Where the plan says so, such as 'plan.yaml:7: vary.model[2]': first its choices, then all changes."""

    def told(self, error: Exception) -> str:
        """What is wrong with it, each problem at the line of the plan that makes it, else with its label."""
        return "\n".join(_told(self.places, self.label, one) for one in _ONE_PROBLEM.split(str(error)))


@dataclass(frozen=True)
class _Choice:
    """One value of one thing that is varied."""

    of: str
    label: str
    changes: Mapping[str, Any]
    places: Mapping[str, str]
    """Where each change is written, such as 'plan.yaml:7: vary.model[2]', by its path."""
    place: str
    """Where the choice is."""


def cells_of(plan: Plan) -> tuple[Cell, ...]:
    """All cells of a plan in its order; later `vary` paths change fastest.

    Raises:
        RecipeError: A change leads nowhere, makes no valid recipe, or two cells are the same; a line for each problem,
            which begins with the line of the plan.
        MissingFileError: There is no such base recipe.
    """
    text = _base_text(plan)
    fixed = {path: f"{plan.place(('set', path))}: set.{path}" for path in plan.changes}
    found, problems = list[Cell](), dict[str, str]()
    for combination in product(*_axes(plan)):
        changes, places = dict(plan.changes), dict(fixed)
        for choice in combination:
            if twice := set(changes) & set(choice.changes) - set(plan.changes):
                raise RecipeError(
                    f"{choice.places[min(twice)]}: {min(twice)} is set by a cell, too; leave out one of them"
                )
            changes |= choice.changes
            places |= choice.places
        label = ", ".join(choice.label for choice in combination) or plan.name
        settings = {choice.of: choice.label for choice in combination}
        where = tuple(dict.fromkeys([*(choice.place for choice in combination), *places.values()]))
        try:
            recipe = _recipe(plan, text, changes, places)
        except RecipeError as error:
            for problem in _ONE_PROBLEM.split(str(error)):
                told = _told(where, label, problem)
                problems.setdefault(_without_place(told, where), told)
            continue
        found.append(Cell(slug(label), label, settings, changes, recipe, where))
    if problems:
        parse_recipe(text, str(plan.folder / plan.base))  # what is wrong with the base alone is told alone
        raise RecipeError("\n".join(problems.values()))
    _require_different(found)
    return tuple(found)


def _axes(plan: Plan) -> Iterator[Sequence[_Choice]]:
    if plan.cells:
        yield [_cell_choice(plan, label, changes) for label, changes in plan.cells.items()]
    for path, choices in plan.vary.items():
        named = list(choices.items()) if isinstance(choices, dict) else zip(labels_of(choices), choices, strict=True)
        axis: dict[str, _Choice] = {}
        for number, (label, value) in enumerate(named):
            key, shown = (label, f".{label}") if isinstance(choices, dict) else (number, f"[{number}]")
            place = f"{plan.place(('vary', path, key))}: vary.{path}{shown}"
            if label in axis:
                raise RecipeError(
                    f"{place}: '{label}' is there twice, first at {axis[label].place}; leave one out, or give both a "
                    "name: `{name: value}` in place of a list"
                )
            axis[label] = _Choice(path, label, {path: value}, {path: place}, place)
        yield list(axis.values())


def _cell_choice(plan: Plan, label: str, changes: Mapping[str, Any]) -> _Choice:
    places = {path: f"{plan.place(('cells', label, path))}: cells.{label}" for path in changes}
    return _Choice("cell", label, changes, places, f"{plan.place(('cells', label))}: cells.{label}")


def _told(places: Sequence[str], label: str, problem: str) -> str:
    """A problem of a recipe at the line of the plan that makes it, else with the label of the cell.

    Example:
        >>> _told(["p.yaml:7: vary.seed[1]"], "2", "r.yaml:3 (with p.yaml:7: vary.seed[1]): data: is empty")
        'p.yaml:7: vary.seed[1]: r.yaml:3: data: is empty'
    """
    problem = _ADVICE.sub(r"`\1: \2`", problem)
    if problem.startswith(tuple(f"{place}: " for place in places)):
        return problem
    where, _, rest = problem.partition(" (with ")
    changes, _, what = rest.partition("): ")
    if what and changes.startswith(tuple(places)):
        return f"{changes}: {where}: {what}"
    return f"{places[0]}: cell '{label}': {problem}" if places else f"cell '{label}': {problem}"


def _without_place(problem: str, places: Sequence[str]) -> str:
    return next((problem.removeprefix(place) for place in places if problem.startswith(f"{place}: ")), problem)


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


def _base_text(plan: Plan) -> str:
    try:
        return read_text(plan.folder / plan.base)
    except (MissingFileError, RecipeError) as error:
        raise type(error)(f"{plan.place(('recipe',))}: {error}") from None


def _recipe(plan: Plan, text: str, changes: Mapping[str, Any], places: Mapping[str, str]) -> Recipe:
    source = plan.folder / plan.base
    overrides = {override_of(path, value): places[path] for path, value in changes.items()}
    recipe = parse_recipe(text, str(source), tuple(overrides), overrides).read_from(source)
    if plan.width == 1 or isinstance(recipe.model, RandomForestConfig):
        return recipe
    try:
        return recipe.model_copy(update={"model": scaled(recipe.network, plan.width)})
    except RecipeError as error:
        raise RecipeError(f"{places.get('model', plan.place(('width',)))}: {error}") from None


def _require_different(cells: Sequence[Cell]) -> None:
    """Refuse cells of one folder, and cells that would train the same."""
    names: dict[str, Cell] = {}
    recipes: dict[str, Cell] = {}
    for cell in cells:
        if (other := names.setdefault(cell.name, cell)) is not cell:
            raise RecipeError(
                f"{_apart(cell, other)}: cell '{cell.label}' would have the same folder as '{other.label}', "
                f"{cell.name}; "
                "give them other names (`vary: {path: {name: value}}`)"
            )
        if (other := recipes.setdefault(cell.recipe.model_dump_json(), cell)) is not cell:
            raise RecipeError(
                f"{_apart(cell, other)}: cell '{cell.label}' has the same recipe as '{other.label}'; leave one out"
            )


def _apart(cell: Cell, other: Cell) -> str:
    """Where the plan makes one cell another than the other."""
    return next(own for own, its in zip(cell.places, other.places, strict=False) if own != its)
