"""Preview slices: what is kept comes back, and new epochs replace old ones."""

import json

import numpy as np
import pytest

from cristae.data.classes import Classes
from cristae.errors import RunError
from cristae.report.preview import PredictedSlice, read_previews, stretch_contrast, write_preview

CLASSES = Classes(names=("background", "mito"))
MASKS = Classes(names=("membrane", "mito"), exclusive=False)


def write(folder, *, z=0, volume="v", classes=CLASSES, truth=None, prediction=None, valid=None):
    shape = (2, 9, 7) if not classes.exclusive else (9, 7)
    truth = np.zeros(shape, np.uint8) if truth is None else truth
    kept = PredictedSlice(
        volume=volume,
        z=z,
        image=np.arange(63, dtype=np.uint16).reshape(9, 7) * 100,
        truth=truth,
        valid=valid,
        prediction=truth if prediction is None else prediction,
        voxel_size_nm=None,
    )
    write_preview(folder, kept, classes)


def test_a_slice_comes_back(tmp_path):
    truth, prediction, valid = np.random.default_rng(0).integers(0, 2, (3, 9, 7)).astype(np.uint8)
    write(tmp_path, z=12, truth=truth, prediction=prediction, valid=valid)
    classes, (preview,) = read_previews(tmp_path)
    assert classes == CLASSES
    assert (preview.volume, preview.z, preview.class_name, preview.voxel_size_nm) == ("v", 12, None, None)
    np.testing.assert_array_equal(preview.truth, np.where(valid, truth, 255))
    np.testing.assert_array_equal(preview.prediction, prediction)
    hit = (truth & prediction & valid).sum()
    assert preview.iou["mito"] == pytest.approx(hit / ((truth | prediction) & valid).sum())
    assert {"v_z0012_image.png", "v_z0012_truth.png", "v_z0012_prediction.png"} < {p.name for p in tmp_path.iterdir()}


def test_the_same_slice_of_a_later_epoch_takes_its_place(tmp_path):
    for z in (3, 1, 3):
        write(tmp_path, z=z)
    ones = np.ones((9, 7), np.uint8)
    write(tmp_path, z=1, truth=ones)
    previews = read_previews(tmp_path)[1]
    assert [preview.z for preview in previews] == [1, 3]
    assert previews[0].truth.all()
    assert np.isnan(previews[1].iou["mito"])


def test_overlapping_classes_are_kept_one_by_one(tmp_path):
    truth = np.zeros((2, 9, 7), np.uint8)
    truth[0, :5], truth[1, 3:] = 1, 1
    write(tmp_path, classes=MASKS, truth=truth)
    previews = read_previews(tmp_path)[1]
    assert [preview.class_name for preview in previews] == ["membrane", "mito"]
    for preview, mask in zip(previews, truth, strict=True):
        np.testing.assert_array_equal(preview.truth, mask)
        assert preview.iou == {preview.class_name: 1}


def test_names_that_are_no_file_names_stay_apart(tmp_path):
    for volume in ("set/a", "set_a", "../a"):
        write(tmp_path / "preview", volume=volume)
    assert [preview.volume for preview in read_previews(tmp_path / "preview")[1]] == ["../a", "set/a", "set_a"]
    assert [path.name for path in tmp_path.iterdir()] == ["preview"]
    assert len(list((tmp_path / "preview").glob("*_image.png"))) == 3


def test_contrast_runs_from_black_to_white():
    image = np.linspace(1000, 3000, 10_000).reshape(100, 100).astype(np.float32)
    image[0, 0] = 1e6
    grey = stretch_contrast(image)
    assert grey.dtype == np.uint8
    assert (grey.min(), grey.max()) == (0, 255)
    assert grey[50, 0] == pytest.approx(127, abs=2)
    assert not stretch_contrast(np.full((4, 4), 7, np.int16)).any()


def test_nothing_kept_and_damage(tmp_path):
    assert read_previews(tmp_path) == (None, ())
    write(tmp_path)
    entries = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / entries[0]["files"]["truth"]).write_bytes(b"no picture")
    with pytest.raises(RunError, match="damaged"):
        read_previews(tmp_path)
