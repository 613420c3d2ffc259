"""Affinities from a recipe to scores: what the page says is run, in 2D, 2.5D and 3D, and a contact is learnt."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from typer.testing import CliRunner

import cristae
from cristae.augment import Batch
from cristae.cli.main import app
from cristae.data.formats.ome_zarr import open_ome_zarr
from cristae.errors import CristaeError
from cristae.inference.config import PredictOptions
from cristae.inference.prediction import open_prediction
from cristae.recipe.load import load_recipe
from cristae.recipe.run import read_metrics
from cristae.training.module import TrainingModule
from cristae.workflows.inspect_weights import inspect_weights
from cristae.workflows.predict import predict
from cristae.workflows.recipes import check_recipe
from cristae.workflows.train import train

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "describe-labels.md"
THICK = "model={name: unet_3d, base: 2, padded: true}"
QUICK = (
    "model={name: unet_bn, widths: [4, 8]}",
    "training.epochs=1",
    "training.batch_size=4",
    "sampling.per_epoch=8",
    "sampling.size=[32, 32]",
)
LABELS = "data.volumes.0.labels"
IN_SPACE = (
    "data.classes={names: [mito, z1, x1, far], exclusive: false}",
    f"{LABELS}={{kind: instances, path: mito-ids.tif, to: affinities, offsets: "
    "{mito: [0, 0, 0], z1: [-1, 0, 0], x1: [0, 0, -1], far: [1, -3, 4]}}",
    "predict.postprocess.0.affinities={z1: [-1, 0, 0], x1: [0, 0, -1], far: [1, -3, 4]}",
)


def section(language: str) -> str:
    text = PAGE.read_text(encoding="utf-8").partition("## Affinities")[2].partition("\n## ")[0]
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return str(block)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's recipe, and twelve slices of two rods that touch along their length, and one alone."""
    ids = np.zeros((12, 48, 56), np.uint16)
    ids[:, 8:20, 4:50], ids[:, 20:32, 4:50], ids[:, 38:44, 4:50] = 5, 300, 41
    grey = np.where(ids > 0, 160, 60) + np.random.default_rng(0).normal(0, 10, ids.shape)
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("mito-ids.tif", ids)
    cristae.write_image(cristae.image_of_array(grey.astype(np.uint8), voxel_size_nm=(40, 8, 8)), Path("stack.tif"))
    Path("mito-affinities.yaml").write_text(section("yaml"))
    return Path("mito-affinities.yaml")


@pytest.mark.slow
def test_what_the_page_shows_runs(recipe: Path) -> None:
    cuts = [word for change in QUICK for word in ("--set", change)]
    lines = section("sh").splitlines()
    for line in lines:
        verb, *arguments = shlex.split(line)
        assert verb == "cristae"
        done = CliRunner().invoke(app, arguments + (cuts if arguments[0] == "train" else []))
        assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception!r}"
    prediction = open_prediction(Path("stack.zarr"))
    assert prediction.classes.names == ("mitochondrion", "above", "left", "far-above", "far-left")
    assert len(prediction.labels) == 5
    assert prediction.instance_classes == ("mitochondrion",)
    numbers = open_ome_zarr(prediction.path, "labels/mitochondrion_instances").read()
    np.testing.assert_array_equal(numbers > 0, prediction.labels[0].read() > 0)


