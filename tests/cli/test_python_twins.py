"""What the command line can, `import cristae` can, in the same words."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import pytest
import typer
from pydantic import BaseModel

import cristae
from cristae.cli.main import app

TWINS = {
    "benchmark": "run_benchmark",
    "data cache": "list_cache",
    "data fetch": "fetch_dataset",
    "data list": "list_datasets",
    "models list": "list_models",
    "models show": "describe_model",
    "recipe check": "check_recipe",
    "recipe diff": "diff_recipes",
    "recipe new": "new_recipe",
    "recipe schema": "recipe_schema",
    "recipe show": "recipe_to_yaml",
    "report": "write_report",
}
"""Functions that are not called as their verb is. `cristae.report` and `cristae.benchmark` are packages."""
WHOLE = (cristae.Recipe, cristae.Plan)
"""Parameters that are one word, though they are configs."""
OF_THE_TERMINAL = {"as_json", "help", "layers"}
"""How a verb prints; a function returns a value that has everything."""
OF_PYTHON = {"progress", "classes"}
"""Where progress goes, and what ids in memory mean."""
SAME = {
    "evaluate": {"border": "borders"},
    "compare": {"folds": "design", "instances": "design"},
    "models show": {"changes": "options", "channels": "in_channels", "classes": "out_channels"},
    "train": {"changes": "recipe"},
    "doctor": {"changes": "overrides"},
    "recipe check": {"changes": "overrides", "folds": "overrides"},
    "recipe show": {"path": "recipe", "changes": "recipe", "brief": "defaults"},
}
"""Options whose word is another one in Python; `--set` is an argument of `load_recipe`."""
ELSEWHERE = {
    "benchmark": {"recipe": "load_plan"},
    "data cache": {"clear": "clear_cache"},
    "estimate": {"plan": "plan_slices", "seed": "plan_slices", "box_vox": "plan_label_boxes"},
    "evaluate": {"predictions": "predictions_in"},
    "inspect": {
        "weights": "inspect_weights",
        "out": "inspect_weights",
        "patches": "inspect_weights",
        "changes": "load_recipe",
    },
    "models show": {"svg": "draw_model"},
    "train": dict.fromkeys(("folds", "workers", "scheduler", "cluster"), "train_study"),
}
"""Options that stand for another function of the package."""


def verbs(group: typing.Any, above: str = "") -> Iterator[tuple[str, typing.Any]]:
    for name, command in group.commands.items():
        whole = f"{above} {name}".strip()
        if hasattr(command, "commands"):
            yield from verbs(command, whole)
        else:
            yield whole, command


COMMANDS = dict(verbs(typer.main.get_command(app)))


def words_of(function: typing.Any) -> set[str]:
    """Its parameters; those of a bundle of options are the options."""
    found: set[str] = set()
    hints = typing.get_type_hints(function, localns=vars(cristae) | {"Recipe": cristae.Recipe})
    for name in inspect.signature(function).parameters:
        kind = hints[name]
        if isinstance(kind, type) and is_dataclass(kind) and name != "prediction":
            found |= {field.name for field in fields(kind)}
        elif isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in WHOLE:
            found |= set(kind.model_fields)
        else:
            found.add(name)
    return found


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_has_a_function_with_the_same_words(verb: str) -> None:
    name = TWINS.get(verb, verb)
    assert name in cristae.__all__
    function = getattr(cristae, name)
    given = {parameter.name for parameter in COMMANDS[verb].params if parameter.name} - OF_THE_TERMINAL
    same, elsewhere = SAME.get(verb, {}), ELSEWHERE.get(verb, {})
    assert set(elsewhere.values()) <= set(cristae.__all__)
    given -= set(elsewhere)
    found = words_of(function)
    assert {same.get(word, word) for word in given} == found - OF_PYTHON, verb
