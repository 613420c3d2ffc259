"""Post-processing that a training chooses: in its summary, used by `predict`, chosen later where it was asked later."""

import json
from pathlib import Path

import numpy as np
import pytest
from network_data import write_stack
from prediction_files import raw_labels
from skimage import measure

import cristae
from cristae.errors import RecipeError
from cristae.recipe.postprocess import chosen_steps
from cristae.recipe.run import Run
from cristae.workflows.train import train

AUTO = "predict.postprocess=[{name: remove_small, min_size_vox: auto, connectivity: 6}]"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("tuned")
    recipe = write_stack(folder, "binary", AUTO, "training.epochs=1", "model.widths=[4, 8]")
    return train(recipe, out=folder / "run")


def test_the_summary_says_what_was_tried_and_predict_uses_what_was_chosen(trained: Run) -> None:
    facts = trained.summary["postprocess"]
    assert facts["val_miou"]["processed"] >= facts["val_miou"]["raw"]
    (tried,) = facts["tried"]
    best = max(one["val_miou"] for one in tried["scores"])
    assert best == facts["val_miou"]["processed"]
    least = next(one["value"] for one in tried["scores"] if one["val_miou"] == best)
    assert tried["chosen"] == least
    assert "Values that were chosen on the validation regions" in (trained.path / "report.html").read_text()
    prediction = cristae.predict([trained], trained.path.parent / "stack.tif", out=trained.path.parent / "cell.zarr")
    raw = raw_labels(prediction.path)[0].read()
    numbers = measure.label(raw, connectivity=1)
    expected = np.where(np.bincount(numbers.ravel())[numbers] >= (least or 0), raw, 0)
    np.testing.assert_array_equal(prediction.labels[0].read(), expected)


def test_steps_asked_for_later_are_chosen_without_training_again(trained: Run, monkeypatch) -> None:
    recipe = trained.path.parent / "recipe.yaml"
    weights = trained.weights_path.read_bytes()
    other = "predict.postprocess=[{name: threshold, value: auto}, {name: fill_holes, max_size_vox: auto}]"
    changes = [other, "training.epochs=1", "model.widths=[4, 8]"]
    monkeypatch.setattr("cristae.workflows.train_network.fit", lambda *_, **__: pytest.fail("trained again"))
    before = json.loads((trained.path / "summary.json").read_text())
    again = train(cristae.load_recipe(recipe, changes), out=trained.path, resume=True)
    assert again.id == trained.id
    assert again.weights_path.read_bytes() == weights
    after = json.loads((trained.path / "summary.json").read_text())
    assert [one["name"] for one in after["postprocess"]["asked"]] == ["threshold", "fill_holes"]
    assert after["postprocess"]["val_miou"]["raw"] == pytest.approx(before["postprocess"]["val_miou"]["raw"])
    assert {**after, "postprocess": 0} == {**before, "postprocess": 0}
    assert chosen_steps(cristae.open_run(trained.path)) is not None


@pytest.mark.slow
def test_a_forest_chooses_too_and_again_for_other_steps(tmp_path: Path) -> None:
    forest = "model={name: random_forest, trees: 2, max_samples_per_class: 50}"
    run = train(write_stack(tmp_path, "binary", forest, AUTO), out=tmp_path / "run")
    scores = run.summary["postprocess"]["val_miou"]
    assert scores["processed"] >= scores["raw"]
    other = "predict.postprocess=[{name: threshold, value: auto}]"
    again = train(cristae.load_recipe(tmp_path / "recipe.yaml", [forest, other]), out=tmp_path / "run", resume=True)
    assert again.id == run.id
    assert cristae.open_run(run.path).summary["postprocess"]["val_miou"]["raw"] == scores["raw"]
    assert [one["name"] for one in cristae.open_run(run.path).summary["postprocess"]["tried"]] == ["threshold"]


def test_steps_that_do_not_fit_are_refused_before_the_training(tmp_path: Path) -> None:
    wrong = "predict.postprocess=[{name: fill_holes, classes: [golgi]}]"
    with pytest.raises(RecipeError, match=r"predict\.postprocess\.0\.classes: there is no class 'golgi'"):
        train(write_stack(tmp_path, "binary", wrong), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
