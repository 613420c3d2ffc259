"""Recipes are written so that they read back equal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cristae.recipe.document import read_document
from cristae.recipe.load import parse_recipe
from cristae.recipe.text import config_to_yaml, diff_recipes, recipe_schema, recipe_to_yaml


@pytest.mark.parametrize("defaults", [True, False])
@pytest.mark.parametrize("comments", [True, False])
def test_written_recipes_read_back_equal(text: str, defaults: bool, comments: bool) -> None:
    recipe = parse_recipe(text)
    written = recipe_to_yaml(recipe, defaults=defaults, comments=comments)
    assert parse_recipe(written) == recipe
    assert ("#" in written) == comments
    assert ("seed: 0" in written) == defaults


def test_writing_is_stable_and_keeps_ranges_unquoted(text: str) -> None:
    written = recipe_to_yaml(parse_recipe(text), defaults=False)
    assert "slices: 0:13" in written
    assert "64-191: mito" in written
    assert recipe_to_yaml(parse_recipe(written), defaults=False) == written


@given(st.text(max_size=12))
def test_any_description_survives(description: str) -> None:
    base = parse_recipe(MINIMAL)
    recipe = base.model_copy(update={"description": description})
    assert parse_recipe(recipe_to_yaml(recipe)).description == description


@given(st.lists(st.text("-0:1e.#,[]{}' \"yn&*!|>%@`=~?\\\n", max_size=6), min_size=1, max_size=3, unique=True))
def test_any_text_survives_as_key_value_and_list_item(words: list[str]) -> None:
    """Path-like and number-like texts, in each place where a recipe can hold one."""
    recipe = parse_recipe(MINIMAL)
    mapping = dict.fromkeys(words, words[0])
    odd = recipe.model_copy(update={"description": mapping, "seed": words})
    value = read_document(config_to_yaml(odd), "r.yaml").value
    assert value["description"] == mapping
    assert value["seed"] == words


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_any_float_survives(rate: float) -> None:
    recipe = parse_recipe(MINIMAL, "r", [f"training.learning_rate={rate!r}"])
    assert recipe.training.learning_rate == rate
    assert parse_recipe(recipe_to_yaml(recipe)).training.learning_rate == rate


def test_differences_are_named_by_path(text: str) -> None:
    a = parse_recipe(text)
    b = parse_recipe(text, "r", ["training.epochs=4", "model.widths=[4, 8, 16]", "data.train=[{volume: cell}]"])
    assert [(one.path, one.a, one.b) for one in diff_recipes(a, b)] == [
        ("data.train.0.slices", "0:13", None),
        ("model.widths", [4, 8], [4, 8, 16]),
        ("training.epochs", 3, 4),
    ]
    assert diff_recipes(a, a) == []


def test_what_only_one_has_and_is_empty_there_is_no_difference(text: str) -> None:
    changes = ["training.give_up={below: 0.2}", "training.schedule={name: constant}", "augment=[{name: rotate90}]"]
    found = diff_recipes(parse_recipe(text), parse_recipe(text, "r", changes))
    assert all(one.a != one.b for one in found)
    assert not {"training.give_up", "augment"} & {one.path for one in found}
    assert {"training.give_up.below", "training.schedule.name", "augment.0.name"} <= {one.path for one in found}
    assert not any(str(one).endswith("null -> null") for one in found)


def test_a_changed_network_shows_the_fields_of_both(text: str) -> None:
    a = parse_recipe(text)
    b = parse_recipe(text, "r", ["model={name: seget}"])
    paths = [one.path for one in diff_recipes(a, b)]
    assert "model.name" in paths
    assert "model.widths" in paths
    assert "model.base" in paths


def test_the_schema_knows_fields_help_and_choices() -> None:
    schema = recipe_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"name", "data", "model"}
    assert "validate" in schema["$defs"]["DataConfig"]["properties"]
    assert schema["$defs"]["TrainingConfig"]["properties"]["epochs"]["description"] == "At most this many epochs."
    assert set(schema["properties"]["model"]["discriminator"]["mapping"]) >= {"seget", "unet_bn"}


MINIMAL = "{name: x, data: {}, model: {name: unet_bn}, loss: {name: seget}}"


def test_a_part_begins_with_the_name_it_is_chosen_by(text: str) -> None:
    lines = recipe_to_yaml(parse_recipe(text)).splitlines()
    for part in ("model:", "loss:", "sampling:"):
        assert lines[lines.index(part) + 1].startswith("  name: ")
