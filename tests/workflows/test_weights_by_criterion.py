"""Weights by several criteria in one run: kept, listed, opened, predicted with, and told apart afterwards."""

import json
from pathlib import Path

import numpy as np
import pytest
from training_data import write_discs
from typer.testing import CliRunner

from cristae.classical.config import RandomForestConfig
from cristae.cli.main import app
from cristae.errors import MissingFileError, RunError
from cristae.inference.prediction import open_prediction
from cristae.recipe.folder import read_epochs, read_summary
from cristae.recipe.load import load_recipe
from cristae.recipe.run import Run, open_run, split_criterion
from cristae.workflows.predict import finish_prediction, plan_prediction, predict
from cristae.workflows.predict_parts import begin_prediction, predict_part
from cristae.workflows.train import train

CRITERIA = ("f1", "loss", "auc_roc", "accuracy", "miou")
COLUMNS = ("train_loss", *(f"val_{name}" for name in CRITERIA), "val_iou_background", "val_iou_disc")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("criteria")
    recipe = write_discs(folder / "data", epochs=5)
    return train(load_recipe(recipe, (f"training.criteria=[{', '.join(CRITERIA)}]",)), out=folder / "run")


def test_every_criterion_is_logged_and_each_keeps_its_best_epoch(run: Run) -> None:
    rows, summary = read_epochs(run.path), read_summary(run.path)
    assert set(COLUMNS) <= set(rows[0])
    for name in CRITERIA:
        values = [float(row[f"val_{name}"]) for row in rows]
        best = int(np.argmin(values) if name == "loss" else np.argmax(values)) + 1
        file = "weights.safetensors" if name == "f1" else f"weights.{name}.safetensors"
        assert summary["kept"][name] == {"epoch": best, "value": values[best - 1], "weights": file}
        assert (run.path / file).is_file()
    assert summary["criterion"] == "f1"
    assert summary["best_epoch"] == summary["kept"]["f1"]["epoch"]
    assert summary["best_val_miou"] == float(rows[summary["best_epoch"] - 1]["val_miou"])
    assert summary["validation"] == {"name": "whole"}


def test_the_page_lists_the_criteria(run: Run) -> None:
    page = (run.path / "report.html").read_text()
    for text in ("Weights kept, by criterion", "AUC-ROC", "weights.auc_roc.safetensors"):
        assert text in page


def weights_of(run: Run) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in run.build_network().state_dict().values()]


def test_a_run_opens_with_the_weights_of_a_criterion(run: Run) -> None:
    chosen = open_run(f"{run.path}:loss")
    assert chosen.weights_path == run.path / "weights.loss.safetensors"
    assert (chosen.criterion, chosen.id) == ("loss", run.id)
    assert (
        open_run(run.path).weights_path == open_run(f"{run.path}:f1").weights_path == run.path / "weights.safetensors"
    )


def test_an_unknown_criterion_lists_those_that_are_kept(run: Run) -> None:
    with pytest.raises(RunError, match=r"keeps no weights of the criterion 'dice'; those it keeps: .*run:f1, .*:loss"):
        open_run(f"{run.path}:dice")


def test_weights_that_were_removed_are_missing(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("recipe.yaml", "summary.json", "weights.safetensors"):
        (copy / name).write_bytes((run.path / name).read_bytes())
    with pytest.raises(RunError, match=r"weights\.loss\.safetensors missing"):
        open_run(f"{copy}:loss")


def test_colons_that_name_no_criterion_stay_in_the_path(run: Run, tmp_path: Path) -> None:
    odd = tmp_path / "with:colon"
    odd.mkdir()
    for name in ("recipe.yaml", "summary.json", "weights.safetensors", "weights.loss.safetensors"):
        (odd / name).write_bytes((run.path / name).read_bytes())
    assert open_run(odd).criterion is None
    assert open_run(f"{odd}:loss").weights_path == odd / "weights.loss.safetensors"
    for path in ("C:/runs/mito", "C:\\runs\\mito", "C:mito", str(tmp_path / "none:f1"), str(odd)):
        assert split_criterion(path) == (Path(path), None)
    with pytest.raises(MissingFileError, match="none:f1"):
        open_run(tmp_path / "none:f1")


def test_predictions_say_by_which_criterion_their_weights_were_chosen(run: Run, tmp_path: Path) -> None:
    volume = run.path.parent / "data" / "image"
    size = (50.0, 10.0, 10.0)
    result = CliRunner().invoke(
        app,
        ["predict", str(volume), "--run", f"{run.path}:loss", "--out", str(tmp_path / "a.zarr"),
         "--voxel-size-nm", "50", "10", "10"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    member = open_prediction(tmp_path / "a.zarr").attributes["runs"][0]
    assert member["criterion"] == "loss"
    plain = predict([run.path], volume, out=tmp_path / "b.zarr", voxel_size_nm=size).attributes["runs"][0]
    assert "criterion" not in plain
    differ = weights_of(open_run(f"{run.path}:loss")) != weights_of(run)
    assert (plain["weights_sha256"] != member["weights_sha256"]) == differ
    planned = plan_prediction([f"{run.path}:loss"], volume, out=tmp_path / "c.zarr", voxel_size_nm=size)
    begin_prediction(planned.request)
    predict_part(planned.request, blocks=range(planned.request.block_count))
    assert finish_prediction(planned.request).attributes["runs"][0] == member


def test_a_forest_has_no_criteria(run: Run, tmp_path: Path) -> None:
    recipe = load_recipe(
        run.path.parent / "data" / "recipe.yaml", ("model={name: random_forest, trees: 2, max_samples_per_class: 50}",)
    )
    assert isinstance(recipe.model, RandomForestConfig)
    train(recipe, out=tmp_path / "forest")
    with pytest.raises(RunError, match="none, as random forests have no epochs"):
        open_run(f"{tmp_path / 'forest'}:f1")


def test_validation_by_sampled_patches_is_said_to_be_sampled(tmp_path: Path) -> None:
    recipe = write_discs(tmp_path / "data", epochs=2)
    changes = ("training.validation={name: patches, batches: 3}", "training.criteria=[loss]")
    runs = [train(load_recipe(recipe, changes), out=tmp_path / name) for name in ("one", "two")]
    rows = [
        [{name: cell for name, cell in row.items() if name != "seconds"} for row in read_epochs(run.path)]
        for run in runs
    ]
    assert rows[0] == rows[1], "the same seeds, the same patches"
    assert rows[0][0]["val_loss"] != rows[0][1]["val_loss"]
    summary = read_summary(runs[0].path)
    assert summary["validation"] == {"name": "patches", "batches": 3, "augment": True}
    assert summary["criterion"] == "loss"
    page = (runs[0].path / "report.html").read_text()
    assert "3 batches of augmented patches sampled from the validation regions, which is noisy" in page
    scores = json.loads((runs[0].path / "scores.json").read_text())
    assert scores, "the final scores are of whole slices all the same"
