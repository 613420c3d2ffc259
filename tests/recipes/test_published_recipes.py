"""The recipes named after papers hold the numbers of these papers, each in a row of a table.

Where a paper or its code leaves something open, the recipe says in a comment what was chosen.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from cristae.data.box import Box
from cristae.losses import DenseCellLoss, SumLoss
from cristae.losses.dice import WeightedDice
from cristae.models import parameter_count
from cristae.recipe.complete import completed
from cristae.recipe.load import load_recipe
from cristae.recipe.recipe import Recipe
from cristae.sampling.jittered import n_bins

FOLDER = Path(__file__).parents[2] / "recipes"

FIB_SEM: dict[str, Any] = {
    # Meyer et al. (2021): data, patches, loss and training of the paper and its code.
    "data.classes.names": ("background", "mitochondrion", "cell membrane", "endoplasmic reticulum"),
    "data.volumes.0.voxel_size_nm": (20, 5, 5),
    "data.train.0.slices": "0:40",
    "data.validate.0.slices": "40:60",
    "data.test.0.slices": "60:79",
    "normalize.low_percentile": 0,
    "normalize.high_percentile": 100,
    "normalize.ignore": (),
    "sampling.name": "indexed",
    "sampling.size": (256, 256),
    "sampling.per_epoch": 256 * 4,
    "sampling.uniform_share": 0.2,
    "augment.0.name": "rotate90",
    "augment.0.probability": 0.75,
    "augment.1.name": "flip",
    "augment.1.axes": ("y", "x"),
    "augment.1.probability": 0.5,
    "loss.terms.0.class_weights": {
        "background": 0.1,
        "mitochondrion": 0.7,
        "cell membrane": 1.0,
        "endoplasmic reticulum": 0.9,
    },
    "loss.terms.0.smooth": 1e-5,
    "training.epochs": 100,
    "training.batch_size": 4,
    "training.learning_rate": 1e-3,
    "training.schedule.decay": 0,
    "training.schedule.plateau_patience": None,
    "training.early_stop_patience": None,
}
EM_STELLAR: dict[str, Any] = {
    # Khadangi et al. (2020, 2021): the defaults of the public notebook.
    "sampling.size": (512, 512),
    "sampling.per_epoch": 100 * 2,
    "loss.terms.0.name": "binary_cross_entropy",
    "loss.terms.0.reduction": "mean",
    "training.epochs": 50,
    "training.batch_size": 2,
    "training.learning_rate": 1e-3,
    "training.early_stop_patience": 35,
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "dense-cell-2d3d": {
        # Guay et al. (2021): Methods, and the authors' released code where the text is silent.
        "data.volumes.0.voxel_size_nm": (50, 10, 10),
        "data.volumes.1.voxel_size_nm": (50, 10, 10),
        "sampling.name": "jittered",
        "sampling.size": (5, 296, 296),
        "sampling.spacing": (2, 100, 100),
        "targets.floor": 0.01,
        "augment.0.axes": ("z", "y", "x"),
        "augment.0.probability": 0.5,
        "augment.1.name": "brightness",
        "augment.1.amount": 0.12,
        "augment.1.probability": 1,
        "augment.2.name": "contrast",
        "augment.2.amount": 0.2,
        "augment.2.probability": 1,
        "loss.reduction": "sum",
        "loss.lambda_2d": pytest.approx(1.995262e-5, rel=1e-6),
        "loss.lambda_3d": 1e-5,
        "loss.lambda_predictors": 1e-9,
        "loss.auxiliary_weights": None,
        "training.epochs": 40,
        "training.batch_size": 1,
        "training.learning_rate": 1e-3,
    },
    "fib-sem-unet": FIB_SEM,
    "fib-sem-efficientunet": FIB_SEM | {"model.keras_rescale": False},
    "em-stellar-unet-bn": EM_STELLAR | {"model.norm": "batch", "model.activation": "relu"},
    "em-stellar-emnet-v2-4x": EM_STELLAR | {"model.variant": "v2_4x"},
    "cdeep3m-1fm": {
        # Haberl et al. (2018): the defaults of their scripts and of their fork of Caffe.
        "sampling.size": (320, 320),
        "targets.name": "batch_balance",
        "augment.0.name": "flip",
        "augment.0.probability": 0.5,
        "augment.1.name": "rotate90",
        "augment.1.probability": 0.75,
        "model.slices": 1,
        "loss.terms.0.name": "binary_cross_entropy",
        "loss.terms.0.reduction": "mean",
        "training.batch_size": 5,
        "training.learning_rate": 1e-2,
    },
}
ROWS = [(name, path, value) for name, rows in PUBLISHED.items() for path, value in rows.items()]


def recipe_of(name: str) -> Recipe:
    return completed(load_recipe(FOLDER / f"{name}.yaml"))


def value_at(recipe: Recipe, path: str) -> Any:
    """The value of a field as a recipe's file names it."""
    found: Any = recipe.model_dump(by_alias=True)
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else found[part]
    return found


