"""Reading plans, and the presets that stand for some."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from cristae.benchmark.plan import Plan
from cristae.errors import RecipeError
from cristae.recipe.document import Document, read_document
from cristae.recipe.load import parse_config, read_text

PRESET = "preset"


def presets() -> tuple[str, ...]:
    """The names of the presets."""
    found = resources.files("cristae.benchmark").joinpath("presets").iterdir()
    return tuple(sorted(Path(one.name).stem for one in found if one.name.endswith(".yaml")))


def load_plan(plan: str | Path, *, recipe: str | Path | None = None) -> Plan:
    """Read a plan, or a preset by its name.

    A plan file may build on a preset (`preset: quick`): what it says itself replaces what the preset says.

    Args:
        plan: A YAML file, or the name of a preset.
        recipe: The base recipe; needed for a preset, and in place of the one that a plan names.

    Raises:
        MissingFileError: There is no such file.
        RecipeError: It is no valid plan; one line per problem.
    """
    name = str(plan)
    if name in presets():
        if recipe is None:
            raise RecipeError(f"{name}: is a preset and needs a base recipe: --recipe RECIPE.yaml")
        document = _preset(name)
        document = _of_recipe(document, recipe)
        return parse_config(Plan, document).read_from(Path.cwd() / name, document.places)
    path = Path(plan)
    document = _built_on(read_document(read_text(path, what="plan"), str(path)))
    if recipe is not None:
        document = _of_recipe(document, recipe)
    return parse_config(Plan, document).read_from(path, document.places)


def _of_recipe(document: Document, recipe: str | Path) -> Document:
    """A document with another base recipe; what is no mapping is refused by whoever reads it."""
    if not isinstance(document.value, dict):
        return document
    value = {**document.value, "recipe": str(Path(recipe).absolute())}
    return Document(value, {**document.places, ("recipe",): "--recipe"})


def _built_on(document: Document) -> Document:
    """A document with what its preset says where it says nothing itself."""
    if not isinstance(document.value, dict) or PRESET not in document.value:
        return document
    own = {key: value for key, value in document.value.items() if key != PRESET}
    name = document.value[PRESET]
    if name not in presets():
        raise RecipeError(f"{document.place((PRESET,))}: preset: expected one of {', '.join(presets())}, got '{name}'")
    base = _preset(str(name))
    return Document({**base.value, **own}, {**base.places, **document.places})


def _preset(name: str) -> Document:
    text = resources.files("cristae.benchmark").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
    return read_document(text, f"preset {name}")
