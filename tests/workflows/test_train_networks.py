"""Networks of every kind are trained from the same recipe, and what they learned is predicted where it was."""

import math
from pathlib import Path

import numpy as np
import pytest
from everyday import everyday
from network_data import SHAPE, dots_in, write_stack
from safetensors.numpy import load as load_numpy

from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.data.open import open_volume
from cristae.errors import CristaeError, MissingFileError, NetworkError, RecipeError
from cristae.inference.config import PredictOptions
from cristae.metrics.score import read_scores
from cristae.models import NETWORKS
from cristae.recipe.load import load_recipe
from cristae.recipe.run import Run, open_run, read_metrics
from cristae.workflows.predict import predict
from cristae.workflows.train import train

KINDS: dict[str, tuple[str, str, str]] = {
    "2D": ("{name: unet_bn, widths: [4, 8]}", "binary", "[32, 32]"),
    "2D, several classes": ("{name: unet_bn, widths: [4, 8]}", "several", "[32, 32]"),
    "2D, overlapping classes": ("{name: unet_bn, widths: [4, 8]}", "overlapping", "[32, 32]"),
    "2.5D": ("{name: unet_bn, widths: [4, 8], slices: 5}", "several", "[32, 32]"),
    "2D, valid": ("{name: unet_valid, base: 2, depth: 3}", "binary", "[36, 36]"),
    "2.5D, valid": ("{name: unet_valid, base: 2, depth: 3, slices: 3}", "overlapping", "[36, 36]"),
    "3D": ("{name: unet_3d, base: 2, shape: thick}", "several", "[8, 32, 32]"),
    "3D, larger than the part": ("{name: unet_3d, base: 2, shape: thick}", "binary", "[16, 32, 64]"),
    "3D with a margin": ("{name: unet_3d, base: 2}", "overlapping", "[5, 32, 32]"),
    "hybrid with a margin and an auxiliary output": ("{name: hybrid_2d3d, base: 2}", "several", "[5, 24, 24]"),
    "windowed": ("{name: deepvess, base: 2}", "binary", "[1, 5, 5]"),
}


def train_and_predict(tmp_path: Path, kind: str, *changes: str) -> Run:
    """Train, predict the same volume, and check the sizes of what comes out."""
    recipe = write_stack(tmp_path, kind, *changes)
    run = train(recipe, out=tmp_path / "run")
    rows = read_metrics(run)
    assert len(rows) == recipe.training.epochs
    assert all(math.isfinite(float(row["train_loss"])) for row in rows)
    assert {score.volume for score in read_scores(run.path / "scores.csv")} == {"stack"}
    out = predict([run], open_volume(tmp_path / "stack.tif"), out=tmp_path / "out.zarr")
    assert [label.shape for label in out.labels] == [SHAPE] * (2 if kind == "overlapping" else 1)
    return run


@pytest.mark.parametrize(
    ("model", "classes", "size"),
    everyday(KINDS, "2.5D, valid", "hybrid with a margin and an auxiliary output", "windowed"),
)
def test_a_network_of_each_kind(tmp_path: Path, model: str, classes: str, size: str) -> None:
    flips = "augment=[{name: flip}, {name: contrast}, {name: noise}]"
    run = train_and_predict(tmp_path, classes, f"model={model}", f"sampling.size={size}", flips)
    assert run.model.in_channels == 1
    assert list(run.model.patch_size) == [int(side) for side in size.strip("[]").split(",")]
    assert list(open_run(run.path).recipe.sampling.size or ()) == list(run.model.patch_size)


@pytest.mark.parametrize(
    "model", everyday(["{name: segnet, base: 2}", "{name: hybrid_2d3d, base: 2}"], "{name: segnet, base: 2}")
)
def test_runs_repeat_and_say_nothing_of_determinism(
    tmp_path: Path, model: str, recwarn: pytest.WarningsRecorder
) -> None:
    size = "[32, 32]" if "segnet" in model else "[5, 24, 24]"
    recipe = write_stack(tmp_path, "binary", f"model={model}", f"sampling.size={size}", "training.epochs=1")
    one, two = train(recipe, out=tmp_path / "one"), train(recipe, out=tmp_path / "two")
    assert one.weights_path.read_bytes() == two.weights_path.read_bytes()
    assert not [warning for warning in recwarn if "deterministic" in str(warning.message)]


