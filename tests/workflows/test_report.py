"""Pages of predictions and of tables of scores."""

import base64
import io

import numpy as np
import pytest
from PIL import Image as Picture
from prediction_files import write_prediction

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats.ome_zarr import write_attributes
from cristae.errors import OutputExistsError, RunError
from cristae.inference.prediction import open_prediction
from cristae.metrics.score import Score, write_scores
from cristae.report.prediction_page import class_voxels
from cristae.workflows.report import report

THREE = Classes(names=("background", "cell", "granule"))
MASKS = Classes(names=("membrane", "mito"), exclusive=False)


def labels(n_classes, *shape):
    return np.random.default_rng(0).integers(0, n_classes, shape).astype(np.uint8)


def picture(page, name):
    data = page.split(f'id="{name}"')[1].split("base64,")[1].split('"')[0]
    return np.asarray(Picture.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))


def test_a_prediction_is_shown_with_its_input_and_its_volumes(tmp_path):
    ids = labels(3, 1, 10, 40, 50)
    path = write_prediction(tmp_path / "p.zarr", ids, THREE, box=Box((100, 0, 0), (110, 40, 50)))
    page = report(path)
    assert page == tmp_path / "p-report.html"
    text = page.read_text()
    assert [z for z in range(100, 110) if f"<b>slice {z}</b>" in text] == [101, 103, 105, 107, 109]
    shown = picture(text, "s0-labels")
    np.testing.assert_array_equal(shown[..., 3] != 0, ids[0, 1] != 0)
    assert picture(text, "s0-grey").shape == (40, 50, 4)
    for name, count in zip(THREE.names, np.bincount(ids.ravel()), strict=True):
        assert f"{100 * count / ids.size:.2f} %" in text
        assert f"{count * 50 * 10 * 10 / 1e9:.4g}" in text
        assert name in text
    assert "discs-00c0ffee" in text
    with pytest.raises(OutputExistsError):
        report(path)


def test_large_slices_are_thinned_out(tmp_path):
    ids = labels(3, 1, 1, 30, 2100)
    text = report(write_prediction(tmp_path / "p.zarr", ids, THREE)).read_text()
    np.testing.assert_array_equal(picture(text, "s0-labels")[..., 3] != 0, ids[0, 0, ::3, ::3] != 0)
    assert "shown at 1/3 of its size" in text


def test_voxels_are_counted_once_for_each_overlapping_class(tmp_path):
    masks = labels(2, 2, 5, 30, 20)
    prediction = open_prediction(write_prediction(tmp_path / "p.zarr", masks, MASKS, voxel_size_nm=None))
    assert class_voxels(prediction) == {"membrane": int(masks[0].sum()), "mito": int(masks[1].sum())}
    text = report(tmp_path / "p.zarr").read_text()
    assert "the voxel size is not known" in text
    assert "µm³" not in text


def test_a_prediction_with_probabilities_says_that_there_is_no_picture(tmp_path):
    ids = labels(2, 1, 2, 20, 20)
    path = write_prediction(tmp_path / "p.zarr", ids, Classes(names=("background", "mito")), probabilities=ids * 255)
    assert "the input is not kept with probabilities" in report(path).read_text()


def test_a_mask_is_told(tmp_path):
    for name, digest, told in (("masked", "ab" * 32, True), ("whole", None, False)):
        path = write_prediction(tmp_path / f"{name}.zarr", labels(3, 1, 2, 20, 20), THREE)
        write_attributes(path, {"input": {"shape": [2, 20, 20], "mask_sha256": digest}})
        assert ("outside it were not predicted, and are counted as background" in report(path).read_text()) == told


def test_an_unfinished_prediction_has_no_page(tmp_path):
    path = write_prediction(tmp_path / "p.zarr", labels(3, 1, 2, 20, 20), THREE, status="running")
    with pytest.raises(RunError, match="not finished"):
        report(path)
    assert [file.name for file in tmp_path.iterdir()] == ["p.zarr"]


def test_runs_are_compared_and_the_best_stands_out(tmp_path):
    rule = "positive=mito; pooled; n=voxels"
    scores = [
        Score(run, "v", "mito", metric, value, 9, rule)
        for run, value in (("A", 0.25), ("B", 0.75), ("C", float("nan")))
        for metric in ("Jaccard", "F1")
    ]
    write_scores(tmp_path / "s.csv", scores)
    text = report(tmp_path / "s.csv").read_text()
    best = [cell.split("<span>")[1].split("<")[0] for cell in text.split('<td class="number best"')[1:]]
    assert best == ["0.7500", "0.7500"]
    assert "0.2500" in text
    assert "–" in text


def test_one_run_has_a_plain_table(tmp_path):
    rule = "mean over all classes; pooled; n=classes"
    write_scores(tmp_path / "s.csv", [Score("A", "v", "all", "mIoU", 0.5, 2, rule)])
    text = report(tmp_path / "s.json", out=tmp_path / "page.html").read_text()
    assert "Mean IoU 0.5000" in text
