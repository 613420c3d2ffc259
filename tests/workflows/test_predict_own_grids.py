"""Runs of different voxel sizes, axes and normalisations as one prediction: one read, one write."""

import functools
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prediction_runs import SIZE_NM, cell, make_run, textured
from test_predict import ORGANELLES, Killed, assert_same, stop_after

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats import write_image
from cristae.data.image import Image
from cristae.errors import OutputExistsError, RunError
from cristae.inference.config import PredictOptions
from cristae.inference.plan import _largest_input, _read_vox, ram_of_plan
from cristae.inference.planning import _workload
from cristae.inference.predictor import Predictor
from cristae.inference.request import PredictionRequest
from cristae.recipe.network import locality_of
from cristae.recipe.run import Run
from cristae.workflows.predict import finish_prediction, plan_prediction, predict
from cristae.workflows.predict_parts import begin_prediction, predict_part

SHAPE = (4, 56, 64)
BOTH = PredictOptions(probabilities=True, disagreement=True)
SLICES, CUBES = "{name: unet_bn, widths: [4, 8]}", "{name: unet_3d, base: 2, depth: 3, padded: true}"
BLOCKS = "block_vox: [2, 32, 40]"


@functools.cache
def locality(model: str) -> dict:
    """Of a network that is measured once for all tests; runs keep it as trainings do."""
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder) / "run", model=model)
        return locality_of(run.build_network(), run.recipe).to_dict()


def make_run_of(folder: Path, model: str = SLICES, **more) -> Run:
    return make_run(folder, model=model, facts={"locality": locality(model)}, **more)


def make_runs(folder, classes=ORGANELLES, predict=BLOCKS):
    """A 2D network at the volume's voxels, one at twice as large, and a 3D network at other z, y and x."""
    coarse, cubes = (SIZE_NM[0], 20.0, 20.0), (60.0, 8.0, 8.0)
    return [
        make_run_of(folder / "own", classes=classes, predict=predict),
        make_run_of(folder / "coarse", classes=classes, seed=1, voxel_size_nm=coarse, scope="slice", predict=predict),
        make_run_of(
            folder / "cubes", classes=classes, seed=2, voxel_size_nm=cubes, predict=f"{predict}, windows: exact",
            model=CUBES, patch_size=(8, 16, 16),
        ),
    ]  # fmt: skip


def floats(runs, volume, out, core, **more):
    """What a prediction computes for a box before it is rounded to 8 bits, (K, Z, Y, X)."""
    inputs = plan_prediction(runs, volume, out=out, **more).inputs
    predictor, grid = Predictor(inputs.members), inputs.grid
    with predictor.predicting():
        return grid.probabilities(predictor, grid.read.read(grid.input_box(predictor, core)), core).numpy().copy()


@pytest.mark.parametrize("core", [Box.of_shape(SHAPE), Box((1, 5, 30), (3, 40, 64))])
def test_before_rounding_it_is_the_mean_of_what_each_gives_alone(tmp_path, core):
    runs, volume = make_runs(tmp_path), cell(textured(SHAPE))
    found = floats(runs, volume, tmp_path / "out.zarr", core)
    alone = [floats([run], volume, tmp_path / "out.zarr", core) for run in runs]
    assert min(np.abs(one - other).mean() for one, other in zip(alone, alone[1:] + alone[:1], strict=True)) > 0.01
    np.testing.assert_allclose(found, np.mean(alone, axis=0, dtype=np.float64), rtol=0, atol=3e-7)


def test_blocks_agree_with_the_whole(tmp_path):
    runs, volume = make_runs(tmp_path), cell(textured(SHAPE))
    whole = floats(runs, volume, tmp_path / "out.zarr", Box.of_shape(SHAPE))
    found = predict(runs, volume, out=tmp_path / "out.zarr", options=PredictOptions(probabilities=True))
    kept = np.stack([image.read() for image in found.probabilities])
    assert np.abs(kept - 255 * whole).max() < 0.51
    part = predict(runs, volume, out=tmp_path / "part.zarr", box="1:4,10:56,7:60")
    np.testing.assert_array_equal(part.labels[0].read(), found.labels[0].read()[1:4, 10:56, 7:60])