def test_the_truth_agrees_with_itself_where_partners_are_known(recipe: Path) -> None:
    """Each offset is a class; the first six rows and columns have no partner for one of them."""
    tables = cristae.agree({"a": "stack", "b": "stack"}, recipe=load_recipe(recipe)).pair("a", "b").tables
    ids = tifffile.imread("mito-ids.tif")
    near = [(ids == np.roll(ids, steps, (1, 2))) & (ids > 0) for steps in ((0, 0), (1, 0), (0, 1), (6, 0), (0, 6))]
    for table, mask in zip(tables, near, strict=True):
        inside = int(mask[:, 6:, 6:].sum())
        assert table.counts.tolist() == [[12 * 42 * 50 - inside, 0], [0, inside]]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param((), marks=pytest.mark.slow),
        ("model.slices=3", "augment=[{name: flip}, {name: elastic, probability: 1}, {name: contrast}]"),
        pytest.param(
            (*IN_SPACE, THICK, "sampling.size=[4, 16, 16]",
             "augment=[{name: flip, axes: [z, y, x]}, {name: elastic, probability: 1}]"),
            marks=pytest.mark.slow,
        ),
        (*IN_SPACE, THICK, "sampling={name: indexed, size: [4, 16, 16], per_epoch: 8}",
         "targets={name: class_balance}", "loss={name: sum, terms: [{name: binary_cross_entropy}, {name: dice}]}",
         "training.validation={name: patches, batches: 1, augment: true}"),
        pytest.param(
            ("sampling={name: rejection, size: [32, 32], per_epoch: 8}", "targets={name: sample_bf}"),
            marks=pytest.mark.slow,
        ),
        ("model={name: unet_valid, base: 2, depth: 2}", "sampling={name: grid, size: [24, 24]}"),
    ],
    ids=["flat", "neighbouring slices", "thick", "thick, balanced, validated on patches", "rejection", "unpadded"],
)  # fmt: skip
def test_training_takes_two_steps(recipe: Path, changes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Check, look, train: batches are masks of the output patch alone, most of which counts, and the loss is finite."""
    changes = (*QUICK, *changes)
    seen: list[Batch] = []
    step = TrainingModule.training_step

    def watch(module: TrainingModule, batch: tuple[int, Batch], batch_idx: int) -> torch.Tensor:
        seen.append(batch[1])
        return step(module, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", watch)
    check_recipe(recipe, changes)
    loaded = load_recipe(recipe, changes)
    run = train(loaded, out="run")
    assert len(seen) >= 2
    classes = run.recipe.data.classes
    assert classes is not None
    names = classes.names
    for batch in seen:
        assert batch.target.dtype == torch.uint8
        assert batch.target.shape == (4, len(names), *batch.valid.shape[1:])
        assert batch.frame == ()
        assert batch.valid.float().mean() > 0.3
        assert batch.target.flatten(2).any(2).all(1).any(), "every offset has pairs in the same object"
    (row,) = read_metrics(run)
    assert np.isfinite([float(row["train_loss"]), float(row["val_loss"]), float(row["val_miou"])]).all()
    shown = inspect_weights(loaded, out="shown", patches=4)
    assert shown.patches == 4
    first = seen[0].target[:, 0].reshape(-1, *seen[0].target.shape[-2:])
    np.testing.assert_array_equal(tifffile.imread(Path("shown", f"labels-{names[0]}.tif")), first)
    assert Path("shown", "slice.png").is_file()


def test_a_forest_learns_them_as_any_classes(recipe: Path) -> None:
    forest = ("model={name: random_forest, trees: 2, max_samples_per_class: 200, objects: null}",)
    train(load_recipe(recipe, forest), out="forest")


def test_two_squares_that_touch_are_told_apart_at_their_contact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The foreground is one, and the affinity across the contact is low, although flips and quarter turns change which
    side the partner is on."""
    ids = np.zeros((3, 40, 40), np.uint64)
    ids[:, 8:32, 6:20], ids[:, 8:32, 20:34] = 2**60 + 1, 2**60 + 2
    grey = np.where(ids > 0, 180, 60).astype(np.uint8)
    grey[:, 8:32, 19:21] = 120  # the membrane between them
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("ids.tif", ids, photometric="minisblack")
    cristae.write_image(cristae.image_of_array(grey, voxel_size_nm=(40, 8, 8)), Path("grey.tif"))
    Path("squares.yaml").write_text(SQUARES)
    torch.manual_seed(0)
    run = train(load_recipe("squares.yaml"), out="run")
    prediction = predict([run], "grey.tif", out="out.zarr", options=PredictOptions(probabilities=True))
    cell, left, up = (image.read()[1] / 255 for image in prediction.probabilities)
    inside = (slice(12, 28), slice(10, 30))
    assert cell[inside].min() > 0.7
    assert up[inside].min() > 0.6
    assert left[12:28, 20].max() < 0.4
    assert min(left[12:28, 10:19].min(), left[12:28, 22:30].min()) > 0.6
    assert left[12:28, 6].max() < 0.4, "its partner is background"


SQUARES = """\
name: squares
data:
  classes: {names: [cell, left, up], exclusive: false}
  volumes:
    - name: grey
      image: grey.tif
      labels:
        kind: instances
        path: ids.tif
        to: affinities
        offsets: {cell: [0, 0, 0], left: [0, 0, -1], up: [0, -1, 0]}
  train: [{volume: grey, slices: "0:1"}]
  validate: [{volume: grey, slices: "2:3"}]
model: {name: unet_bn, widths: [8, 16]}
loss: {name: cross_entropy_dice}
augment: [{name: flip}, {name: rotate90}]
sampling: {name: random, size: [32, 32], per_epoch: 48}
training: {epochs: 10, batch_size: 4, learning_rate: 1e-2}
device: cpu
"""


def test_volumes_with_other_labels_are_refused(recipe: Path) -> None:
    """A class that is an affinity in one volume is no mask in another."""
    text = (
        recipe.read_text()
        .replace("train: [", "train: [{volume: other, slices: 8:9}, ")
        .replace("  train:", OTHER + "  train:")
    )
    Path("two.yaml").write_text(text)
    with pytest.raises(CristaeError, match="'stack' and 'other' differ in the `offsets`"):
        check_recipe("two.yaml")


OTHER = """\
    - name: other
      image: stack.tif
      voxel_size_nm: [40, 8, 8]
      labels:
        kind: instances
        path: mito-ids.tif
        to: affinities
        offsets:
          {mitochondrion: [0, 0, 0], above: [0, -1, 0], left: [0, 0, -1], far-above: [0, -6, 0], far-left: [0, 0, -5]}
"""
