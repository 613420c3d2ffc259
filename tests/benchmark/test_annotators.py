"""How far a second annotator agrees with the truth: scored as a prediction is, where both have labelled."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import tifffile

from cristae.benchmark.annotators import score_second_annotator
from cristae.data.open import open_data
from cristae.errors import CristaeError
from cristae.metrics.score import read_scores
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.run import Run

RECIPE = """
name: two-people
data:
  classes: {names: [background, mitochondria]}
  volumes:
    - name: stack
      image: image.tif
      voxel_size_nm: [50, 8, 8]
      labels: {kind: ids, path: anna.tif}
      SECOND
    - {name: other, image: other.tif, voxel_size_nm: [50, 8, 8], labels: {kind: ids, path: anna.tif}}
  train: [{volume: other}]
  validate: [{volume: stack, slices: '0:1'}]
  test: [{volume: stack, slices: '1:2'}]
model: {name: unet_bn}
"""
BERT = "second_labels: {kind: values, path: bert.tif, values: {0: background, 1: mitochondria, 9: unlabelled}}"


def run_of(folder: Path, *, second: str = BERT) -> Run:
    """Anna draws a square of 4 x 4 voxels, Bert the same one voxel to the right; in slice 1 Bert leaves out where he
    differs on the right."""
    anna = np.zeros((2, 12, 12), np.uint8)
    anna[:, 4:8, 4:8] = 1
    bert = np.roll(anna, 1, axis=2)
    bert[1, :, 8:] = 9
    for name, voxels in (("image", anna * 90 + 7), ("other", anna * 80 + 9), ("anna", anna), ("bert", bert)):
        tifffile.imwrite(folder / f"{name}.tif", voxels, metadata={"axes": "ZYX"})
    (folder / "recipe.yaml").write_text(RECIPE.replace("SECOND", second))
    recipe = load_recipe(folder / "recipe.yaml")
    run: Any = SimpleNamespace(recipe=recipe, classes=recipe.data.classes)
    return cast(Run, run)


def jaccard(table: Path) -> float:
    rows = [row for row in read_scores(table) if (row.metric, row.class_name) == ("Jaccard", "mitochondria")]
    return rows[0].value


def test_a_second_annotator_is_scored_where_both_have_labelled(tmp_path: Path) -> None:
    found = score_second_annotator(run_of(tmp_path), tmp_path / "out", Progress())
    assert list(found) == ["validation", "test"]
    assert jaccard(found["validation"]) == pytest.approx(12 / 20)  # 12 in both, 4 of Anna's and 4 of Bert's alone
    assert jaccard(found["test"]) == pytest.approx(12 / 16)  # Bert's own 4 are not labelled here


def test_what_was_scored_is_left_alone(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    score_second_annotator(run, tmp_path / "out", Progress())
    (tmp_path / "bert.tif").write_bytes((tmp_path / "anna.tif").read_bytes())
    found = score_second_annotator(run, tmp_path / "out", Progress())
    assert jaccard(found["validation"]) == pytest.approx(12 / 20)


def test_second_labels_that_are_not_there_are_named(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    (tmp_path / "bert.tif").unlink()
    with pytest.raises(CristaeError, match=r"second_labels of 'stack': .*bert\.tif"):
        open_data(run.recipe.data, run.recipe.folder)


def test_without_one_nothing_is_scored(tmp_path: Path) -> None:
    assert score_second_annotator(run_of(tmp_path, second=""), tmp_path / "out", Progress()) == {}
    assert not (tmp_path / "out").exists()


def test_the_first_annotator_stays_the_truth(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    dataset = open_data(run.recipe.data, run.recipe.folder)
    assert [volume.name for volume in dataset.second] == ["stack"]
    mine, other = dataset.volumes[0], dataset.second[0]
    assert int(mine.labels[0].read()[0, 5].argmax()) == 4
    assert int(other.labels[0].read()[0, 5].argmax()) == 5
    assert mine.valid is None


def test_second_labels_need_first_ones(tmp_path: Path) -> None:
    text = RECIPE.replace("labels: {kind: ids, path: anna.tif}\n      SECOND", BERT)
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(CristaeError, match="give the first annotator's as `labels`"):
        load_recipe(tmp_path / "recipe.yaml")