@pytest.mark.parametrize("fusion", ["{name: majority}", "{name: weighted, weights: [1, 2, 4]}"])
def test_votes_weights_and_disagreement(tmp_path, fusion):
    runs = make_runs(tmp_path, predict=f"{BLOCKS}, fusion: {fusion}")
    volume, whole = cell(textured(SHAPE)), Box.of_shape(SHAPE)
    plain = make_runs(tmp_path / "plain")
    alone = np.stack([floats([run], volume, tmp_path / "x.zarr", whole) for run in plain]).astype(np.float64)
    found = predict(runs, volume, out=tmp_path / "out.zarr", options=BOTH)
    kept, labels = np.stack([image.read() for image in found.probabilities]), found.labels[0].read()
    weights = np.array([1, 2, 4] if "weights" in fusion else [1, 1, 1])[:, None, None, None, None] / 1.0
    mean = (weights * alone).sum(0) / weights.sum()
    expected, sure = mean, np.ones(SHAPE, bool)
    if "majority" in fusion:
        ordered = np.sort(alone, axis=1)
        sure = (ordered[:, -1] - ordered[:, -2] > 1e-5).all(0)
        expected = (alone.argmax(1)[:, None] == np.arange(3)[:, None, None, None]).mean(0)
    assert np.abs(kept - 255 * expected)[:, sure].max() < 0.51
    top = np.sort(expected, axis=0)
    clear = sure & ((top[-1] - top[-2] > 1e-5) | ("majority" in fusion))
    np.testing.assert_array_equal(labels[clear], expected.argmax(0)[clear])
    entropy = -(alone * np.log(np.maximum(alone, 1e-30))).sum(1, keepdims=True)
    information = -(mean * np.log(mean)).sum(0) - ((weights * entropy).sum(0) / weights.sum())[0]
    assert np.abs(found.disagreement.read() - 255 * information / np.log(3)).max() < 0.52


def test_each_runs_size_is_recorded_and_a_killed_prediction_goes_on_in_parts(tmp_path, monkeypatch):
    runs, path, out = make_runs(tmp_path), tmp_path / "cell.tif", tmp_path / "out.zarr"
    write_image(cell(textured(SHAPE)).image, path)
    whole = predict(runs, path, out=tmp_path / "whole.zarr", options=BOTH)
    sizes = [run["working_voxel_size_nm"] for run in whole.attributes["runs"]]
    assert sizes == [None, [40.0, 20.0, 20.0], [60.0, 8.0, 8.0]]
    assert whole.attributes["settings"]["working_voxel_size_nm"] is None
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(Killed):
            predict(runs, path, out=out, options=BOTH)
    with pytest.raises(OutputExistsError, match=r"(?s)holds an unfinished prediction .*runs"):
        predict(runs[:2], path, out=out, options=BOTH)
    request = PredictionRequest.from_json(plan_prediction(runs, path, out=out, options=BOTH).request.to_json())
    begin_prediction(request)
    for part in (range(0, 8, 2), range(1, 8, 2)):
        predict_part(request, blocks=part)
    finish_prediction(request)
    assert_same(tmp_path / "whole.zarr", out)


def test_the_volume_is_read_once_for_all_members(tmp_path):
    runs, volume, read = make_runs(tmp_path), cell(textured(SHAPE)), []

    def counted(box: Box) -> np.ndarray:
        read.append(box)
        return volume.image.reader(box)

    inputs = plan_prediction(runs, volume, out=tmp_path / "out.zarr").inputs
    image: Image = replace(inputs.grid.read, reader=counted)
    predictor, core = Predictor(inputs.members), Box((0, 0, 0), (2, 32, 48))
    box = inputs.grid.input_box(predictor, core)
    with predictor.predicting():
        inputs.grid.probabilities(predictor, image.read(box), core)
    assert read == [box]
    assert box.contains(core)


def test_memory_is_planned_for_what_each_reads_on_its_own_grid(tmp_path):
    request = plan_prediction(make_runs(tmp_path), cell(textured(SHAPE)), out=tmp_path / "out.zarr")
    inputs, block = request.inputs, request.request.plan.block
    workload, predictor = _workload(request.request.provenance, inputs, "cpu"), Predictor(inputs.members)
    for core in Box.of_shape(SHAPE).blocks(block):
        for place, (member, grid) in enumerate(zip(inputs.members, inputs.grid.grids, strict=True)):
            needed = predictor.input_box(grid.wanted(core), grid.working.shape, ((place,),))
            assert needed.size <= math.prod(_largest_input(workload, member, block))
            assert grid.source_box(needed).size <= _read_vox(workload, member, block)
    alike = replace(workload, own_grids=())
    assert ram_of_plan(workload, request.request.plan) > ram_of_plan(alike, request.request.plan)