@pytest.mark.parametrize(("name", "path", "value"), ROWS, ids=[f"{name}: {path}" for name, path, _ in ROWS])
def test_a_published_setting(name: str, path: str, value: object) -> None:
    assert value_at(recipe_of(name), path) == value


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("dense-cell-2d3d", 10_267_022),
        ("fib-sem-unet", 31_042_564),
        ("fib-sem-efficientunet", 32_877_938),
        ("em-stellar-unet-bn", 31_045_385),
        ("em-stellar-emnet-v2-4x", 33_827_209),
        ("cdeep3m-1fm", 24_002_804),
    ],
)
def test_the_network_is_the_published_one(name: str, parameters: int) -> None:
    """Trainable parameters as counted in the authors' own definitions."""
    recipe = recipe_of(name)
    assert recipe.data.classes
    with torch.device("meta"):  # shapes without values
        network = recipe.network.build(recipe.network.in_slices, recipe.data.classes.n_logits)
    assert parameter_count(network) == parameters


def test_dense_cells_are_seen_in_828_windows_an_epoch() -> None:
    """50 x 800 x 800 voxels to learn from and 24 x 800 x 800 to validate on; 23 x 6 x 6 windows; 33,120 steps."""
    recipe = recipe_of("dense-cell-2d3d")
    (train,), (validate,) = recipe.data.train, recipe.data.validate_
    assert Box.parse(str(train.box), (50, 800, 800)) == Box.of_shape((50, 800, 800))
    assert Box.parse(str(validate.box), (24, 800, 800)) == Box.of_shape((24, 800, 800))
    sides = zip((50, 800, 800), (5, 296, 296), (2, 100, 100), strict=True)
    z, y, x = (n_bins(length, size, spacing) for length, size, spacing in sides)
    assert z * y * x == 828
    assert z * y * x * recipe.training.epochs == 33_120
    assert isinstance(recipe.loss, DenseCellLoss)
    assert recipe.network.auxiliary_weights == (1.0, 0.33)
    assert recipe.network.input_size((5, 296, 296)) == (5, 300, 300)


def test_the_best_loss_for_fib_sem_is_0_325() -> None:
    """1 - 2.7 / 4, because the weights of the classes are not normalised."""
    recipe = recipe_of("fib-sem-unet")
    assert isinstance(recipe.loss, SumLoss)
    (term,) = recipe.loss.terms
    assert isinstance(term, WeightedDice)
    assert 1 - sum(term.class_weights.values()) / 4 == pytest.approx(0.325)


@pytest.mark.parametrize("name", ["em-stellar-unet-bn", "em-stellar-emnet-v2-4x"])
def test_em_stellar_stops_after_5000_of_the_20000_scheduled_steps(name: str) -> None:
    recipe = recipe_of(name)
    patches = value_at(recipe, "sampling.per_epoch") * recipe.training.epochs
    assert patches / recipe.training.batch_size == 5_000


def test_cdeep3m_makes_30000_updates_of_40_patches() -> None:
    recipe = recipe_of("cdeep3m-1fm")
    assert recipe.training.epochs * value_at(recipe, "sampling.per_epoch") == 30_000 * 8 * 5
