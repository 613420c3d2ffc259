"""What a recipe leaves to others is filled in."""

from __future__ import annotations

import numpy as np
import pytest

from cristae.classical.config import RandomForestConfig
from cristae.recipe.complete import completed
from cristae.recipe.load import parse_recipe

RECIPE = """\
name: forest
data:
  classes: {names: [background, disc]}
  volumes: [{name: stack, image: image, labels: {kind: ids, path: labels}}]
  train: [{volume: stack}]
  validate: [{volume: stack}]
model: {name: random_forest, features: %s}
loss: {name: cross_entropy_dice}
normalize: %s
"""


@pytest.mark.parametrize(
    ("features", "normalize", "expected"),
    [
        ("weka_all", "{name: z_score}", (-3.0, 3.0)),
        ("weka_all", "{name: local}", (-3.0, 3.0)),
        ("[entropy]", "{name: percentiles}", (0.0, 1.0)),
        ("weka_all", "{name: fixed_range}", (0.0, 1.0)),
        ("{grey_range: [-1, 2], entropy: [2]}", "{name: z_score}", (-1.0, 2.0)),
        ("ilastik", "{name: z_score}", "auto"),
    ],
)
def test_black_and_white_of_a_forest_follow_from_the_normalisation(
    features: str, normalize: str, expected: tuple[float, float] | str
) -> None:
    model = completed(parse_recipe(RECIPE % (features, normalize))).model
    assert isinstance(model, RandomForestConfig)
    assert model.features.grey_range == expected
    assert np.diff(model.features.grey_limits) > 0
