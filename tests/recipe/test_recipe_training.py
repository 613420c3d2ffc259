"""The training section: what earlier versions wrote, both forms of an optimiser, and what is refused at its line."""

from pathlib import Path

import pytest

from cristae.errors import RecipeError
from cristae.recipe.consistency import check_consistency
from cristae.recipe.load import load_recipe, load_run_recipe, parse_recipe
from cristae.recipe.text import diff_recipes, recipe_to_yaml
from cristae.training.optimizers import AdamW
from cristae.training.schedule import Cosine, KerasDecay

EARLIER = """\
  batch_size: 8
  optimizer: adamw
  weight_decay: 0.01
  schedule:
    name: cosine
    warmup_updates: 30
"""


def test_the_run_of_an_earlier_version_is_read(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text.replace("  epochs: 3\n", f"  epochs: 3\n{EARLIER}"))
    training = load_run_recipe(path).training
    assert (training.optimizer, training.weight_decay, training.schedule) == (AdamW(), 0.01, Cosine(warmup=30))
    with pytest.raises(RecipeError, match=r":\d+: training\.schedule\.warmup_updates: .* is now `warmup`$"):
        load_recipe(path)


def test_defaults_are_those_of_earlier_versions(text: str) -> None:
    training = parse_recipe(text).training
    assert (training.optimizer.name, training.schedule) == ("adam", KerasDecay())
    assert (training.accumulate, training.groups, training.give_up, training.ema_decay) == (1, (), None, None)


def test_what_is_shown_reads_back(text: str) -> None:
    recipe = parse_recipe(
        text,
        "r",
        [
            "training.optimizer=radam",
            "training.groups=[{match: 'encoder.*', learning_rate_factor: 0.5}]",
            "training.schedule={name: linear, warmup: 0.1, updates: 20000, truncated: true}",
            "training.give_up.after_epochs=5",
        ],
    )
    for comments in (False, True):
        assert parse_recipe(recipe_to_yaml(recipe, comments=comments)) == recipe
    assert recipe.training.give_up is not None
    assert (recipe.training.give_up.below, recipe.training.give_up.after_epochs) == (0.3, 5)
    changed = parse_recipe(text, "r", ["training.optimizer=adamw"])
    different = {one.path for one in diff_recipes(parse_recipe(text), changed)}
    assert different == {"training.optimizer.name", "training.optimizer.eps"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("optimizer.betas=[0.9, 1]", "training.optimizer.betas.1: must be less than 1, got 1"),
        ("optimizer={name: sgd, betas: [0, 0]}", "training.optimizer.betas: unknown field; the fields here are mom"),
        ("schedule={name: polly}", "training.schedule: unknown name 'polly'; did you mean 'poly'?"),
        ("schedule={name: poly, warmup: -1}", "training.schedule.warmup: must be greater than or equal to 0, got -1"),
        ("schedule={name: linear, floor: 1}", "training.schedule.floor: 1 is above learning_rate: 0.0001; lower it"),
        ("groups=[{match: bias, factor: 2}]", "training.groups.0.factor: unknown field"),
        ("groups=[{learning_rate_factor: 2}]", "training.groups.0.match: is required (`encoder`: all of the network"),
        ("ema_decay=1", "training.ema_decay: must be less than 1, got 1"),
        ("give_up.below=30", "training.give_up.below: must be less than 1, got 30"),
        ("accumulate=0", "training.accumulate: must be greater than 0, got 0"),
    ],
)
def test_problems_are_told(text: str, change: str, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r", [f"training.{change}"])
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["adamw", "radam", "sgd"])
def test_weight_decay_is_for_optimisers_that_have_one(text: str, name: str) -> None:
    change = "training.weight_decay=0.01"
    with pytest.raises(RecipeError, match=r"0\.01 has no effect with adam; set training\.optimizer: adamw"):
        check_consistency(parse_recipe(text, "r", [change]))
    check_consistency(parse_recipe(text, "r", [change, f"training.optimizer={name}"]))