def test_binary_runs_of_different_structures_and_sizes_are_merged(tmp_path):
    mito, granule = (Classes(names=("background", name)) for name in ("mito", "granule"))
    volume, whole = cell(textured(SHAPE)), Box.of_shape(SHAPE)
    one = make_run_of(tmp_path / "one", classes=mito, predict=f"{BLOCKS}, test_time: flips")
    size = (SIZE_NM[0], 15.0, 15.0)
    predicted = f"{BLOCKS}, test_time: flips"
    other = make_run_of(tmp_path / "other", classes=granule, seed=3, voxel_size_nm=size, predict=predicted)
    found = predict([one, other], volume, out=tmp_path / "out.zarr", options=BOTH)
    alone = [predict([run], volume, out=tmp_path / f"{run.path.name}.zarr", options=BOTH) for run in (one, other)]
    for image, single in zip(found.probabilities, alone, strict=True):
        np.testing.assert_array_equal(image.read(), single.probabilities[0].read())
    between = np.maximum(*(single.disagreement.read() for single in alone))
    np.testing.assert_array_equal(found.disagreement.read(), between)
    each = np.stack([floats([run], volume, tmp_path / "x.zarr", whole)[0] for run in (one, other)])
    sure = (np.abs(each - 0.5) > 1e-5).all(0) & (np.abs(each[0] - each[1]) > 1e-5)
    expected = np.where(each.max(0) > 0.5, each.argmax(0) + 1, 0)
    np.testing.assert_array_equal(found.labels[0].read()[sure], expected[sure])


def test_runs_of_one_size_are_fused_on_their_grid_as_ever(tmp_path):
    size = (SIZE_NM[0], 20.0, 20.0)
    runs = [make_run_of(tmp_path / f"run{seed}", seed=seed, voxel_size_nm=size, predict=BLOCKS) for seed in range(2)]
    found = predict(runs, cell(textured(SHAPE)), out=tmp_path / "out.zarr")
    assert found.attributes["settings"]["working_voxel_size_nm"] == list(size)
    assert not any("working_voxel_size_nm" in run for run in found.attributes["runs"])


def test_empty_blocks_are_those_that_no_member_sees_anything_in(tmp_path):
    grey = textured((2, 96, 96))
    runs = [
        make_run_of(tmp_path / "own", predict="block_vox: [1, 32, 32]"),
        make_run_of(tmp_path / "coarse", seed=1, voxel_size_nm=(40.0, 20.0, 20.0), predict="block_vox: [1, 32, 32]"),
    ]
    reach = plan_prediction(runs[:1], cell(grey), out=tmp_path / "x.zarr").inputs.members[0].locality.reach[2]
    grey[:, :, 62 - reach :] = 7  # the own sees nothing from pixel 64 on, the coarse one twice as far
    counts = {}
    for name, chosen in (("own", runs[:1]), ("coarse", runs[1:]), ("both", runs)):
        options = PredictOptions(skip_empty="constant")
        found = predict(chosen, cell(grey), out=tmp_path / f"{name}.zarr", options=options)
        counts[name] = found.attributes["empty"]["blocks"]
    assert counts["both"] == min(counts.values())
    assert (counts["own"], counts["both"]) == (6, 0)


def test_what_is_still_refused(tmp_path):
    other = make_run_of(tmp_path / "other", classes=ORGANELLES, voxel_size_nm=(40.0, 20.0, 20.0))
    three = Classes(names=("background", "mito", "golgi"))
    with pytest.raises(RunError, match="the runs have different classes"):
        predict([make_run_of(tmp_path / "three", classes=three), other], cell(), out=tmp_path / "out.zarr")
    shown = make_run_of(tmp_path / "shown", classes=ORGANELLES, input_channels="[{area_px: 60, per: slice}]")
    with pytest.raises(RunError, match="shown filtered slices cannot be fused with runs of other working voxel sizes"):
        predict([shown, other], cell(), out=tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()
