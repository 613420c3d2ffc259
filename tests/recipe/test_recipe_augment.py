"""Presets in a recipe: read, written out, told at their lines."""

import json

import pytest

from cristae.augment import PRESETS
from cristae.errors import RecipeError
from cristae.recipe.consistency import check_consistency
from cristae.recipe.load import parse_recipe
from cristae.recipe.text import diff_recipes, recipe_schema, recipe_to_yaml

BASE = "name: x\ndata: {}\nmodel: {name: unet_bn}\nloss: {name: seget}\n"
NAMES = ", ".join(PRESETS)


@pytest.mark.parametrize("written", ["fib-sem", "[fib-sem]", "[fib-sem, {name: noise}]", "seget", "[]"])
@pytest.mark.parametrize("defaults", [True, False])
def test_a_recipe_writes_every_part_of_a_preset_out(written: str, defaults: bool) -> None:
    recipe = parse_recipe(BASE + f"augment: {written}")
    shown = recipe_to_yaml(recipe, defaults=defaults, comments=True)
    assert parse_recipe(shown) == recipe
    assert shown.count("- name: flip") == (2 if "fib-sem" in written else 0)
    assert "- fib-sem" not in shown
    assert "augment: fib-sem" not in shown


def test_a_preset_and_its_parts_are_the_same_recipe() -> None:
    parts = "[{name: rotate90}, {name: flip, axes: [x]}, {name: flip, axes: [y]}]"
    one, other = parse_recipe(BASE + "augment: fib-sem"), parse_recipe(BASE + f"augment: {parts}")
    assert one == other
    assert diff_recipes(one, other) == []
    assert parse_recipe(BASE, "r", ["augment=fib-sem"]) == one


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("augment: fibsem", f"5: augment: unknown preset 'fibsem'; did you mean 'fib-sem'? (presets are: {NAMES})"),
        (
            "augment:\n  - fib-sem\n  - stronk",
            f"7: augment.1: unknown preset 'stronk'; did you mean 'strong'? (presets are: {NAMES})",
        ),
        (
            "augment: [noise]",
            "5: augment.0: 'noise' is an augmentation, not a preset; write {name: noise}",
        ),
        ("augment: 5", f"5: augment: must be a list of augmentations and presets, or one preset ({NAMES})"),
        ("augment:\n  - fib-sem\n  - name: noise\n    amount: -1", "8: augment.1.amount: must be greater than 0"),
        ("augment:\n  - fib-sem\n  - {name: noize}", "7: augment.1: unknown name 'noize'; did you mean 'noise'?"),
    ],
)
def test_a_problem_is_told_at_its_line_whatever_presets_stand_before_it(written: str, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(BASE + written, "r.yaml")
    assert str(caught.value).startswith(f"r.yaml:{expected}")


def test_the_schema_takes_a_preset_a_list_and_presets_in_it() -> None:
    schema = recipe_schema()
    assert json.loads(json.dumps(schema)) == schema
    alone, listed = schema["properties"]["augment"]["anyOf"]
    assert alone["enum"] == list(PRESETS)
    name, part = listed["items"]["anyOf"]
    assert name["enum"] == list(PRESETS)
    assert set(part["discriminator"]["mapping"]) >= {"flip", "noise", "missing_sections"}
    assert "MissingSections" in schema["$defs"]
    assert "Random changes" in schema["properties"]["augment"]["description"]


@pytest.mark.parametrize(
    ("model", "refused"),
    [
        ("{name: unet_bn}", True),
        ("{name: unet_bn, slices: 3}", False),
        ("{name: unet_3d}", False),
    ],
)
def test_section_defects_need_several_slices(model: str, refused: bool) -> None:
    recipe = parse_recipe(BASE, "r", [f"model={model}", "augment=[{name: flip}, {name: contrast_jumps}]"])
    if not refused:
        check_consistency(recipe)
        return
    with pytest.raises(RecipeError, match=r"augment: augmentation 'contrast_jumps' .* set model.slices to 3"):
        check_consistency(recipe)
