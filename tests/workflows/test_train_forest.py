"""A recipe whose model is the random forest, from its file to a prediction."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from training_data import write_discs

from cristae.classical.forest import Forest
from cristae.data.open import open_volume
from cristae.errors import LabelError, OutputExistsError, RecipeError, RunError
from cristae.inference.arrays import ArrayModel
from cristae.inference.config import PredictOptions
from cristae.metrics.score import read_scores
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.run import open_run
from cristae.workflows.predict import predict
from cristae.workflows.train import train

FOREST = "model: {name: random_forest, trees: 20, max_samples_per_class: 1000}"
NETWORK = "model: {name: unet_bn, widths: [4, 8, 16]}"
SECTIONS = ("loss:", "sampling:", "augment:", "training:")


class Said(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)

    def warn(self, message: str) -> None:
        self.lines.append(message)


def write_recipe(folder: Path, model: str = FOREST, *, extra: str = "") -> Path:
    """The discs, with nothing in the recipe that is for networks."""
    recipe = write_discs(folder)
    lines = [line for line in recipe.read_text().splitlines() if not line.startswith(SECTIONS)]
    text = "\n".join([*lines, extra]).replace(NETWORK, model).replace("slices: 0:6", "slices: [0, 2, 5]")
    recipe.write_text(text + "\n")
    return recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forest")
    train(load_recipe(write_recipe(folder)), out=folder / "run")
    return folder


def test_a_run_holds_everything(trained: Path) -> None:
    run = open_run(trained / "run")
    assert {path.name for path in run.path.iterdir()} == {
        "recipe.yaml", "weights.safetensors", "summary.json", "provenance.json", "scores.csv", "scores.json", "preview",
        "report.html",
    }  # fmt: skip
    assert isinstance(run.build_network(), ArrayModel)
    assert run.summary["status"] == "complete"
    assert run.model.patch_size == (93, 93)
    assert run.voxel_size_nm == (50, 10, 10)
    assert [row["box"] for row in run.summary["data"]] == ["0:1,0:61,0:70", "2:3,0:61,0:70", "5:6,0:61,0:70"]
    assert all(sum(row["class_shares"].values()) == pytest.approx(1) for row in run.summary["data"])
    provenance = json.loads((run.path / "provenance.json").read_text())
    assert len(set(provenance["inputs"].values())) == 3
    assert {"scikit-learn", "numba"} <= set(provenance["libraries"])
    (iou,) = [
        score.value
        for score in read_scores(run.path / "scores.csv")
        if score.metric == "Jaccard" and score.class_name == "disc" and "pooled" in score.rule
    ]
    assert iou > 0.85


@pytest.mark.parametrize("objects", ["", ", objects: {}"], ids=["pixels", "objects"])
def test_a_prediction_in_any_blocks_is_what_validation_saw(tmp_path: Path, objects: str) -> None:
    recipe = load_recipe(write_recipe(tmp_path / "data", FOREST.replace("}", f"{objects}}}")))
    run = train(recipe, out=tmp_path / "run")
    forest = Forest.load(run.weights_path)
    volume = open_volume(tmp_path / "data" / "image")
    expected = forest.probabilities(run.normalizer.apply(volume.image.read()))[0] > 0.5
    whole = predict([run], volume, out=tmp_path / "whole.zarr", voxel_size_nm=(50, 10, 10))
    assert np.array_equal(whole.labels[0].read(), expected)
    settings = run.path / "recipe.yaml"
    settings.write_text(settings.read_text().replace("block_vox: null", "block_vox: [3, 32, 32]"))
    pieces = predict([run.path], volume, out=tmp_path / "pieces.zarr", voxel_size_nm=(50, 10, 10))
    assert np.array_equal(pieces.labels[0].read(), expected)


def test_it_is_fused_with_a_network(trained: Path, tmp_path: Path) -> None:
    """The mean of both, where both are of the same classes."""
    recipe = write_discs(tmp_path / "net", epochs=1)
    network = train(load_recipe(recipe), out=tmp_path / "unet")
    image = trained / "image"
    both = predict(
        [trained / "run", network],
        image,
        out=tmp_path / "both.zarr",
        voxel_size_nm=(50, 10, 10),
        options=PredictOptions(probabilities=True),
    )
    assert both.labels[0].shape == (10, 61, 70)


def test_a_finished_run_is_left_alone_and_an_unfinished_one_begun_anew(trained: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    shutil.copytree(trained / "run", place)
    recipe, said = load_recipe(trained / "recipe.yaml"), Said()
    with pytest.raises(OutputExistsError, match="holds a run already"):
        train(recipe, out=place)
    before = (place / "weights.safetensors").read_bytes()
    train(recipe, out=place, resume=True, progress=said)
    assert any("had finished already" in line for line in said.lines)
    (place / "weights.safetensors").write_bytes(b"")
    (place / "summary.json").write_text('{"status": "created"}')
    train(recipe, out=place, resume=True)
    assert (place / "weights.safetensors").read_bytes() == before


def test_sections_for_networks_are_told_to_have_no_effect(tmp_path: Path) -> None:
    recipe, said = load_recipe(write_recipe(tmp_path, extra="augment: [{name: flip}]\ntraining: {epochs: 3}")), Said()
    train(recipe, out=tmp_path / "run", progress=said)
    assert "augment, training: no effect on a random forest" in said.lines


def test_windows_are_refused(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, extra="predict: {windows: gaussian}"))
    with pytest.raises(RecipeError, match=r"predict\.windows: gaussian is for networks"):
        train(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_labels_that_lack_a_class_leave_nothing_behind(tmp_path: Path) -> None:
    text = write_recipe(tmp_path).read_text()
    (tmp_path / "recipe.yaml").write_text(
        text.replace("[background, disc]", "[background, disc, hole]").replace(
            "0: background,", "0: background, 7: hole,"
        )
    )
    with pytest.raises(LabelError, match="no labelled voxel of hole"):
        train(load_recipe(tmp_path / "recipe.yaml"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_forest_of_another_run_is_refused(trained: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    shutil.copytree(trained / "run", place)
    recipe = place / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("trees: 20", "trees: 21"))
    with pytest.raises(RunError, match="belongs to another run: its settings"):
        open_run(place).build_network()
    (place / "weights.safetensors").write_bytes(b"nonsense")
    with pytest.raises(RunError, match="is damaged"):
        open_run(place).build_network()


def test_help_and_recipes_come_without_the_compiler(trained: Path) -> None:
    """numba and scikit-learn take seconds to import."""
    code = (
        "import sys; import cristae.cli.main; from cristae.recipe.load import load_recipe; load_recipe(sys.argv[1]); "
        "sys.exit(any(name in sys.modules for name in ('numba', 'sklearn')))"
    )
    subprocess.run([sys.executable, "-c", code, str(trained / "recipe.yaml")], check=True)