def test_a_grid_of_thick_patches(tmp_path: Path) -> None:
    grid = "sampling={name: grid, size: [4, 24, 24]}"
    turns = "augment=[{name: flip, axes: [z, y, x]}, {name: rotate90}, {name: brightness}, {name: gamma}]"
    run = train_and_predict(tmp_path, "several", "model={name: unet_3d, base: 2, shape: thick}", grid, turns)
    assert run.recipe.sampling.stride == (2, 12, 12)  # type: ignore[union-attr]


def test_without_a_size_the_run_says_the_one_it_took(tmp_path: Path) -> None:
    recipe = write_stack(tmp_path, "binary", "model={name: unet_3d, base: 1}", "training.epochs=1", "augment=[]")
    run = train(recipe, out=tmp_path / "run")
    assert load_recipe(run.path / "recipe.yaml").sampling.size == (5, 296, 296)
    assert train(recipe, out=tmp_path / "run", resume=True).id == run.id


def test_a_2d_recipe_trains_a_3d_network_by_its_name_alone(tmp_path: Path) -> None:
    recipe = write_stack(tmp_path, "binary", "model.name=unet_3d", "model.base=1", "training.epochs=1")
    assert train(recipe, out=tmp_path / "run").model.patch_size == (5, 296, 296)


@pytest.mark.slow
def test_the_slices_around_the_labelled_ones_are_seen(tmp_path: Path) -> None:
    """Labels that are the image of the next slice: only a network that sees its neighbours can learn them."""
    rng = np.random.default_rng(0)
    bright = rng.random((9, 40, 40)) > 0.5
    for name, array in (("stack", bright * 200), ("dots", np.roll(bright, -1, axis=0))):
        write_image(image_of_array(array.astype(np.uint8)), tmp_path / f"{name}.tif")
    (tmp_path / "recipe.yaml").write_text(NEXT_SLICE)
    best = []
    for slices in (1, 3):
        recipe = load_recipe(tmp_path / "recipe.yaml", [f"model.slices={slices}"])
        best.append(train(recipe, out=tmp_path / f"run{slices}").summary["best_val_miou"])
    assert best[0] < 0.45
    assert best[1] > 0.9


NEXT_SLICE = """\
name: next
data:
  classes: {names: [background, dot]}
  volumes: [{name: stack, image: stack.tif, labels: {kind: ids, path: dots.tif}}]
  train: [{volume: stack, slices: [1, 3, 5]}]
  validate: [{volume: stack, slices: [7]}]
model: {name: unet_bn, widths: [8, 8], slices: 1}
sampling: {name: random, size: [32, 32], per_epoch: 24}
training: {epochs: 6, batch_size: 4, learning_rate: 1e-2}
device: cpu
"""


def two_headed(tmp_path: Path, name: str, weights: str) -> list[float]:
    changes = ("model={name: hybrid_2d3d, base: 2}", "sampling.size=[5, 24, 24]", f"loss.auxiliary_weights={weights}")
    (tmp_path / name).mkdir()
    recipe = write_stack(tmp_path / name, "several", *changes, "training.epochs=1", "augment=[]")
    return [float(row["train_loss"]) for row in read_metrics(train(recipe, out=tmp_path / name / "run"))]


@pytest.mark.slow
def test_every_head_is_trained_with_its_weight(tmp_path: Path) -> None:
    def weights_of(run: str) -> dict[str, np.ndarray]:
        return load_numpy((tmp_path / run / "run" / "weights.safetensors").read_bytes())

    own, alone = two_headed(tmp_path, "own", "null"), two_headed(tmp_path, "alone", "[1, 0]")
    assert two_headed(tmp_path, "chosen", "[1, 0.33]") == own != alone
    planar = [{k: v for k, v in weights_of(run).items() if "2d" in k} for run in ("own", "alone")]
    assert planar[0]
    assert any(not np.array_equal(value, planar[1][key]) for key, value in planar[0].items())


