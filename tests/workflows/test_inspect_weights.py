"""What `inspect --weights` shows is what training sees."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from everyday import everyday
from PIL import Image
from training_data import write_discs
from typer.testing import CliRunner

from cristae.augment import Batch
from cristae.cli.main import app
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats import open_image
from cristae.errors import OutputExistsError, RecipeError
from cristae.recipe.load import load_recipe
from cristae.report.shown_patches import draw_shown
from cristae.training.module import TrainingModule
from cristae.training.shown import Shown, class_shares
from cristae.training.shown_files import write_shown
from cristae.workflows.inspect_weights import inspect_weights
from cristae.workflows.recipes import check_recipe
from cristae.workflows.train import train

TARGETS = "targets={name: edge_preserving, further: [{name: distances, limit: 8}, {name: boundaries}]}"
LOSS = "loss={name: sum, terms: [{name: boundary_aware}, {name: dice}, {name: boundary, weight: 0.01}]}"


def read(folder: Path, name: str) -> np.ndarray:
    image = open_image(folder / f"{name}.tif")
    return image.read(Box.of_shape(image.shape))


@pytest.mark.slow
def test_the_patches_are_those_that_training_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Image, labels, validity, weights and channels of the first two batches, to the last bit."""
    recipe = load_recipe(write_discs(tmp_path, epochs=1), (TARGETS, LOSS))
    seen: list[Batch] = []
    step = TrainingModule.training_step

    def watch(module: TrainingModule, batch: tuple[int, Batch], batch_idx: int) -> torch.Tensor:
        seen.append(batch[1])
        return step(module, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", watch)
    run = train(recipe, out=tmp_path / "run")
    found = inspect_weights(recipe, out=tmp_path / "shown", patches=16)
    assert found.patches == 16
    first = [getattr(seen[0], name) for name in ("image", "target", "valid", "weight")]
    for name, tensor in zip(("image", "labels", "valid", "weight"), first, strict=True):
        both = torch.cat([tensor, getattr(seen[1], {"labels": "target"}.get(name, name))])
        np.testing.assert_array_equal(read(tmp_path / "shown", name), both.reshape(16, 32, 32).numpy())
    for name in ("distances", "boundaries"):
        both = torch.cat([seen[0].further[name], seen[1].further[name]])
        np.testing.assert_array_equal(read(tmp_path / "shown", name), both.reshape(16, 32, 32).numpy())
    summary = json.loads((run.path / "summary.json").read_text())
    assert found.statistics == summary["target_statistics"]


def test_shares_by_hand() -> None:
    """Of a class: 3 of 7 voxels that count, weights 1, 2 and 6 of 13; the patch without it is one of two."""
    target = np.array([[[[1, 1, 0, 0]]], [[[0, 0, 0, 0]]]], np.uint8)
    target[0, 0, 0, 2] = 1
    valid = np.ones(target.shape, bool)
    valid[1, 0, 0, 3] = False
    weight = np.ones(target.shape, np.float32)
    weight[0, 0, 0] = [1, 2, 6, 1]
    weight[1, 0, 0, 3] = 100
    shown = Shown(target.astype(np.float32), target, valid, weight, {}, ("a", "b"))

    class Part:
        class_counts = np.array([90, 10])

    background, disc = class_shares(shown, [Part()], Classes(names=("background", "disc")))  # type: ignore[list-item]
    assert (disc.training_share, disc.voxels, disc.patch_share) == (0.1, 3, 0.5)
    assert disc.voxel_share == pytest.approx(3 / 7)
    assert disc.weight_share == pytest.approx(9 / 13)
    assert disc.weight_range == (1, 2, 6)
    assert background.voxel_share + disc.voxel_share == pytest.approx(1)
    assert background.weight_share + disc.weight_share == pytest.approx(1)


def test_overlapping_classes_have_weights_and_files_of_their_own(tmp_path: Path) -> None:
    classes = Classes(names=("mito", "cell"), exclusive=False)
    target = np.zeros((2, 2, 3, 6, 5), np.uint8)
    target[0, 0, 1, :3], target[:, 1] = 1, 1
    weight = np.ones(target.shape, np.float32)
    weight[:, 0] = 4
    further = {"distances": np.zeros((2, 2, 3, 6, 5), np.float32), "boundaries": np.zeros((2, 1, 3, 6, 5), np.float32)}
    shown = Shown(np.zeros((2, 3, 6, 5), np.float32), target, np.ones((2, 3, 6, 5), bool), weight, further, ("a", "b"))
    tmp_path.joinpath("out").mkdir()
    write_shown(shown, classes, tmp_path / "out", (50, 10, 10))
    names = {path.stem for path in (tmp_path / "out").iterdir()}
    kinds = {"labels-mito", "labels-cell", "weight-mito", "weight-cell", "distances-mito", "distances-cell"}
    assert names == kinds | {"image", "valid", "boundaries"}
    np.testing.assert_array_equal(read(tmp_path / "out", "labels-mito"), target[:, 0].reshape(6, 6, 5))
    assert open_image(tmp_path / "out" / "image.tif").voxel_size_nm == (50, 10, 10)

    class Part:
        class_counts = np.array([0, 15, 180])

        def label_blocks(self):
            yield target[0]

    mito, cell = class_shares(shown, [Part(), Part()], classes)  # type: ignore[list-item]
    assert (mito.training_share, mito.voxel_share, mito.weight_share) == (15 / 90, 15 / 180, 15 / 180)
    assert (mito.weight_range, cell.weight_range, cell.patch_share) == ((4, 4, 4), (1, 1, 1), 1)
    picture = tmp_path / "picture.png"
    picture.write_bytes(draw_shown(shown, classes, most=8))
    assert Image.open(picture).size[0] > Image.open(picture).size[1]


@pytest.mark.parametrize(
    "targets",
    everyday(
        ["{name: none}", "{name: edge_diffusion, steps: 3}", "{name: sample_bf}"], "{name: edge_diffusion, steps: 3}"
    ),
)
def test_networks_of_three_dimensions_and_slices_that_are_partly_labelled(tmp_path: Path, targets: str) -> None:
    path = write_discs(tmp_path, epochs=1, labelled=(0, 1, 2, 4, 8, 9))
    overrides = (
        "model={name: unet_3d, shape: thin, base: 4}",
        "sampling={name: random, size: [3, 24, 24], per_epoch: 4}",
        "training.batch_size=2",
        "data.volumes.0.labels.slices=[0, 1, 2, 4, 8, 9]",
        f"targets={targets}",
    )
    found = inspect_weights(load_recipe(path, overrides), out=tmp_path / "shown", patches=3)
    assert found.patches == 3
    assert found.weighted == (targets != "{name: none}")
    assert read(tmp_path / "shown", "labels").shape == (9, 24, 24)
    assert not read(tmp_path / "shown", "valid").all()
    for name in ("patches.png", "slice.png"):
        assert Image.open(tmp_path / "shown" / name).format == "PNG"


def test_what_is_there_stays_and_a_forest_has_no_patches(tmp_path: Path) -> None:
    path = write_discs(tmp_path, epochs=1)
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "mine.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="exists already"):
        inspect_weights(load_recipe(path), out=tmp_path / "shown")
    assert [one.name for one in (tmp_path / "shown").iterdir()] == ["mine.txt"]
    with pytest.raises(RecipeError, match="random forest"):
        inspect_weights(load_recipe(path, ("model={name: random_forest}",)))
    with pytest.raises(RecipeError, match="1 or more"):
        inspect_weights(load_recipe(path), patches=0)


def test_a_failed_drawing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_discs(tmp_path / "data", epochs=1)

    def fail(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("cristae.report.shown_patches.draw_shown", fail)
    with pytest.raises(KeyboardInterrupt):
        inspect_weights(load_recipe(path), out=tmp_path / "new" / "shown")
    assert [one.name for one in tmp_path.iterdir()] == ["data"]


def test_the_verb_prints_a_table_or_json(tmp_path: Path) -> None:
    path = str(write_discs(tmp_path, epochs=1))
    runner = CliRunner()
    said = runner.invoke(
        app, ["inspect", path, "--weights", "--patches", "9", "--set", "targets={name: class_balance}"]
    )
    assert said.exit_code == 0
    head, columns, *rows = said.stdout.splitlines()
    assert head == "discs: 9 patches"
    assert columns.split()[:3] == ["class", "all", "labels"]
    assert [row.split()[0] for row in rows] == ["background", "disc"]
    assert rows[1].split()[5:8] == ["1.01"] * 3
    as_json = runner.invoke(app, ["inspect", path, "--weights", "--json"])
    found = json.loads(as_json.stdout)
    assert (found["patches"], found["weighted"], found["out"]) == (24, False, None)
    assert found["classes"][1]["weight_maximum"] == 1
    for arguments, text in (
        ([path, path, "--weights"], "takes one recipe, got 2"),
        ([path, "--weights", "--signed"], "--signed/--unsigned is for volumes"),
        ([path, "--patches", "3"], "--patches belongs to --weights"),
        ([path, "--out", "x"], "--out belongs to --weights"),
    ):
        refused = runner.invoke(app, ["inspect", *arguments])
        assert refused.exit_code == 2
        assert text in refused.stderr


def test_a_check_computes_no_weights_of_whole_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_discs(tmp_path, epochs=1)
    monkeypatch.setattr("cristae.targets.edges.EdgeField.weights", None)
    assert check_recipe(path, ("targets={name: edge_diffusion}",))
