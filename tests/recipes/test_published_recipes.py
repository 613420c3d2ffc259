"""The recipes named after papers hold the numbers of these papers, each in a row of a table.

Where a paper or its code leaves something open, the recipe says in a comment what was chosen.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cristae.data.box import Box
from cristae.inference.test_time import variants_of
from cristae.losses import DenseCellLoss, SumLoss
from cristae.losses.dice import WeightedDice
from cristae.models import parameter_count
from cristae.recipe.complete import completed
from cristae.recipe.load import load_recipe
from cristae.recipe.recipe import Recipe
from cristae.sampling.jittered import n_bins
from cristae.targets.edge_preserving import EdgePreserving
from cristae.training.parameter_groups import group_parameters

FOLDER = Path(__file__).parents[2] / "recipes"

KERAS_ADAM: dict[str, Any] = {
    # Keras' constants, where a paper names Adam alone.
    "training.optimizer.name": "adam",
    "training.optimizer.betas": (0.9, 0.999),
    "training.optimizer.eps": 1e-7,
    "training.weight_decay": 0,
    "training.groups": (),
    "training.accumulate": 1,
    "training.schedule.warmup": 0,
}
SEGET: dict[str, Any] = KERAS_ADAM | {
    # Zhang et al. (2018), what all five structures have in common; their table is in test_recipe_files.
    "data.volumes.0.voxel_size_nm": (150, 2.255, 2.255),
    "normalize.name": "fixed_range",
    "normalize.low": 0,
    "normalize.high": 255,
    "sampling.name": "grid",
    "augment": (),
    "loss.l2": 1e-4,
    "loss.jaccard": "batch",
    "loss.weights": "cross_entropy",
    "training.validation.name": "whole",
    "training.criteria": ("miou",),
    "training.give_up": None,
    "predict.threshold": 0.5,
}
FIB_SEM: dict[str, Any] = KERAS_ADAM | {
    # Meyer et al. (2021): data, patches, loss and training of the paper and its code.
    "data.classes.names": ("background", "mitochondrion", "cell membrane", "endoplasmic reticulum"),
    "data.volumes.0.voxel_size_nm": (20, 5, 5),
    "data.train.0.slices": "0:40",
    "data.validate.0.slices": "40:60",
    "data.test.0.slices": "60:79",
    "normalize.name": "min_max",
    "normalize.scope": "volume",
    "normalize.ignore": (),
    "sampling.name": "indexed",
    "sampling.size": (256, 256),
    "sampling.per_epoch": 256 * 4,
    "sampling.uniform_share": 0.2,
    "augment.0.name": "rotate90",
    "augment.0.probability": 0.75,
    "augment.1.name": "flip",
    "augment.1.axes": ("x",),
    "augment.1.probability": 0.5,
    "augment.2.name": "flip",
    "augment.2.axes": ("y",),
    "augment.2.probability": 0.5,
    "loss.terms.0.name": "weighted_dice",
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
    "training.schedule.name": "constant",
    "training.validation.name": "patches",
    "training.validation.batches": 64,
    "training.validation.augment": True,
    "training.criteria": ("loss",),
    "training.early_stop_patience": None,
    "training.give_up": None,
}
GRAIN: dict[str, Any] = {
    # Meyer et al. (2021), the configurations called + F: the patch, then both filtered ones.
    "input_channels.0.name": "grain_filter",
    "input_channels.0.area_px": 3200,
    "input_channels.1.name": "grain_filter",
    "input_channels.1.area_px": 650,
}
EM_STELLAR: dict[str, Any] = {
    # Khadangi et al. (2020, 2021): the defaults of the public notebook.
    "normalize.name": "z_score",
    "normalize.scope": "training",
    "normalize.ignore": (),
    "sampling.size": (512, 512),
    "sampling.per_epoch": 100 * 2,
    "augment.0.name": "rotate",
    "augment.0.degrees": 140,
    "augment.0.probability": 1,
    "augment.1.name": "shift",
    "augment.1.amount": 0.2,
    "augment.1.unit": "side",
    "augment.1.axes": ("y", "x"),
    "augment.1.probability": 1,
    "augment.2.name": "shear",
    "augment.2.degrees": 0.2,
    "augment.2.probability": 1,
    "augment.3.name": "zoom",
    "augment.3.factors": (0.8, 1.2),
    "augment.3.per": "axis",
    "augment.3.axes": ("y", "x"),
    "augment.3.probability": 1,
    "augment.4.name": "flip",
    "augment.4.axes": ("y", "x"),
    "augment.4.probability": 0.5,
    "augment_interpolation": "linear",
    "targets.name": "none",
    "loss.terms.0.name": "binary_cross_entropy",
    "loss.terms.0.reduction": "mean",
    "training.epochs": 50,
    "training.batch_size": 2,
    "training.optimizer.name": "radam",
    "training.optimizer.betas": (0.9, 0.999),
    "training.optimizer.eps": 1e-7,
    "training.weight_decay": 0,
    "training.learning_rate": 1e-3,
    "training.schedule.name": "linear",
    "training.schedule.warmup": 0.1,
    "training.schedule.updates": 20_000,
    "training.schedule.floor": 1e-5,
    "training.schedule.truncated": True,
    "training.early_stop_patience": 35,
    "training.validation.name": "patches",
    "training.validation.batches": 15,
    "training.validation.augment": True,
    "training.criteria": ("loss", "f1", "auc_roc"),
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "dense-cell-2d3d": {
        # Guay et al. (2021): Methods, and the authors' released code where the text is silent.
        "data.volumes.0.voxel_size_nm": (50, 10, 10),
        "data.volumes.1.voxel_size_nm": (50, 10, 10),
        "normalize.name": "z_score",
        "normalize.scope": "volume",
        "normalize.ignore": (),
        "sampling.name": "jittered",
        "sampling.size": (5, 296, 296),
        "sampling.spacing": (2, 100, 100),
        "targets.name": "edge_preserving",
        "targets.cell": "cell",
        "targets.organelles": None,
        "targets.sigma_vox": 6,
        "targets.scale": 0.882,
        "targets.alpha": 0.25,
        "targets.boundary": "wrap",
        "targets.floor": 0.01,
        "augment.0.name": "elastic",
        "augment.0.per": "epoch",
        "augment.0.amplitude_vox": 20,
        "augment.0.spacing_vox": 40,
        "augment.0.smoothing": 0.6,
        "augment.0.probability": 1,
        "augment.1.name": "flip",
        "augment.1.axes": ("z", "y", "x"),
        "augment.1.probability": 0.5,
        "augment.2.name": "brightness",
        "augment.2.amount": pytest.approx(0.12 * 65_535 / 13_980.5158, abs=5e-5),  # of the published slice
        "augment.2.probability": 1,
        "augment.3.name": "contrast",
        "augment.3.amount": 0.2,
        "augment.3.about": "zero",
        "augment.3.probability": 1,
        "augment_interpolation": "nearest",
        "loss.name": "dense_cell",
        "loss.reduction": "sum",
        "loss.lambda_2d": pytest.approx(1.995262e-5, rel=1e-6),
        "loss.lambda_3d": 1e-5,
        "loss.lambda_predictors": 1e-9,
        "loss.auxiliary_weights": None,
        "training.epochs": 40,
        "training.batch_size": 1,
        "training.optimizer.name": "adam",
        "training.optimizer.betas": pytest.approx((1 - 10**-1.5, 1 - 10**-2.1), abs=5e-7),
        "training.optimizer.eps": 1e-7,
        "training.learning_rate": 1e-3,
        "training.schedule.name": "staircase",
        "training.schedule.warmup": 0,
        "training.schedule.factor": 0.75,
        "training.schedule.interval": pytest.approx(10**3.4, abs=5e-4),
        "training.give_up.below": 0.3,
        "training.give_up.after_epochs": 10,
        "training.early_stop_patience": None,
        "training.validation.name": "whole",
        "training.criteria": ("miou",),
    },
    "fib-sem-unet": FIB_SEM,
    "fib-sem-unet-grain": FIB_SEM | GRAIN,
    "fib-sem-efficientunet": FIB_SEM | {"model.keras_rescale": False},
    "fib-sem-efficientunet-grain": FIB_SEM | GRAIN | {"model.keras_rescale": False},
    "em-stellar-unet-bn": EM_STELLAR | {"model.norm": "batch", "model.activation": "relu"},
    "em-stellar-emnet-v2-4x": EM_STELLAR | {"model.variant": "v2_4x"},
    "cdeep3m-1fm": {
        # Haberl et al. (2018): the defaults of their scripts and of their fork of Caffe.
        "sampling.name": "rejection",
        "sampling.size": (320, 320),
        "sampling.accept": {"background": 0.25},
        "targets.name": "batch_balance",
        "augment.0.name": "flip",
        "augment.0.probability": 0.5,
        "augment.1.name": "rotate90",
        "augment.1.probability": 0.75,
        "model.slices": 1,
        "loss.terms.0.name": "binary_cross_entropy",
        "loss.terms.0.reduction": "mean",
        "training.batch_size": 5,
        "training.accumulate": 8,
        "training.optimizer.name": "sgd",
        "training.optimizer.momentum": 0.9,
        "training.optimizer.nesterov": False,
        "training.learning_rate": 1e-2,
        "training.weight_decay": 5e-4,
        "training.schedule.name": "poly",
        "training.schedule.warmup": 0,
        "training.schedule.power": 0.8,
        "training.schedule.updates": None,
        "training.early_stop_patience": None,
        "predict.test_time": "dihedral_z",
    },
}
PUBLISHED |= {f"seget-{name}": SEGET for name in ("centriole", "golgi", "granules", "microtubules", "synapse")}
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
        ("fib-sem-unet-grain", 31_043_716),
        ("fib-sem-efficientunet", 32_877_938),
        ("fib-sem-efficientunet-grain", 32_877_932),
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
        network = recipe.network.build(recipe.in_channels, recipe.data.classes.n_logits)
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
    assert recipe.training.rates(100).problem(100) is None


def test_cdeep3m_makes_30000_updates_of_40_patches() -> None:
    recipe = recipe_of("cdeep3m-1fm")
    patches_of_an_update = recipe.training.batch_size * recipe.training.accumulate
    assert patches_of_an_update == 40
    assert recipe.training.epochs * value_at(recipe, "sampling.per_epoch") == 30_000 * patches_of_an_update


@pytest.mark.parametrize(
    ("name", "updates_per_epoch", "rates"),
    [
        ("dense-cell-2d3d", 828, {0: 1e-3, 2511: 1e-3, 2512: 7.5e-4, 5024: 5.625e-4, 33_119: 2.3757264e-5}),
        ("fib-sem-unet", 256, {0: 1e-3, 25_599: 1e-3}),
        # EM-stellar counts from 1: these are its steps 1, 2000, 5000 (the last one made), 11000 and 20000.
        ("em-stellar-unet-bn", 100, {0: 5e-7, 1_999: 1e-3, 4_999: 8.35e-4, 10_999: 5.05e-4, 19_999: 1e-5}),
        ("cdeep3m-1fm", 100, {0: 1e-2, 15_000: 1e-2 * 0.5**0.8, 29_999: 1e-2 * 30_000**-0.8}),
        ("seget-microtubules", 245, {0: 1e-3, 10_000: 9.090909e-4}),
        ("seget-synapse", 245, {9_310: 9.907759e-5}),
        ("seget-granules", 245, {14_700: 1.743679e-3}),
    ],
)
def test_learning_rates_are_the_published_ones(name: str, updates_per_epoch: int, rates: dict[int, float]) -> None:
    """By update, the first being 0: what the papers' formulas give, worked out by hand."""
    schedule = recipe_of(name).training.rates(updates_per_epoch)
    assert {update: schedule.at(update) for update in rates} == pytest.approx(rates, rel=1e-6)