REFUSED: list[tuple[str, tuple[str, ...], type[CristaeError], str]] = [
    ("a size that is not good", ("model={name: unet_valid}", "sampling.size=[64, 64]"), RecipeError, "68, 68"),
    ("too small a batch", ("model={name: deeplab_vgg}", "training.batch_size=1"), RecipeError, "at least 2"),
    ("weights that are not there", ("training.start_from=none.safetensors",), MissingFileError, "start_from"),
    ("a run without weights", ("training.start_from=.",), MissingFileError, "weights.safetensors"),
]


@pytest.mark.parametrize(("changes", "error", "text"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_work_is_reported_before_anything_is_written(
    tmp_path: Path, changes: tuple[str, ...], error: type[CristaeError], text: str
) -> None:
    with pytest.raises(error, match=text):
        train(write_stack(tmp_path, "binary", *changes), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"external"}))
def test_one_recipe_trains_every_network(tmp_path: Path, name: str) -> None:
    config = NETWORKS[name]()
    least = (64, 64) if config.ndim == 2 else (8, 64, 64)
    size = config.smallest_output if config.fixed_output else config.good_output(least)
    changes = (f"model.name={name}", f"sampling.size={list(size)}", "sampling.per_epoch=2")
    try:
        run = train_and_predict(tmp_path, "several", *changes, "augment=[{name: noise}]")
    except NetworkError as error:
        if "install cristae[" not in str(error):
            raise
        pytest.skip(str(error))
    assert run.recipe.model == config


ALIGNED: dict[str, tuple[str, str]] = {
    "2D": ("{name: unet_bn, widths: [8, 16, 32]}", "[32, 32]"),
    "2.5D": ("{name: unet_bn, widths: [8, 16, 32], slices: 3}", "[32, 32]"),
    "2D, valid": ("{name: unet_valid, base: 8, depth: 3}", "[36, 36]"),
    "2D, unpooling": ("{name: segnet, base: 16}", "[32, 32]"),
    "2D, not local": ("{name: deeplab_vgg, base: 8}", "[32, 32]"),
    "3D": ("{name: unet_3d, base: 4, shape: thick}", "[8, 32, 32]"),
    "3D with a margin": ("{name: unet_3d, base: 4}", "[5, 32, 32]"),
    "hybrid": ("{name: hybrid_2d3d, base: 8}", "[5, 24, 24]"),
    "3D in windows": ("{name: deepvess, base: 8}", "[1, 5, 5]"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("model", "size"), ALIGNED.values(), ids=ALIGNED)
def test_what_was_learned_is_predicted_where_it_is(tmp_path: Path, model: str, size: str) -> None:
    dots = dots_in((10, 48, 56), count=25, radius=(1, 2), seed=5)
    write_image(image_of_array((40 + 160 * dots).astype(np.uint8), voxel_size_nm=(10, 10, 10)), tmp_path / "dots.tif")
    write_image(image_of_array(dots.astype(np.uint8)), tmp_path / "truth.tif")
    (tmp_path / "recipe.yaml").write_text(ALIGNMENT)
    recipe = load_recipe(tmp_path / "recipe.yaml", [f"model={model}", f"sampling.size={size}"])
    run = train(recipe, out=tmp_path / "run")
    assert run.summary["best_val_miou"] > 0.6, "what learned nothing has no place"
    found = predict(
        [run], open_volume(tmp_path / "dots.tif"), out=tmp_path / "out.zarr", options=PredictOptions(probabilities=True)
    )
    probability = found.probabilities[-1].read().astype(float)
    for axis in range(3):
        match = {step: float((np.roll(probability, step, axis) * dots).sum()) for step in range(-3, 4)}
        best = max(match, key=lambda step: match[step])
        assert best == 0, f"axis {'zyx'[axis]}: {match}"


ALIGNMENT = """\
name: aligned
data:
  classes: {names: [background, dot]}
  volumes: [{name: cell, image: dots.tif, labels: {kind: ids, path: truth.tif}}]
  train: [{volume: cell, slices: "0:8"}]
  validate: [{volume: cell, slices: "8:10"}]
model: {name: unet_bn}
sampling: {name: random, per_epoch: 64, foreground_share: 0.8}
training: {epochs: 8, batch_size: 4, learning_rate: 3e-3, schedule: {name: cosine}}
device: cpu
"""
