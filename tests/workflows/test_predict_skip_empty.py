"""Blocks without content are not shown to the networks where that is asked for."""

import json
from dataclasses import replace

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from prediction_runs import cell, make_run, one_pass, textured
from test_predict import FULL, ORGANELLES, Killed, Listening, assert_same, stop_after

from cristae.cli.main import app
from cristae.data.formats import write_image
from cristae.errors import OutputExistsError, RunError
from cristae.inference.config import PredictOptions
from cristae.inference.emptiness import is_empty
from cristae.inference.prediction import open_prediction
from cristae.inference.request import PredictionRequest
from cristae.preprocess.normalize import Normalizer
from cristae.report.prediction_page import prediction_page
from cristae.workflows.predict import finish_prediction, plan_prediction, predict
from cristae.workflows.predict_parts import predict_part

CONSTANT = PredictOptions(probabilities=True, skip_empty="constant")
BLOCKS = "block_vox: [1, 32, 32]"


def padded() -> np.ndarray:
    """Two slices of 4 x 4 blocks each; from pixel 50 on there is padding."""
    grey = textured((2, 128, 128))
    grey[:, :, 50:] = 7
    return grey


def test_blocks_whose_halo_has_one_value_are_background_and_others_as_ever(tmp_path):
    run, grey, said = make_run(tmp_path / "run", predict=BLOCKS, classes=ORGANELLES), padded(), Listening()
    found = predict([run], cell(grey), out=tmp_path / "out.zarr", options=CONSTANT, progress=said)
    reach = found.attributes["runs"][0]["locality"]["reach"][2]
    first = -(-(50 + reach) // 32)  # the first column of blocks whose halo is in the padding
    expected = np.rint(255 * one_pass(run, grey).numpy())
    expected[1:, :, :, 32 * first :], expected[0, :, :, 32 * first :] = 0, 255
    kept = np.stack([image.read() for image in found.probabilities])
    assert np.abs(kept - expected).max() <= 1
    assert not found.labels[0].read()[:, :, 32 * first :].any()
    skipped = 2 * 4 * (4 - first)
    assert skipped > 0
    empty = found.attributes["empty"]
    assert (empty["blocks"], empty["voxels"]) == (skipped, skipped * 32 * 32)
    assert empty["numbers"].startswith(f"{first}-3, {4 + first}-7")
    assert found.attributes["settings"]["skip_empty"] == "constant"
    assert found.attributes["blocks_masked_out"] == 0
    told = f"{skipped} of 32 blocks, {skipped / 32:.0%} of the voxels, are empty (one grey value)"
    assert any(told in line for line in said.said)
    assert "are empty (one grey value): they were not shown to the networks" in prediction_page(found)


def test_without_the_option_nothing_is_skipped(tmp_path):
    run, grey = make_run(tmp_path / "run", predict=BLOCKS), padded()
    found = predict([run], cell(grey), out=tmp_path / "out.zarr", options=PredictOptions(probabilities=True))
    assert np.abs(found.probabilities[0].read() - 255 * one_pass(run, grey)[0].numpy()).max() < 0.51
    assert "empty" not in found.attributes


def test_a_kill_another_rule_and_parts_by_other_processes(tmp_path, monkeypatch):
    run, path, out = make_run(tmp_path / "run", predict=BLOCKS), tmp_path / "cell.tif", tmp_path / "out.zarr"
    write_image(cell(padded()).image, path)
    whole = predict([run], path, out=tmp_path / "whole.zarr", options=CONSTANT)
    with monkeypatch.context() as patch:
        stop_after(patch, 20)
        with pytest.raises(Killed):
            predict([run], path, out=out, options=CONSTANT)
    entries = [json.loads(line) for file in out.glob("*.jsonl") for line in file.read_text().splitlines()]
    assert {entry["empty"] for entry in entries} == {True, False}
    with pytest.raises(OutputExistsError, match=r"settings\.skip_empty: constant before, None now"):
        predict([run], path, out=out, options=PredictOptions(probabilities=True))
    with pytest.raises(OutputExistsError, match=r"settings\.skip_empty: constant before, 0\.02 now"):
        predict([run], path, out=out, options=replace(CONSTANT, skip_empty=0.02))
    request = PredictionRequest.from_json(plan_prediction([run], path, out=out, options=CONSTANT).request.to_json())
    for part in (range(0, 32, 2), range(1, 32, 2)):
        predict_part(request, blocks=part)
    found = finish_prediction(request)
    assert_same(tmp_path / "whole.zarr", out)
    assert found.attributes["empty"] == whole.attributes["empty"]
    assert found.attributes["input_sha256"] == whole.attributes["input_sha256"]


def test_an_empty_block_that_changes_is_noticed(tmp_path, monkeypatch):
    run, grey, out = make_run(tmp_path / "run", predict=BLOCKS), padded(), tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        stop_after(patch, 20)
        with pytest.raises(Killed):
            predict([run], cell(grey), out=out, options=CONSTANT)
    grey[0, :, 60:] = 9
    with pytest.raises(OutputExistsError, match="other grey values"):
        predict([run], cell(grey), out=out, options=CONSTANT)


def test_a_rule_for_noise_and_a_mask_together(tmp_path):
    run, grey = make_run(tmp_path / "run", predict=BLOCKS), padded().astype(np.int16)
    grey[:, :, 50:] += np.random.default_rng(0).integers(-2, 3, grey[:, :, 50:].shape, np.int16)
    grey = grey.clip(0, 255).astype(np.uint8)
    inside = np.ones(grey.shape, np.uint8)
    inside[1] = 0
    write_image(cell(inside).image, tmp_path / "mask.tif")
    deviation = float(grey[:, :, 64:].std() / 215)  # the run's normaliser has a range of 215
    options = PredictOptions(skip_empty=1.1 * deviation)
    found = predict([run], cell(grey), out=tmp_path / "out.zarr", mask=tmp_path / "mask.tif", options=options)
    assert found.attributes["blocks_masked_out"] == 16
    assert found.attributes["empty"]["blocks"] in (4, 8)
    strict = PredictOptions(skip_empty=0.5 * deviation)
    none = predict([run], cell(grey), out=tmp_path / "none.zarr", mask=tmp_path / "mask.tif", options=strict)
    assert none.attributes["empty"] == {"blocks": 0, "voxels": 0, "numbers": ""}


def test_what_is_refused(tmp_path):
    run = make_run(tmp_path / "run", classes=FULL)
    with pytest.raises(RunError, match=r"skip_empty: leaves voxels without a class"):
        predict([run], cell(), out=tmp_path / "out.zarr", options=CONSTANT)
    for rule in (0.0, -1.0, float("nan"), "padding"):
        with pytest.raises(RunError, match=r"skip_empty: expected constant, or the largest standard deviation"):
            PredictOptions(skip_empty=rule)


@pytest.mark.parametrize(("text", "blocks"), [("constant", 1), ("0.01", 2)])
def test_the_verb_takes_the_rule(tmp_path, text, blocks):
    grey = textured((3, 64, 64))
    grey[1], grey[2] = 9, 9 + np.arange(64) % 2  # a standard deviation of 0.5 / 215
    write_image(cell(grey).image, tmp_path / "cell.tif")
    run = make_run(tmp_path / "run", predict="block_vox: [1, 64, 64]")
    command = ["predict", f"{tmp_path}/cell.tif", "--run", str(run.path), "--out", f"{tmp_path}/out.zarr"]
    app([*command, "--skip-empty", text], standalone_mode=False)
    assert open_prediction(tmp_path / "out.zarr").attributes["empty"]["blocks"] == blocks
    with pytest.raises(typer.BadParameter, match=r"expected constant or a standard deviation such as 0\.02, got 'all'"):
        app([*command, "--skip-empty", "all"], standalone_mode=False)


@given(st.lists(st.integers(0, 255), min_size=8, max_size=8), st.floats(0.001, 2))
def test_the_deviation_is_that_of_numpy(values, rule):
    grey = np.array(values, np.uint8).reshape(2, 2, 2)
    normalizers = [Normalizer(50.0, 150.0), Normalizer(0.0, 1000.0, invert=True)]
    expected = float(np.std(grey.astype(np.float64))) / 100
    if abs(expected - rule) > 1e-5:
        assert is_empty(grey, 0, rule, normalizers) == (expected < rule)
    assert is_empty(grey, 0, "constant", normalizers) == (len(set(values)) == 1)


def test_each_slice_by_its_own_range_and_copies_count():
    normalizer = Normalizer(0.0, 100.0, slices=((0.0, 100.0), (0.0, 100.0), (100.0, 200.0)))
    grey = np.stack([np.full((4, 4), 30, np.uint8), np.full((4, 4), 130, np.uint8)])
    assert is_empty(grey, 1, 0.001, [normalizer])  # 30 of 0 to 100, 130 of 100 to 200
    assert not is_empty(grey, 0, 0.001, [normalizer])
    assert not is_empty(np.stack([grey, np.arange(32, dtype=np.uint8).reshape(2, 4, 4)]), 1, 0.001, [normalizer])
    assert not is_empty(np.full((1, 2, 2), np.nan, np.float32), 0, 0.5, [Normalizer(0.0, 1.0)])
    assert not is_empty(np.full((1, 2, 2), np.nan, np.float32), 0, "constant", [Normalizer(0.0, 1.0)])
