"""Predictions of a coarser level of the volume's pyramid, for a quick look."""

from pathlib import Path

import numpy as np
import pytest
from prediction_runs import SIZE_NM, cell, make_run, one_pass, textured
from test_predict import KEEP, Killed, Listening, stop_after

from cristae.cli.main import app
from cristae.data.formats import open_image, write_image
from cristae.data.image import image_of_array
from cristae.errors import FormatError, OutputExistsError, RunError, VolumeError
from cristae.inference.config import PredictOptions
from cristae.report.prediction_page import prediction_page
from cristae.workflows.inspect import inspect
from cristae.workflows.predict import predict

FINE_NM = (SIZE_NM[0], SIZE_NM[1] / 2, SIZE_NM[2] / 2)
GREY = np.kron(textured((4, 150, 50)), np.ones((1, 2, 2), np.uint8))  # its mean of 2 x 2 is the texture


@pytest.fixture
def pyramid(tmp_path: Path) -> Path:
    write_image(image_of_array(GREY, voxel_size_nm=FINE_NM), tmp_path / "cell.zarr")
    return tmp_path / "cell.zarr"


def test_a_level_is_predicted_as_a_volume_of_its_own_and_lies_on_the_full_one(tmp_path, pyramid):
    run, said = make_run(tmp_path / "run"), Listening()
    options = PredictOptions(probabilities=True, level=1)
    found = predict([run], pyramid, out=tmp_path / "out.zarr", options=options, progress=said)
    expected = 255 * one_pass(run, textured((4, 150, 50)))[0].numpy()
    assert np.abs(found.probabilities[0].read() - expected).max() < 0.51
    label = found.labels[0]
    assert (label.shape, label.voxel_size_nm, label.origin_nm) == ((4, 150, 50), SIZE_NM, (0.0, 2.5, 2.5))
    assert found.preview == "preview of level 1"
    assert found.attributes["input"]["level"] == 1
    assert found.attributes["preview"] == "preview of level 1"
    assert "cell: preview of level 1, 4 x 150 x 50 voxels of 40 x 10 x 10 nm (z, y, x)" in said.said
    assert "preview of level 1" in prediction_page(found)
    described = inspect(f"{tmp_path}/out.zarr:/labels/segmentation")[0]
    assert described.details["made from"] == "preview of level 1"


def test_a_level_of_another_voxel_size_is_resampled_as_such_a_volume_is(tmp_path, pyramid):
    run = make_run(tmp_path / "run", voxel_size_nm=FINE_NM)
    found = predict([run], pyramid, out=tmp_path / "out.zarr", options=PredictOptions(probabilities=True, level=1))
    alone = predict([run], cell(textured((4, 150, 50))), out=tmp_path / "alone.zarr", options=KEEP)
    assert found.attributes["settings"]["working_voxel_size_nm"] == list(FINE_NM)
    np.testing.assert_array_equal(found.probabilities[0].read(), alone.probabilities[0].read())


def test_box_and_mask_are_those_of_the_level(tmp_path, pyramid):
    run, inside = make_run(tmp_path / "run"), np.zeros(GREY.shape, np.uint8)
    inside[:, :, :40] = 1
    write_image(image_of_array(inside, voxel_size_nm=FINE_NM), tmp_path / "mask.zarr")
    options = PredictOptions(level=1)
    with pytest.raises(VolumeError, match="must be a grey image of the same shape"):
        predict([run], pyramid, out=tmp_path / "out.zarr", mask=tmp_path / "mask.zarr", options=options)
    mask, box = f"{tmp_path}/mask.zarr:/1", "1:3,10:150,0:50"
    found = predict([run], pyramid, out=tmp_path / "out.zarr", mask=mask, box=box, options=options)
    expected = one_pass(run, textured((4, 150, 50)))[0].numpy()[1:3, 10:] > 0.5
    np.testing.assert_array_equal(found.labels[0].read()[:, :, :20], expected[:, :, :20])
    assert not found.labels[0].read()[:, :, 20:].any()


def test_another_level_refuses_to_mix(tmp_path, pyramid, monkeypatch):
    run, out, options = make_run(tmp_path / "run"), tmp_path / "out.zarr", PredictOptions(level=1)
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        with pytest.raises(Killed):
            predict([run], pyramid, out=out, options=options)
    with pytest.raises(OutputExistsError, match=r"input\.level: 1 before, 0 now"):
        predict([run], f"{pyramid}:/1", out=out)
    with pytest.raises(OutputExistsError, match=r"input\.shape\.1: 150 before, 300 now"):
        predict([run], pyramid, out=out)
    found = predict([run], pyramid, out=out, options=options)
    expected = one_pass(run, textured((4, 150, 50)))[0].numpy() > 0.5
    np.testing.assert_array_equal(found.labels[0].read(), expected)


def test_what_has_no_such_level(tmp_path, pyramid):
    run, out = make_run(tmp_path / "run"), tmp_path / "out.zarr"
    write_image(image_of_array(GREY, voxel_size_nm=FINE_NM), tmp_path / "cell.tif")
    with pytest.raises(FormatError, match=r"cell\.tif: is no pyramid .*`cristae convert"):
        predict([run], tmp_path / "cell.tif", out=out, options=PredictOptions(level=1))
    with pytest.raises(FormatError, match=r"levels 0 to 1, no level 2"):
        predict([run], pyramid, out=out, options=PredictOptions(level=2))
    with pytest.raises(VolumeError, match="is open already"):
        predict([run], cell(), out=out, options=PredictOptions(level=1))
    with pytest.raises(RunError, match=r"level: expected 0 for full size, .* got -1"):
        PredictOptions(level=-1)
    assert not out.exists()


def test_the_verb_takes_the_level(tmp_path, pyramid):
    run = make_run(tmp_path / "run")
    command = ["predict", str(pyramid), "--run", str(run.path), "--out", f"{tmp_path}/out.zarr", "--level", "1"]
    app(command, standalone_mode=False)
    assert open_image(f"{tmp_path}/out.zarr:/labels/segmentation").shape == (4, 150, 50)