@pytest.mark.parametrize(("miou", "epoch", "ends"), [(0.29, 9, False), (0.29, 10, True), (0.30, 10, False)])
def test_an_instance_for_dense_cells_is_given_up_as_published(miou: float, epoch: int, ends: bool) -> None:
    """Below 0.3, strictly, from the epoch with number 10 on, counted from 0."""
    give_up = recipe_of("dense-cell-2d3d").training.give_up
    assert give_up is not None
    assert give_up.holds(miou, epoch) is ends


@pytest.mark.parametrize("slices", [1, 3, 5])
def test_cdeep3ms_groups_are_the_biases_that_its_solver_treats_so(slices: int) -> None:
    """All biases learn twice as fast; those of transposed convolutions with a dilation do not decay."""
    recipe = load_recipe(FOLDER / "cdeep3m-1fm.yaml", [f"model.slices={slices}"])
    with torch.device("meta"):
        network = recipe.network.build(slices, 1)
    dilated, biases, rest = group_parameters(network, recipe.training.groups)
    convolutions = {name: one for name, one in network.named_modules() if isinstance(one, nn.modules.conv._ConvNd)}
    with_dilation = {
        name for name, one in convolutions.items() if isinstance(one, nn.ConvTranspose2d) and set(one.dilation) != {1}
    }
    assert len(with_dilation) == 12, "four each on three scales"
    assert set(dilated.names) == {f"{name}.bias" for name in with_dilation}
    assert set(biases.names) == {f"{name}.bias" for name in convolutions.keys() - with_dilation}
    factors = [(one.learning_rate_factor, one.weight_decay_factor) for one in (dilated, biases, rest)]
    assert factors == [(2, 0), (2, 1), (1, 1)]
    assert sum(len(one.names) for one in (dilated, biases, rest)) == len(list(network.parameters()))


