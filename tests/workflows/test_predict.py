"""From run folders and a volume to an OME-Zarr on disk."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import ome_zarr.io
import ome_zarr.reader
import ome_zarr_models
import pytest
import torch
import zarr
from prediction_runs import MITO, cell, make_run, one_pass, textured

from cristae.data.classes import Classes
from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.errors import (
    CristaeError,
    OutputExistsError,
    RunError,
    StorageError,
    VolumeError,
    VoxelSizeError,
)
from cristae.inference import job
from cristae.inference.config import PredictOptions
from cristae.inference.journal import PATTERN, Journal
from cristae.inference.prediction import open_prediction
from cristae.inference.writer import PredictionWriter
from cristae.preprocess.form import fit
from cristae.preprocess.histogram import histogram_of
from cristae.progress import Progress
from cristae.recipe.run import write_summary
from cristae.workflows.predict import predict

ORGANELLES = Classes(names=("background", "mito", "granule"), colors={"granule": "#00ff88"})
KEEP = PredictOptions(probabilities=True)
OVERLAPPING = Classes(names=("membrane", "mito"), exclusive=False)
FULL = Classes(names=("inside", "membrane"), background=False)


class Listening(Progress):
    def __init__(self):
        self.said, self.warned = [], []

    def say(self, message):
        self.said.append(message)

    def warn(self, message):
        self.warned.append(message)


def decoded(path: Path) -> dict[str, np.ndarray]:
    """Every array of a Zarr hierarchy."""
    group = zarr.open_group(path, mode="r")
    return {name: array[...] for name, array in group.members(max_depth=None) if isinstance(array, zarr.Array)}


def assert_same(one: Path, other: Path) -> None:
    first, second = decoded(one), decoded(other)
    assert first.keys() == second.keys()
    for name, voxels in first.items():
        np.testing.assert_array_equal(voxels, second[name], err_msg=name)


@pytest.mark.parametrize("classes", [MITO, ORGANELLES, OVERLAPPING, FULL])
def test_labels_and_probabilities_are_those_of_one_pass(tmp_path, classes):
    run, grey = make_run(tmp_path / "run", classes=classes), textured()
    found = predict([run], cell(grey), out=tmp_path / "out.zarr", options=KEEP)
    expected = one_pass(run, grey).numpy()
    kept = np.stack([image.read() for image in found.probabilities])
    assert np.abs(kept - 255 * expected).max() < 0.51
    labels = np.stack([image.read() for image in found.labels])
    wanted = expected.argmax(0)[None] if classes.softmax else expected > 0.5
    sure = np.abs(np.sort(expected, 0)[-1] - np.sort(expected, 0)[-2]) > 1e-4 if classes.softmax else True
    assert ((labels == wanted) | ~np.asarray(sure)).mean() > 0.9999
    assert 0.02 < (labels > 0).mean() < 0.98
    assert found.classes == classes
    assert found.voxel_size_nm == (40.0, 10.0, 10.0)


def test_any_ome_zarr_reader_opens_it(tmp_path):
    run = make_run(tmp_path / "run", classes=ORGANELLES)
    predict([run], cell(), out=tmp_path / "out.zarr", options=KEEP)
    nodes = list(ome_zarr.reader.Reader(ome_zarr.io.parse_url(tmp_path / "out.zarr"))())
    shapes = [node.data[0].shape for node in nodes if node.data]
    assert shapes == [(3, 4, 75, 110), (4, 75, 110)]
    kinds = {"": "Image", "labels": "Labels", "labels/segmentation": "ImageLabel"}
    for path, kind in kinds.items():
        group = zarr.open_group(tmp_path / "out.zarr" / path, mode="r")
        assert type(ome_zarr_models.open_ome_zarr(group)).__name__ == kind, "it is valid"
    label = json.loads((tmp_path / "out.zarr/labels/segmentation/zarr.json").read_text())["attributes"]["ome"]
    assert [entry["name"] for entry in label["image-label"]["properties"]] == list(ORGANELLES.names)
    assert label["image-label"]["colors"][2] == {"label-value": 2, "rgba": [0, 255, 136, 255]}
    assert label["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] == [40.0, 10.0, 10.0]


@pytest.mark.parametrize("size", [(40.0, 10.0, 10.0), None])
def test_without_probabilities_the_root_is_a_preview_of_the_input(tmp_path, size):
    run, grey = make_run(tmp_path / "run", voxel_size_nm=size), textured()
    predict([run], cell(grey, voxel_size_nm=size), out=tmp_path / "out.zarr")
    preview = zarr.open_array(tmp_path / "out.zarr/0")[...]
    assert preview.shape == (4, 38, 55)
    inner = grey[:, :74].reshape(4, 37, 2, 55, 2).mean((2, 4))
    np.testing.assert_array_equal(preview[:, :37], np.rint(inner).astype(np.uint8))
    multiscale = json.loads((tmp_path / "out.zarr/zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    scale = multiscale["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert scale == ([40.0, 20.0, 20.0] if size else [1.0, 2.0, 2.0])
    assert open_prediction(tmp_path / "out.zarr").labels[0].voxel_size_nm == size


def test_a_box_is_that_part_of_the_whole(tmp_path):
    run = make_run(tmp_path / "run", classes=ORGANELLES)
    whole = predict([run], cell(), out=tmp_path / "whole.zarr", options=KEEP)
    part = predict([run], cell(), out=tmp_path / "part.zarr", options=KEEP, box="1:3,20:66,:")
    assert part.box.start == (1, 20, 0)
    assert part.labels[0].origin_nm == (40.0, 200.0, 0.0)
    np.testing.assert_array_equal(part.labels[0].read(), whole.labels[0].read(part.box))
    for one, other in zip(part.probabilities, whole.probabilities, strict=True):
        assert np.abs(one.read().astype(int) - other.read(part.box)).max() <= 1


def test_outside_the_mask_is_background(tmp_path):
    run, grey = make_run(tmp_path / "run"), textured()
    inside = np.zeros(grey.shape, np.uint8)
    inside[1:3, 10:50, 20:60] = 255
    write_image(image_of_array(inside, voxel_size_nm=(40.0, 10.0, 10.0)), tmp_path / "mask.tif")
    whole = predict([run], cell(grey), out=tmp_path / "whole.zarr", options=KEEP)
    found = predict([run], cell(grey), out=tmp_path / "out.zarr", options=KEEP, mask=tmp_path / "mask.tif")
    np.testing.assert_array_equal(found.labels[0].read(), whole.labels[0].read() * (inside > 0))
    np.testing.assert_array_equal(found.probabilities[0].read(), whole.probabilities[0].read() * (inside > 0))
    assert found.attributes["blocks"] == 36
    assert found.attributes["blocks_masked_out"] == 28  # two slices of 9, and all but 2 x 2 of the other two


def test_much_padding_without_a_mask_is_warned_of(tmp_path):
    run, grey = make_run(tmp_path / "run"), textured()
    grey = np.maximum(grey, 1)
    grey[:, :, : grey.shape[2] // 2] = 0
    path = tmp_path / "cell.tif"
    write_image(image_of_array(grey, voxel_size_nm=(40.0, 10.0, 10.0)), path)
    progress = Listening()
    predict([run], path, out=tmp_path / "out.zarr", progress=progress)
    (warning,) = (said for said in progress.warned if "padding" in said)
    assert warning.startswith("50% of 'cell' is 0 in areas along the border")
    assert f"--mask {path}" in warning
    masked = Listening()
    found = predict([run], path, out=tmp_path / "masked.zarr", mask=path, progress=masked)
    assert not any("padding" in said for said in masked.warned)
    assert not found.labels[0].read()[grey == 0].any()


def test_a_mask_is_refused_where_no_id_says_that_a_voxel_was_left_out(tmp_path):
    run, grey = make_run(tmp_path / "run", classes=FULL), textured()
    write_image(image_of_array(grey, voxel_size_nm=(40.0, 10.0, 10.0)), tmp_path / "mask.tif")
    with pytest.raises(RunError, match=r"inside, membrane; no background\) have no id"):
        predict([run], cell(grey), out=tmp_path / "out.zarr", mask=tmp_path / "mask.tif")
    assert not (tmp_path / "out.zarr").exists()


def test_runs_are_fused(tmp_path):
    grey = textured()
    runs = [make_run(tmp_path / f"run{i}", seed=i) for i in range(2)]
    mean = predict(runs, cell(grey), out=tmp_path / "mean.zarr", options=KEEP)
    expected = (one_pass(runs[0], grey) + one_pass(runs[1], grey)) / 2
    assert np.abs(mean.probabilities[0].read() - 255 * expected[0].numpy()).max() < 0.51
    other = make_run(tmp_path / "golgi", classes=Classes(names=("background", "golgi")), seed=5)
    merged = predict([runs[0], other], cell(grey), out=tmp_path / "merged.zarr")
    assert merged.classes.names == ("background", "mito", "golgi")
    scores = torch.stack([one_pass(runs[0], grey)[0], one_pass(other, grey)[0]])
    best, place = scores.max(0)
    wanted = torch.where(best > 0.5, place + 1, 0).numpy()
    assert (merged.labels[0].read() == wanted).mean() > 0.9999
    assert len(np.unique(wanted)) == 3


def test_another_voxel_size_is_resampled_there_and_back(tmp_path):
    """Twice as fine a volume: one pass over the volume averaged 2 x 2, and probabilities interpolated back."""
    run, grey = make_run(tmp_path / "run"), textured((2, 64, 90))
    fine = grey.repeat(2, 1).repeat(2, 2)
    progress = Listening()
    found = predict(
        [run],
        cell(fine, voxel_size_nm=(30.0, 5.0, 5.0)),
        out=tmp_path / "out.zarr",
        options=KEEP,
        progress=progress,
    )
    assert any("resampled from 30 x 5 x 5 nm to 30 x 10 x 10 nm" in line for line in progress.said)
    assert found.labels[0].shape == fine.shape
    assert found.voxel_size_nm == (30.0, 5.0, 5.0)
    coarse = one_pass(run, grey)
    back = torch.nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")[0]
    assert np.abs(found.probabilities[0].read() - 255 * back.numpy()).max() < 0.52


def test_voxel_sizes_that_cannot_be_compared(tmp_path):
    known, unknown = make_run(tmp_path / "known"), make_run(tmp_path / "unknown", voxel_size_nm=None)
    nameless = cell(voxel_size_nm=None)
    with pytest.raises(VoxelSizeError, match="--voxel-size-nm Z Y X"):
        predict([known], nameless, out=tmp_path / "out.zarr")
    with pytest.raises(VoxelSizeError, match="of the run is not known"):
        predict([unknown], cell(), out=tmp_path / "out.zarr")
    with pytest.raises(VoxelSizeError, match=r"40 x 10 x 10.*40 x 20 x 20"):
        predict([known], cell(), out=tmp_path / "out.zarr", voxel_size_nm=(40.0, 20.0, 20.0))
    write_image(cell().image, tmp_path / "cell.tif")
    with pytest.raises(VoxelSizeError, match=r"cell.tif says 40 x 10 x 10 nm.*the command says 40 x 20 x 20 nm"):
        predict([known], tmp_path / "cell.tif", out=tmp_path / "out.zarr", voxel_size_nm=(40.0, 20.0, 20.0))
    with pytest.raises(VoxelSizeError, match="greater than 0"):
        predict([known], nameless, out=tmp_path / "out.zarr", voxel_size_nm=(40.0, 0.0, 20.0))
    with pytest.raises(VoxelSizeError, match="of the run is not known"):
        predict([known, unknown], cell(), out=tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()
    stated = predict([known], nameless, out=tmp_path / "stated.zarr", voxel_size_nm=(55.0, 10.0, 10.0))
    assert stated.voxel_size_nm == (55.0, 10.0, 10.0), "2D networks take any distance between slices"
    assert predict([unknown], nameless, out=tmp_path / "free.zarr").voxel_size_nm is None
    progress = Listening()
    predict([unknown], nameless, out=tmp_path / "own.zarr", voxel_size_nm=(40.0, 10.0, 10.0), progress=progress)
    assert any("taken as it is" in line for line in progress.warned)


def test_far_grey_values_are_reported_and_volume_scope_adapts(tmp_path):
    run, grey = make_run(tmp_path / "run"), textured()
    dark = (grey // 8).astype(np.uint8)
    progress = Listening()
    predict([run], cell(dark), out=tmp_path / "dark.zarr", progress=progress)
    assert any("far from the training data" in line for line in progress.warned)
    own = make_run(tmp_path / "own", scope="volume")
    progress = Listening()
    found = predict([own], cell(dark), out=tmp_path / "own.zarr", options=KEEP, progress=progress)
    assert not progress.warned
    normalizer = fit(own.recipe.normalize, histogram_of(cell(dark).image))
    expected = one_pass(own, dark, normalizer)[0].numpy()
    assert np.abs(found.probabilities[0].read() - 255 * expected).max() < 0.51


def test_a_run_whose_training_continues_is_reported_and_recorded(tmp_path):
    done, progress = make_run(tmp_path / "done"), Listening()
    found = predict([done], cell(), out=tmp_path / "done.zarr", progress=progress)
    assert not any("training is not finished" in line for line in progress.warned)
    assert found.attributes["runs"][0]["status"] == "complete"
    young = make_run(tmp_path / "young")
    write_summary(young, young.model, {"status": "training", "epoch": 3})
    found = predict([young], cell(), out=tmp_path / "young.zarr", progress=progress)
    assert any("young: training is not finished; weights of epoch 3" in line for line in progress.warned)
    assert found.attributes["runs"][0]["status"] == "training"


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"box": "0:9,:,:"}, VolumeError, "outside"),
        ({"box": "nonsense"}, VolumeError, "is not a box"),
        ({"options": PredictOptions(max_ram="lots")}, RunError, "is not a memory size"),
        ({"options": PredictOptions(max_ram="1MiB")}, RunError, "give at least --max-ram"),
        ({"mask": "small.tif"}, VolumeError, "same shape"),
        ({"mask": "nowhere.tif"}, CristaeError, "nowhere.tif"),
        ({"runs": []}, RunError, "no run was given"),
        ({"runs": ["nowhere"]}, CristaeError, "nowhere"),
        ({"runs": ["two"]}, RunError, "2 channels"),
        ({"runs": ["run", "three"]}, RunError, "different classes"),
        ({"runs": ["run", "strict"]}, RunError, r"predict\.threshold"),
        ({"runs": ["mixed"]}, RunError, "another network"),
        ({"out": "cell.tif"}, VolumeError, r"cell\.zarr.*cristae convert"),
        ({"out": "full.zarr"}, OutputExistsError, "exists already"),
        ({"out": "note.txt"}, OutputExistsError, "exists already"),
    ],
)
def test_bad_requests_write_nothing(tmp_path, monkeypatch, change, error, word):
    monkeypatch.chdir(tmp_path)
    make_run(Path("run"))
    make_run(Path("two"), in_channels=2)
    make_run(Path("three"), classes=ORGANELLES)
    make_run(Path("strict"), predict="threshold: 0.7, block_vox: [1, 32, 48]")
    mixed = make_run(Path("mixed"))
    mixed.weights_path.write_bytes(
        make_run(Path("wide"), model="{name: unet_bn, widths: [8, 8]}").weights_path.read_bytes()
    )
    write_image(image_of_array(np.ones((4, 75, 75), np.uint8)), Path("small.tif"))
    Path("full.zarr").mkdir()
    Path("full.zarr/mine").write_text("precious")
    Path("note.txt").write_text("precious")
    before = sorted(Path().rglob("*"))
    request = {"runs": ["run"], "out": "out.zarr"} | change
    with pytest.raises(error, match=word):
        predict(request.pop("runs"), cell(), **request)
    assert sorted(Path().rglob("*")) == before


def test_colour_images_are_refused(tmp_path):
    volume = cell()
    with pytest.raises(VolumeError, match="grey values"):
        predict(
            [make_run(tmp_path / "run")],
            replace(volume, image=replace(volume.image, colors=3)),
            out=tmp_path / "o.zarr",
        )


class Killed(BaseException):
    """Ends a prediction in this process as abruptly as a process can be ended from within."""


def stop_after(monkeypatch, blocks: int) -> None:
    """Let that many blocks reach the disk, then end without finishing anything."""
    real, count = PredictionWriter.write, [0]

    def write(self, *arguments):
        if count[0] >= blocks:
            raise Killed
        count[0] += 1
        real(self, *arguments)

    monkeypatch.setattr(PredictionWriter, "write", write)


@pytest.mark.parametrize("blocks", [0, 1, 7, 35])
def test_a_stopped_prediction_continues(tmp_path, monkeypatch, blocks):
    run = make_run(tmp_path / "run", classes=OVERLAPPING)
    predict([run], cell(), out=tmp_path / "whole.zarr", options=KEEP)
    with monkeypatch.context() as patch:
        stop_after(patch, blocks)
        with pytest.raises(Killed):
            predict([run], cell(), out=tmp_path / "out.zarr", options=KEEP)
    with pytest.raises(RunError, match="not finished"):
        open_prediction(tmp_path / "out.zarr")
    progress, again = Listening(), []
    real = job.run_pipeline
    monkeypatch.setattr(job, "run_pipeline", lambda items, *rest: real(again.extend(items) or again, *rest))
    predict([run], cell(), out=tmp_path / "out.zarr", options=KEEP, progress=progress)
    assert len(again) == 36 - blocks
    assert_same(tmp_path / "whole.zarr", tmp_path / "out.zarr")


def test_what_a_kill_left_beside_the_output_goes(tmp_path):
    run = make_run(tmp_path / "run")
    (tmp_path / ".out.zarr.part" / "group").mkdir(parents=True)
    (tmp_path / ".out.zarr.part" / "group" / "zarr.json").write_text("{")
    (tmp_path / "out.zarr").mkdir()
    predict([run], cell(), out=tmp_path / "out.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zarr", "run"]


def test_a_stop_while_the_pyramid_is_built(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    predict([run], cell(), out=tmp_path / "whole.zarr")
    with monkeypatch.context() as patch:
        patch.setattr(PredictionWriter, "finish", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            predict([run], cell(), out=tmp_path / "out.zarr")
    predict([run], cell(), out=tmp_path / "out.zarr")
    assert_same(tmp_path / "whole.zarr", tmp_path / "out.zarr")


def test_a_torn_journal_and_lost_voxels_are_made_good(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    predict([run], cell(), out=tmp_path / "whole.zarr")
    out = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        stop_after(patch, 9)
        with pytest.raises(Killed):
            predict([run], cell(), out=out)
    (journal,) = out.glob(PATTERN)
    journal.write_bytes(journal.read_bytes()[:-25])
    (out / "labels/segmentation/0/c/0/1/1").unlink()
    progress = Listening()
    predict([run], cell(), out=out, progress=progress)
    assert any("damaged" in line for line in progress.warned)
    assert_same(tmp_path / "whole.zarr", out)
    assert not list(out.glob(PATTERN))


def test_anything_changed_refuses_to_mix(tmp_path, monkeypatch):
    run, out = make_run(tmp_path / "run"), tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        stop_after(patch, 9)
        with pytest.raises(Killed):
            predict([run], cell(), out=out)
    before = decoded(out)
    with pytest.raises(OutputExistsError, match=r"runs\.0\.weights_sha256"):
        predict([make_run(tmp_path / "other" / "run", seed=3)], cell(), out=out)
    with pytest.raises(OutputExistsError, match=r"settings\.box"):
        predict([run], cell(), out=out, box="0:1,:,:")
    with pytest.raises(OutputExistsError, match=r"settings\.probabilities"):
        predict([run], cell(), out=out, options=KEEP)
    with pytest.raises(OutputExistsError, match=r"input\.shape"):
        predict([run], cell(textured((5, 75, 110))), out=out)
    with pytest.raises(OutputExistsError, match="other grey values"):
        predict([run], cell(textured(seed=9)), out=out)
    for name, voxels in decoded(out).items():
        np.testing.assert_array_equal(voxels, before[name])
    predict([run], cell(), out=out, options=PredictOptions(max_ram="6GiB"))


def test_a_block_in_the_middle_that_changed_refuses_to_mix(tmp_path, monkeypatch):
    run, out, grey = make_run(tmp_path / "run"), tmp_path / "out.zarr", textured()
    with monkeypatch.context() as patch:
        stop_after(patch, 27)
        with pytest.raises(Killed):
            predict([run], cell(grey), out=out)
    changed = grey.copy()
    changed[1, 40, 50] += 1
    with pytest.raises(OutputExistsError, match=r"other grey values \(block 1:2"):
        predict([run], cell(changed), out=out)


def test_a_finished_prediction_is_given_back(tmp_path, monkeypatch):
    run, out, grey = make_run(tmp_path / "run"), tmp_path / "out.zarr", textured()
    with monkeypatch.context() as patch:  # a kill after the last attribute and before the journal goes
        patch.setattr(Journal, "remove", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            predict([run], cell(grey), out=out)
    assert list(out.glob(PATTERN))
    before, progress = decoded(out), Listening()
    monkeypatch.setattr(PredictionWriter, "write", lambda *_: pytest.fail("nothing is left to write"))
    again = predict([run], cell(grey), out=out, progress=progress)
    assert again.path == out
    assert any("finished already" in line for line in progress.said)
    assert not list(out.glob(PATTERN))
    changed = grey.copy()
    changed[2, 40, 50] += 1
    with pytest.raises(OutputExistsError, match="finished prediction of an image with other grey values"):
        predict([run], cell(changed), out=out)
    with pytest.raises(
        OutputExistsError, match=r"a finished prediction of something else(.|\n)*settings\.probabilities"
    ):
        predict([run], cell(grey), out=out, options=KEEP)
    with pytest.raises(OutputExistsError, match=r"differs:\n  settings\.normalize: run before, volume now\n  runs"):
        predict([run], cell(grey), out=out, options=PredictOptions(normalize="volume"))
    for name, voxels in decoded(out).items():
        np.testing.assert_array_equal(voxels, before[name])


def test_a_full_disk_is_reported_and_made_good(tmp_path, monkeypatch):
    run, out = make_run(tmp_path / "run"), tmp_path / "out.zarr"
    real = PredictionWriter.write

    def full(self, block, *rest):
        if block == 5:
            raise StorageError("the disk is full")
        real(self, block, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(PredictionWriter, "write", full)
        with pytest.raises(StorageError, match="full"):
            predict([run], cell(), out=out)
    predict([run], cell(), out=out)
    predict([run], cell(), out=tmp_path / "whole.zarr")
    assert_same(tmp_path / "whole.zarr", out)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_may_not_be_written(tmp_path):
    run = make_run(tmp_path / "run")
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="permission denied"):
        predict([run], cell(), out=tmp_path / "locked" / "out.zarr")


def test_same_inputs_same_bytes(tmp_path):
    run = make_run(tmp_path / "run")
    for name in ("one", "two"):
        predict([run], cell(), out=tmp_path / f"{name}.zarr")
    files = [path.relative_to(tmp_path / "one.zarr") for path in (tmp_path / "one.zarr").rglob("*") if path.is_file()]
    for file in files:
        assert (tmp_path / "one.zarr" / file).read_bytes() == (tmp_path / "two.zarr" / file).read_bytes(), file
