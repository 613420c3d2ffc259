"""Results of other programs in the tables of a benchmark."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training_data import write_discs

from cristae.benchmark.load import load_plan
from cristae.benchmark.run import benchmark
from cristae.errors import MissingFileError, RecipeError
from cristae.recipe.benchmark_folder import read_benchmark
from cristae.recipe.benchmark_tables import CellRow, ScoreRow, read_json, read_records, read_rows
from cristae.recipe.ensemble_file import flat_members

DATA = os.environ.get("CRISTAE_DATA")


def write_masks(folder: Path, masks: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for name, mask in masks.items():
        Image.fromarray((mask * 255).astype(np.uint8)).save(folder / f"{name}.png")


def values(out: Path, metric: str) -> dict[str, float]:
    rows = read_rows(ScoreRow, out / "results")
    return {row.cell: row.value for row in rows if (row.metric, row.volume) == (metric, "all") and row.split == "test"}


def test_methods_without_any_recipe(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = {f"{z}": rng.random((20, 20)) < 0.5 for z in range(3)}
    write_masks(tmp_path / "all" / "truth", truth)
    write_masks(tmp_path / "all" / "Right", truth)
    write_masks(tmp_path / "all" / "All of it", {name: np.ones_like(mask) for name, mask in truth.items()})
    plan = tmp_path / "plan.yaml"
    plan.write_text("name: others\nimported: {predictions: all, truth: all/truth, binarize: 0.5}\n")
    out = benchmark(load_plan(plan), out=tmp_path / "out")
    assert [(row.cell, row.label, row.imported) for row in read_rows(CellRow, out / "results")] == [
        ("all-of-it", "All of it", True),
        ("right", "Right", True),
    ]
    share = np.mean([mask.mean() for mask in truth.values()])
    assert values(out, "Jaccard") == {"right": 1.0, "all-of-it": pytest.approx(share)}
    assert read_benchmark(out).cells[1].imported == str(tmp_path / "all" / "Right")
    assert read_records(out / "results" / "jobs.csv") == []
    with pytest.raises(MissingFileError, match=r"best.yaml: there is no such ensemble file"):
        flat_members([f"{out}:best"])


def test_a_plan_of_imported_methods_names_its_files_absolutely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = np.eye(8) > 0
    write_masks(tmp_path / "truth", {"0": one})
    write_masks(tmp_path / "others" / "A", {"0": one})
    plan = tmp_path / "plan.yaml"
    plan.write_text("name: a\nimported: {predictions: {A: others/A}, truth: truth, binarize: 0.5}\n")
    out = benchmark(load_plan(plan), out=tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = load_plan((out / "plan.yaml").rename(tmp_path / "elsewhere" / "moved.yaml"))
    assert again.imported is not None
    assert again.imported.predictions == {"A": (tmp_path / "others" / "A").as_posix()}
    assert again.imported.truth == (tmp_path / "truth").as_posix()
    assert values(benchmark(again, out="again"), "Jaccard") == {"a": 1.0}
    folder = again.imported.model_copy(update={"predictions": "others"}).anchored(tmp_path)
    assert folder.predictions == (tmp_path / "others").as_posix()


@pytest.mark.slow
def test_a_method_beside_trained_cells_is_scored_on_the_test_regions(tmp_path: Path) -> None:
    recipe = write_discs(tmp_path, epochs=1)
    recipe.write_text(recipe.read_text().replace("model:", "  test: [{volume: stack, slices: '6:8'}]\nmodel:"))
    masks = {file.stem: np.array(Image.open(file)) > 0 for file in sorted((tmp_path / "labels").glob("*.png"))}
    masks["00"] = ~masks["00"]  # of the training part, which is not scored
    write_masks(tmp_path / "fiji", masks)
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "name: both\nrecipe: recipe.yaml\nset: {sampling.per_epoch: 8, sampling.size: [16, 16], model.widths: [2, 4]}\n"
        "vary: {training.learning_rate: [0.01]}\nimported: {predictions: {Fiji: fiji}}\n"
    )
    out = benchmark(load_plan(plan), out=tmp_path / "out")
    found = values(out, "Jaccard")
    assert found["fiji"] == 1.0
    assert 0 <= found["0.01"] < 1
    with pytest.raises(MissingFileError, match=r"best.yaml"):  # as no run of ours is the best
        flat_members([f"{out}:best"])


@pytest.mark.slow
def test_a_method_is_ranked_with_cells_that_have_no_test_regions(tmp_path: Path) -> None:
    write_discs(tmp_path, epochs=1)
    masks = {file.stem: np.array(Image.open(file)) > 0 for file in sorted((tmp_path / "labels").glob("*.png"))}
    write_masks(tmp_path / "fiji", masks)
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "name: both\nrecipe: recipe.yaml\nset: {sampling.per_epoch: 8, sampling.size: [16, 16], model.widths: [2, 4]}\n"
        "vary: {training.learning_rate: [0.01]}\nimported: {predictions: {Fiji: fiji}}\n"
    )
    out = benchmark(load_plan(plan), out=tmp_path / "out")
    ranked = [row for row in read_json(out / "results" / "ranking.json") if row["metric"] == "Jaccard"]
    of_disc = [(row["cell"], row["split"]) for row in ranked if row["class"] == "disc"]
    assert of_disc == [("fiji", "validation"), ("0.01", "validation")]


@pytest.mark.slow
def test_what_has_changed_is_scored_again(tmp_path: Path) -> None:
    truth = {f"{z}": np.tri(20, k=z, dtype=bool) for z in range(3)}
    write_masks(tmp_path / "truth", truth)
    write_masks(tmp_path / "first", truth)
    write_masks(tmp_path / "second", {name: ~mask for name, mask in truth.items()})
    plan, out = tmp_path / "plan.yaml", tmp_path / "out"
    text = "name: others\nimported: {predictions: {A: first}, truth: truth, binarize: 0.5}\n"
    plan.write_text(text)
    benchmark(load_plan(plan), out=out)
    assert values(out, "Jaccard") == {"a": 1.0}
    plan.write_text(text.replace("first", "second"))
    benchmark(load_plan(plan), out=out, resume=True)
    assert values(out, "Jaccard") == {"a": 0.0}, "another folder"
    before = (out / "imported" / "a.csv").stat().st_mtime_ns
    benchmark(load_plan(plan), out=out, resume=True)
    assert (out / "imported" / "a.csv").stat().st_mtime_ns == before
    for name, mask in truth.items():
        Image.fromarray((mask * 255).astype(np.uint8)).save(tmp_path / "second" / f"{name}.png")
    benchmark(load_plan(plan), out=out, resume=True)
    assert values(out, "Jaccard") == {"a": 1.0}, "other files of the same names"


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ("{nnU-Net: p, nnU Net: p}", r"plan.yaml:3: .*'nnU Net' and the cell 'nnU-Net' would both be called nnu-net"),
        ("{Narrow: p}", r"plan.yaml:3: .*'Narrow' and the cell 'narrow' would both be called narrow"),
    ],
)
def test_no_two_cells_have_one_name(tmp_path: Path, predictions: str, message: str) -> None:
    write_discs(tmp_path, epochs=1)
    (tmp_path / "p").mkdir()
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "name: both\nrecipe: recipe.yaml\n"
        f"imported: {{predictions: {predictions}}}\nvary: {{model.widths: {{narrow: [2, 4]}}}}\n"
    )
    with pytest.raises(RecipeError, match=message):
        benchmark(load_plan(plan), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("name: others\nimported: {predictions: {A: a}, truth: truth, binarize: 0.5}\n")
    with pytest.raises(MissingFileError, match=r"plan.yaml:2: .*a: does not exist"):
        benchmark(load_plan(plan), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.data
@pytest.mark.skipif(DATA is None, reason="needs the public data sets under CRISTAE_DATA")
def test_em_stellars_seven_methods_have_the_published_scores(tmp_path: Path) -> None:
    """The table of the specification, computed from the authors' own files, to five decimals."""
    place = Path(DATA or "") / "em-stellar-cardiac"
    plan = tmp_path / "plan.yaml"
    plan.write_text(f"name: seven\nimported: {{predictions: {place}, truth: {place}/Groundtruth, binarize: 0.5}}\n")
    out = benchmark(load_plan(plan), out=tmp_path / "out")
    published = {
        "cdeep3m": (0.96607, 0.96485, 0.96845, 0.97450, 0.93437),
        "em-net-v1-4x": (0.97289, 0.93384, 0.95655, 0.98035, 0.94722),
        "em-net-v1-bn": (0.97468, 0.95974, 0.96392, 0.98153, 0.95061),
        "em-net-v2-2x": (0.97219, 0.97179, 0.96931, 0.97985, 0.94589),
        "resnet": (0.96320, 0.96219, 0.96586, 0.97286, 0.92901),
        "u-net": (0.96651, 0.96448, 0.95326, 0.97580, 0.93519),
        "vgg": (0.96454, 0.96459, 0.96355, 0.97449, 0.93151),
    }
    for number, metric in enumerate(("F1", "V_rand_fiji", "V_info_fiji", "accuracy", "Jaccard")):
        found = {cell: round(value, 5) for cell, value in values(out, metric).items()}
        assert found == {cell: own[number] for cell, own in published.items()}, metric