@pytest.mark.parametrize(("slices", "copies"), [(1, 8), (3, 16), (5, 16)])
def test_cdeep3m_averages_as_many_copies_of_a_volume_as_published(slices: int, copies: int) -> None:
    """8 for one slice, 16 for three and five (Haberl et al. 2018): these see the order of slices, too."""
    recipe = load_recipe(FOLDER / "cdeep3m-1fm.yaml", [f"model.slices={slices}"])
    single = recipe.network.in_slices == 1
    assert len(variants_of(recipe.predict.test_time, single_slices=single)) == copies


def test_organelles_are_all_classes_inside_the_cell() -> None:
    """Background 0, cell 1, organelles 2 to 6: the groups between which edges weigh more."""
    recipe = recipe_of("dense-cell-2d3d")
    assert isinstance(recipe.targets, EdgePreserving)
    assert recipe.data.classes
    assert recipe.targets.groups(recipe.data.classes) == {
        "background": (0,),
        "cell": (1,),
        "organelles": (2, 3, 4, 5, 6),
    }


@pytest.mark.parametrize("network", ["unet", "efficientunet"])
def test_with_and_without_the_grain_filter_all_else_is_the_same(network: str) -> None:
    with_it, without = (
        recipe_of(name).model_dump(exclude={"name", "description", "input_channels"})
        for name in (f"fib-sem-{network}-grain", f"fib-sem-{network}")
    )
    assert with_it == without
