"""Post-processing at the end of a prediction: what readers get, what is kept, other steps, and kills."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from prediction_files import raw_labels
from prediction_runs import cell, make_run
from scipy import ndimage
from skimage import measure

import cristae
from cristae.data.classes import Classes
from cristae.data.formats.ome_zarr import list_labels, open_ome_zarr, read_label_classes
from cristae.data.image import image_of_array
from cristae.errors import RunError, VoxelSizeError
from cristae.evaluation.segmentation import Meaning, open_segmentation
from cristae.inference import postprocessing
from cristae.inference.config import PredictOptions
from cristae.postprocessing.workplace import DiskStore
from cristae.recipe.ensemble_file import MemberRun
from cristae.recipe.postprocess import steps_of
from cristae.recipe.run import Run
from cristae.workflows.predict import finish_prediction, plan_prediction, predict
from cristae.workflows.predict_parts import begin_prediction, predict_part

SMALL = "block_vox: [2, 64, 64], postprocess: [{name: remove_small, min_size_vox: 5, connectivity: 8}]"
SPLIT = (
    "block_vox: [2, 64, 64], postprocess: [{name: fill_holes, connectivity: 4}, {name: split_touching, depth_nm: 15}]"
)
CLOSE = "block_vox: [2, 64, 64], postprocess: [{name: close, radius_vox: 3}]"


def set_steps(run: Path, steps: str) -> None:
    """Write other steps into the recipe of a run folder."""
    recipe = run / "recipe.yaml"
    head, _, _ = recipe.read_text().partition("  postprocess:")
    tail = recipe.read_text().partition("\ndevice:")[2]
    recipe.write_text(f"{head}  postprocess: {steps}\ndevice:{tail}")


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def without_small(labels: np.ndarray) -> np.ndarray:
    found = labels.copy()
    for plane in found:
        numbers = measure.label(plane, connectivity=2)
        plane[np.bincount(numbers.ravel())[numbers] < 5] = 0
    return found


def bytes_in(folder: Path) -> dict[str, str]:
    files = sorted(path for path in (folder / "labels").rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> np.ndarray:
    """The labels without post-processing."""
    folder = tmp_path_factory.mktemp("plain")
    labels: np.ndarray = predict([make_run(folder / "run")], cell(), out=folder / "cell.zarr").labels[0].read()
    return labels


def test_readers_get_the_processed_labels_and_the_raw_ones_are_kept(tmp_path: Path, plain: np.ndarray) -> None:
    run = make_run(tmp_path / "run", predict=SMALL)
    prediction = predict([run], cell(), out=tmp_path / "cell.zarr")
    expected = without_small(plain)
    assert (expected != plain).any()
    assert expected.any()
    np.testing.assert_array_equal(prediction.labels[0].read(), expected)
    np.testing.assert_array_equal(raw_labels(prediction.path)[0].read(), plain)
    np.testing.assert_array_equal(open_segmentation(prediction.path, Meaning()).labels[0].read(), expected)
    assert list_labels(prediction.path) == ("segmentation", "segmentation_raw")
    assert prediction.labels[0].voxel_size_nm == raw_labels(prediction.path)[0].voxel_size_nm
    processed, raw = (read_label_classes(prediction.path / "labels" / name) for name in list_labels(prediction.path))
    assert processed == raw
    about = prediction.attributes["postprocess"]
    assert about["status"] == "complete"
    assert about["steps"][0]["min_size_vox"] == 5
    assert about["changes"][0]["lost"] == int((expected != plain).sum())
    assert not (prediction.path / ".postprocess").exists()
    page = cristae.write_report(prediction.path).read_text()
    assert "Post-processing" in page
    assert "remove_small" in page


def test_other_steps_repeat_the_post_processing_alone(tmp_path: Path, plain: np.ndarray, monkeypatch) -> None:
    run, out = make_run(tmp_path / "run", predict=SMALL), tmp_path / "cell.zarr"
    first = bytes_in(predict([run], cell(), out=out).path)
    monkeypatch.setattr("cristae.inference.job.Job.run", lambda *_, **__: pytest.fail("predicted again"))
    set_steps(run.path, "[{name: fill_holes, connectivity: 4}, {name: split_touching, depth_nm: 15}]")
    other = predict([run.path], cell(), out=out)
    assert other.instance_classes == ("mito",)
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in plain])
    np.testing.assert_array_equal(other.labels[0].read(), filled)
    instances = open_ome_zarr(out, "labels/mito_instances").read()
    np.testing.assert_array_equal(instances > 0, filled)
    assert instances.max() >= measure.label(filled, connectivity=3).max()
    np.testing.assert_array_equal(raw_labels(out)[0].read(), plain)
    set_steps(run.path, "[]")
    np.testing.assert_array_equal(predict([run.path], cell(), out=out).labels[0].read(), plain)
    assert list_labels(out) == ("segmentation",)
    set_steps(run.path, "[{name: remove_small, min_size_vox: 5, connectivity: 8}]")
    assert bytes_in(predict([run.path], cell(), out=out).path) == first
    assert not list((out / "labels").glob("*_instances"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Run, dict[str, str]]:
    """A run that splits objects, and the bytes of its labels."""
    folder = tmp_path_factory.mktemp("whole")
    run = make_run(folder / "run", predict=SPLIT)
    return run, bytes_in(predict([run], cell(), out=folder / "cell.zarr").path)


@pytest.mark.parametrize(
    "stop",
    ["exchange", *(pytest.param(stop, marks=pytest.mark.slow) for stop in ("a step", "staging", "end"))],
)
def test_a_prediction_killed_in_its_post_processing_is_not_finished_and_resumes(
    tmp_path: Path, monkeypatch, whole: tuple[Run, dict[str, str]], stop: str
) -> None:
    (run, expected), out = whole, tmp_path / "cell.zarr"

    def rename(path: Path, target: Path) -> None:
        if path.name == "mito_instances":
            raise KeyboardInterrupt
        real(path, target)

    real = Path.rename
    with monkeypatch.context() as patch:
        if stop == "a step":
            patch.setattr(DiskStore, "write", interrupted)
        elif stop == "staging":
            patch.setattr("cristae.postprocessing.instances.build_pyramid", interrupted)
        elif stop == "exchange":
            patch.setattr(Path, "rename", rename)
        else:
            patch.setattr(postprocessing, "write_label_list", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predict([run], cell(), out=out)
    with pytest.raises(RunError, match="not finished"):
        cristae.open_prediction(out)
    with pytest.raises(RunError, match="not finished"):
        cristae.convert(out / "labels" / "segmentation", tmp_path / "labels.tif")
    monkeypatch.setattr("cristae.inference.job.Job.run", lambda *_, **__: pytest.fail("predicted again"))
    assert bytes_in(predict([run], cell(), out=out).path) == expected


def test_parts_predicted_by_several_workers_are_processed_at_the_end(
    tmp_path: Path, plain: np.ndarray, monkeypatch
) -> None:
    run, volume = make_run(tmp_path / "run", predict=SMALL), tmp_path / "cell.tif"
    cristae.write_image(cell().image, volume)
    request = plan_prediction([run], volume, out=tmp_path / "cell.zarr").request
    request = type(request).from_json(request.to_json())
    begin_prediction(request)
    for rank in range(2):
        predict_part(request, blocks=range(rank, request.block_count, 2))
    with monkeypatch.context() as patch:
        patch.setattr(postprocessing, "write_label_list", interrupted)
        with pytest.raises(KeyboardInterrupt):
            finish_prediction(request)
    np.testing.assert_array_equal(finish_prediction(request).labels[0].read(), without_small(plain))


def test_voxels_outside_the_mask_stay_background(tmp_path: Path) -> None:
    run, volume = make_run(tmp_path / "run", predict=CLOSE), tmp_path / "cell.tif"
    cristae.write_image(cell().image, volume)
    mask = np.ones(cell().image.shape, np.uint8)
    mask[:, ::7, ::7] = 0
    cristae.write_image(image_of_array(mask, voxel_size_nm=cell().image.voxel_size_nm), tmp_path / "mask.tif")
    around = {"mask": tmp_path / "mask.tif", "box": "1:4,:,3:90"}
    processed = predict([run], volume, out=tmp_path / "cell.zarr", **around)
    found, raw = processed.labels[0].read(), raw_labels(processed.path)[0].read()
    outside = mask[1:4, :, 3:90] == 0
    assert ndimage.binary_closing(raw[1], iterations=2)[outside[1]].any()
    assert not found[outside].any()
    assert (found != raw).any()
    assert processed.attributes["postprocess"]["changes"][0]["gained"] == np.count_nonzero(found != raw)
    request = plan_prediction([run], volume, out=tmp_path / "parts.zarr", **around).request
    begin_prediction(request)
    predict_part(request, blocks=range(request.block_count))
    np.testing.assert_array_equal(finish_prediction(request).labels[0].read(), found)


def test_a_threshold_keeps_the_probabilities_that_it_reads(tmp_path: Path) -> None:
    both = Classes(names=("mito", "er"), exclusive=False)
    steps = "block_vox: [2, 64, 64], postprocess: [{name: threshold, classes: [er], value: 0.6}]"
    run = make_run(tmp_path / "run", classes=both, predict=steps)
    prediction = predict([run], cell(), out=tmp_path / "cell.zarr")
    er = prediction.probabilities[1].read()
    np.testing.assert_array_equal(prediction.labels[1].read(), er > 153)
    raw = raw_labels(prediction.path)[1].read()
    np.testing.assert_array_equal(raw[er != 128], (er > 127)[er != 128])  # 128 stands for one half, too
    np.testing.assert_array_equal(raw_labels(prediction.path)[0].read(), prediction.labels[0].read())


def test_what_cannot_be_done_is_told_before_anything_is_predicted(tmp_path: Path) -> None:
    out = tmp_path / "cell.zarr"
    golgi = make_run(tmp_path / "golgi", predict="postprocess: [{name: fill_holes, classes: [golgi]}]")
    with pytest.raises(RunError, match="there is no class 'golgi'"):
        predict([golgi], cell(), out=out)
    auto = make_run(tmp_path / "auto", predict="postprocess: [{name: remove_small, min_size_vox: auto}]")
    with pytest.raises(RunError, match="--resume` chooses it"):
        predict([auto], cell(), out=out)
    unsized = make_run(tmp_path / "unsized", voxel_size_nm=None, predict=SPLIT)
    with pytest.raises(VoxelSizeError, match="'split_touching' measures in nm"):
        predict([unsized], cell(voxel_size_nm=None), out=out)
    small = make_run(tmp_path / "small", predict=SMALL)
    with pytest.raises(RunError, match="at least, of which"):
        predict([small], cell(), out=out, options=PredictOptions(max_ram="1MiB"))
    taken = Classes(names=("mito", "mito_raw"), exclusive=False)
    with pytest.raises(RunError, match="makes a label image 'mito_raw', which is the name of a class"):
        predict([make_run(tmp_path / "taken", classes=taken, predict=SMALL)], cell(), out=out)
    assert not out.exists()


LEARNED = {
    "seam": (
        Classes(names=("background", "mito", "contact")),
        "[{name: split_at_boundary, boundary: contact, boundary_above: 0.3, min_seed_vox: 4}]",
    ),
    "affinities": (
        Classes(names=("mito", "up", "left", "far"), exclusive=False),
        "[{name: split_by_affinities, affinities: {up: [0, -1, 0], left: [0, 0, -1], far: [0, 3, 0]}}]",
    ),
}


@pytest.mark.parametrize("way", LEARNED)
def test_objects_are_told_apart_by_what_the_network_has_learned(tmp_path: Path, way: str) -> None:
    """The probabilities that a step reads are kept unasked, and a prediction in other blocks has the same bytes; the
    verb makes the same of the prediction."""
    classes, steps = LEARNED[way]
    found = []
    for name, blocks in (("a", "[1, 32, 48]"), ("b", "[4, 75, 110]")):
        run = make_run(tmp_path / name, classes=classes, seed=2, predict=f"block_vox: {blocks}, postprocess: {steps}")
        found.append(predict([run], cell(), out=tmp_path / f"{name}.zarr"))
    first, second = (open_ome_zarr(one.path, "labels/mito_instances").read() for one in found)
    np.testing.assert_array_equal(first, second)
    change = found[0].attributes["postprocess"]["changes"][-1]
    assert change["objects"] > 0
    assert change["instances"] == first.max() > 0
    inside = found[0].labels[0].read() > 0
    assert (first[~inside] == 0).all()
    bare = predict([make_run(tmp_path / "bare", classes=classes, seed=2)], cell(), out=tmp_path / "bare.zarr",
                   options=PredictOptions(probabilities=True))  # fmt: skip
    done = cristae.postprocess(bare.path, run.recipe.predict.postprocess, out=tmp_path / "done.zarr")
    np.testing.assert_array_equal(cristae.open_image(done.instances["mito"]).read(), first)


def test_runs_that_are_fused_agree_on_their_steps(tmp_path: Path) -> None:
    auto = "postprocess: [{name: remove_small, min_size_vox: auto}]"
    one = make_run(tmp_path / "one", predict=auto)
    asked = [step.model_dump(mode="json") for step in one.recipe.predict.postprocess]
    runs = []
    for name, size in (("a", 16), ("b", 64)):
        steps = [{**asked[0], "min_size_vox": size}]
        facts = {"postprocess": {"asked": asked, "steps": steps}}
        runs.append(make_run(tmp_path / name, predict=auto, facts=facts))
    assert [step.min_size_vox for step in steps_of([MemberRun(run) for run in runs])] == [16]
    plain_run = make_run(tmp_path / "plain")
    with pytest.raises(RunError, match=r"differ in predict\.postprocess"):
        steps_of([MemberRun(runs[0]), MemberRun(plain_run)])
    er = make_run(tmp_path / "er", classes=Classes(names=("background", "er")), predict=SPLIT)
    steps = steps_of([MemberRun(runs[0]), MemberRun(er)])
    assert [(step.name, step.classes) for step in steps] == [
        ("remove_small", ("mito",)),
        ("fill_holes", ("er",)),
        ("split_touching", ("er",)),
    ]
    summary = json.loads((runs[0].path / "summary.json").read_text())
    summary["postprocess"]["steps"][0]["min_size_vox"] = "many"
    (runs[0].path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(RunError, match=r"postprocess\.steps"):
        steps_of([MemberRun(cristae.open_run(runs[0].path))])


def test_steps_do_not_change_the_id_of_a_run(tmp_path: Path) -> None:
    same = "block_vox: [2, 64, 64]"
    assert make_run(tmp_path / "a" / "run", predict=same).id == make_run(tmp_path / "b" / "run", predict=SMALL).id
