"""The verb that cleans labels of any format: what it reads and writes, refuses, reports, and continues."""

import dataclasses
import json
import re
import shlex
from pathlib import Path

import numpy as np
import psutil
import pytest
from prediction_files import write_prediction
from skimage import measure
from typer.testing import CliRunner

import cristae
from cristae.cli.main import app
from cristae.cli.postprocessing import postprocessing_text
from cristae.data.classes import Classes
from cristae.data.formats.ome_zarr import list_labels, open_ome_zarr, read_label_classes
from cristae.data.formats.write import write_image
from cristae.data.image import image_of_array
from cristae.errors import FormatError, MissingFileError, OutputExistsError, RecipeError, RunError, ScoreError
from cristae.postprocessing import FillHoles, RemoveSmall, SplitAtBoundary, SplitByAffinities, SplitTouching, Threshold
from cristae.postprocessing.memory import plan_work
from cristae.postprocessing.workplace import DiskStore
from cristae.workflows.postprocess import postprocess

SIZE_NM = (40.0, 10.0, 10.0)
MITO = Classes(names=("background", "mito"), colors={"mito": "#12ab34"})
MASKS = Classes(names=("mito", "er"), exclusive=False)


def blobs() -> np.ndarray:
    """Two discs that touch, one with a hole, and specks."""
    y, x = np.mgrid[:40, :60]
    disc = ((y - 20) ** 2 + (x - 15) ** 2 < 100) | ((y - 20) ** 2 + (x - 33) ** 2 < 100)
    disc[20, 15] = False
    labels = np.repeat(disc[None], 3, 0).astype(np.uint8)
    labels[1, 2, 50:53] = 1
    return labels


def cleaned() -> np.ndarray:
    labels = blobs()
    labels[:, 20, 15] = 1
    labels[1, 2, 50:53] = 0
    return labels


STEPS = (FillHoles(connectivity=4), RemoveSmall(min_size_vox=4), SplitTouching(depth_nm=20))


@pytest.mark.parametrize("suffix", [".zarr", ".tif", ".h5"])
def test_labels_keep_what_is_known_of_them_and_instances_lie_beside(tmp_path: Path, suffix: str) -> None:
    source, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    write_image(image_of_array(blobs(), voxel_size_nm=SIZE_NM), source)
    done = postprocess(source, STEPS, out=out)
    image = cristae.open_image(out)
    np.testing.assert_array_equal(image.read(), cleaned())
    assert image.voxel_size_nm == pytest.approx(SIZE_NM)
    place = done.instances["1"]
    numbers = cristae.open_image(place).read()
    np.testing.assert_array_equal(numbers > 0, cleaned() > 0)
    assert (numbers[1, 20, 15], numbers[1, 20, 33]) == (1, 2)
    assert place == (
        tmp_path / "out.zarr" / "labels" / "1_instances" if suffix == ".zarr" else tmp_path / f"out_1_instances{suffix}"
    )
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    fill, small, split = done.changes
    assert (fill.objects, fill.gained, small.objects, small.lost) == (3, 3, 1, 3)
    assert (split.objects, split.instances) == (1, 2)


def test_a_seam_in_a_label_file_tells_objects_apart(tmp_path: Path) -> None:
    """Without probabilities the seam is shared by the distance; affinities cannot be had of labels alone."""
    labels = blobs()
    labels[:, :, 23:26][labels[:, :, 23:26] > 0] = 2
    write_image(image_of_array(labels, voxel_size_nm=SIZE_NM), tmp_path / "in.tif")
    done = postprocess(tmp_path / "in.tif", [SplitAtBoundary(boundary="2", min_seed_vox=20)], out=tmp_path / "out.tif")
    numbers = cristae.open_image(done.instances["1"]).read()
    np.testing.assert_array_equal(numbers > 0, labels > 0)
    assert (numbers[:, 20, [10, 23, 25, 33]] == [1, 1, 3, 3]).all()  # 2 is a speck
    assert "split_at_boundary" in postprocessing_text(done)
    np.testing.assert_array_equal(cristae.open_image(tmp_path / "out.tif").read(), labels)
    far = Classes(names=("mito", "er", "far"), exclusive=False)
    masks = write_prediction(
        tmp_path / "cell.zarr", np.stack([labels > 0, labels == 2, labels > 2]).astype(np.uint8), far
    )
    step = SplitByAffinities(affinities={"er": (0, 0, -1), "far": (0, 0, -9)})
    with pytest.raises(RunError, match="needs the probabilities of 'er', which are not there"):
        postprocess(masks, [step], out=tmp_path / "new.zarr")
    assert not (tmp_path / "new.zarr").exists()


def test_classes_and_place_of_a_prediction_are_kept(tmp_path: Path) -> None:
    source = write_prediction(tmp_path / "cell.zarr", blobs()[None], MITO)
    out = tmp_path / "clean.zarr"
    postprocess(source, STEPS, out=out)
    assert read_label_classes(out) == ((0, "background", "#000000"), (1, "mito", "#12ab34"))
    assert list_labels(out) == ("mito_instances",)
    np.testing.assert_array_equal(open_ome_zarr(out).read(), cleaned())
    again = postprocess(out, [RemoveSmall(classes=("mito",), min_size_nm3=1e9)], out=tmp_path / "none.tif")
    assert again.changes[0].objects == 1
    assert cristae.open_image(tmp_path / "none.tif").palette[:2] == ("#000000", "#12ab34")


def test_overlapping_masks_are_label_images_of_one_zarr(tmp_path: Path) -> None:
    both = np.stack([blobs(), 1 - blobs()])
    source = write_prediction(tmp_path / "cell.zarr", both, MASKS, probabilities=both * 200)
    steps = [Threshold(classes=("er",), value=0.9), RemoveSmall(min_size_vox=4)]
    with pytest.raises(FormatError, match=r"only a \.zarr holds"):
        postprocess(source, steps, out=tmp_path / "clean.tif")
    postprocess(source, steps, out=tmp_path / "clean.zarr")
    found = [open_ome_zarr(tmp_path / "clean.zarr", f"labels/{name}").read() for name in ("mito", "er")]
    assert not found[1].any()
    assert int(found[0].sum()) == int(blobs().sum()) - 3


def test_a_recipe_gives_values_their_meaning(tmp_path: Path) -> None:
    write_image(image_of_array(blobs() * 200, voxel_size_nm=SIZE_NM), tmp_path / "labels.tif")
    write_image(image_of_array(blobs() * 100 + 20, voxel_size_nm=SIZE_NM), tmp_path / "grey.tif")
    (tmp_path / "recipe.yaml").write_text(
        "name: a\ndata:\n  classes: {names: [background, mito]}\n  volumes:\n"
        "    - name: v\n      image: grey.tif\n"
        "      labels: {kind: values, path: labels.tif, values: {0: background, 200: mito}}\n"
        "  train: [{volume: v}]\nmodel: {name: unet_bn}\n"
    )
    recipe = cristae.load_recipe(tmp_path / "recipe.yaml")
    postprocess(
        tmp_path / "labels.tif", [FillHoles(classes=("mito",), connectivity=4)], recipe=recipe, out=tmp_path / "o.tif"
    )
    assert int(cristae.open_image(tmp_path / "o.tif").read().sum()) == int(blobs().sum()) + 3


def test_what_cannot_be_done_is_told_before_anything_is_written(tmp_path: Path) -> None:
    source, numbers, fractions = tmp_path / "in.tif", tmp_path / "numbers.tif", tmp_path / "p.tif"
    write_image(image_of_array(blobs()), source)
    write_image(image_of_array(blobs().astype(np.uint16) * 900), numbers)
    write_image(image_of_array(blobs() * np.float32(0.3)), fractions)
    there = set(tmp_path.iterdir())
    fill = [FillHoles()]
    out = tmp_path / "out.tif"
    for steps, labels, target, error, words in [
        (fill, numbers, out, ScoreError, "Numbers of objects are no classes"),
        (fill, fractions, out, ScoreError, "no whole number"),
        (fill, tmp_path / "absent.tif", out, MissingFileError, "does not exist"),
        (fill, source, source, OutputExistsError, "exists already"),
        (fill, source, tmp_path / "out.png", FormatError, "cannot be written"),
        ([FillHoles(classes=("er",))], source, out, RunError, "there is no class 'er'"),
        ([FillHoles(max_size_vox="auto")], source, out, RunError, "may only stand in a recipe"),
        ([SplitTouching()], source, out, cristae.errors.VoxelSizeError, "--voxel-size-nm"),
        ([RemoveSmall(min_size_nm3=4)], source, out, cristae.errors.VoxelSizeError, "measures in nm"),
        ([Threshold(value=0.5)], source, out, RunError, "needs the probabilities"),
    ]:
        with pytest.raises(error, match=words):
            postprocess(labels, steps, out=target)
    with pytest.raises(FormatError, match="MRC cannot hold"):
        postprocess(source, [SplitTouching()], out=tmp_path / "out.mrc", voxel_size_nm=SIZE_NM)
    with pytest.raises(RunError, match="at least"):
        postprocess(source, fill, out=out, max_ram="10MB")
    assert set(tmp_path.iterdir()) == there


@pytest.mark.parametrize("stop", ["a step", "writing", "showing"])
def test_a_killed_call_continues_and_is_not_taken_for_finished(tmp_path: Path, monkeypatch, stop: str) -> None:
    source, out = tmp_path / "in.tif", tmp_path / "out.tif"
    write_image(image_of_array(blobs(), voxel_size_nm=SIZE_NM), source)
    (tmp_path / "whole").mkdir()
    whole = postprocess(source, STEPS, out=tmp_path / "whole" / "out.tif")

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    real = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if path.name == "out.tif":
            raise KeyboardInterrupt
        return real(path, target)

    calls: list[str] = []
    run = RemoveSmall.run
    with monkeypatch.context() as patch:
        if stop == "a step":
            write = DiskStore.write
            patch.setattr(DiskStore, "write", lambda s, *a: kill() if "instances" in s._path.name else write(s, *a))
        elif stop == "writing":
            patch.setattr("cristae.workflows.postprocess.write_image", kill)
        else:
            patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            postprocess(source, STEPS, out=out)
    assert not out.exists()
    monkeypatch.setattr(RemoveSmall, "run", lambda *a: calls.append("again") or run(*a))
    again = postprocess(source, STEPS, out=out)
    assert not calls
    assert again.changes == whole.changes
    assert out.read_bytes() == whole.path.read_bytes()
    assert not (tmp_path / ".out.tif.postprocess").exists()


def test_smaller_blocks_give_the_same_bytes(tmp_path: Path, monkeypatch) -> None:
    coarse = np.random.default_rng(0).integers(0, 3, (10, 33, 33))
    image = image_of_array(coarse.repeat(4, 0).repeat(5, 1).repeat(5, 2).astype(np.uint8), voxel_size_nm=SIZE_NM)
    steps = [RemoveSmall(min_size_vox=300, connectivity=6, becomes="surrounding"), FillHoles(max_size_vox=250)]
    whole = postprocess(image, steps, out=tmp_path / "whole.h5")
    monkeypatch.setattr("cristae.postprocessing.memory.BLOCK_VOXELS", 1)
    parts = postprocess(image, steps, out=tmp_path / "parts.h5")
    assert whole.changes == parts.changes
    assert whole.changes[0].lost > 0
    assert whole.changes[-1].gained > 0
    assert (tmp_path / "whole.h5").read_bytes() == (tmp_path / "parts.h5").read_bytes()


def test_splitting_asks_for_the_memory_that_its_largest_box_takes(tmp_path: Path) -> None:
    large = dataclasses.replace(image_of_array(blobs()), shape=(4000, 4000, 4000))
    with pytest.raises(RunError, match=r"takes up to 2048\.0 GiB .* set a smaller largest_box_vox"):
        plan_work([large], [SplitTouching(largest_box_vox=1 << 34)], tmp_path, "16GiB")
    assert plan_work([large], [SplitTouching()], tmp_path, "16GiB").shape == large.shape


def test_the_command_reports_what_each_step_changed(tmp_path: Path) -> None:
    source, steps, out = tmp_path / "in.tif", tmp_path / "steps.yaml", tmp_path / "out.tif"
    write_image(image_of_array(blobs(), voxel_size_nm=SIZE_NM), source)
    steps.write_text("- {name: fill_holes, classes: [1], connectivity: 4}\n- {name: remove_small, min_size_vox: 4}\n")
    command = ["postprocess", str(source), "--steps", str(steps), "--out", str(out)]
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["path"] == str(out)
    assert [(one["step"], one["class_name"], one["objects"]) for one in found["changes"]] == [
        ("fill_holes", "1", 3),
        ("remove_small", "1", 1),
    ]
    out.unlink()
    text = CliRunner().invoke(app, command).stdout.splitlines()
    assert text[2].split() == ["remove_small", "1", "1", "0", "3", "-"]
    assert text[-1] == str(out)
    assert CliRunner().invoke(app, command).exit_code == 2
    assert measure.label(cristae.open_image(out).read()).max() == 1


def test_slips_in_a_file_of_steps_are_told_at_their_lines(tmp_path: Path) -> None:
    steps = tmp_path / "steps.yaml"
    steps.write_text("- {name: fill_holes}\n- {name: remove_small, min_size: 4}\n")
    with pytest.raises(RecipeError, match=r"steps\.yaml:2: .*min_size"):
        cristae.load_steps(steps)
    steps.write_text("name: fill_holes\n")
    with pytest.raises(RecipeError, match="expected a list of steps"):
        cristae.load_steps(steps)
    with pytest.raises(MissingFileError, match="list of steps of post-processing"):
        cristae.load_steps(tmp_path / "absent.yaml")


def test_the_page_is_true(tmp_path: Path, monkeypatch) -> None:
    page = (Path(cristae.__file__).parents[2] / "docs" / "how-to" / "post-process.md").read_text(encoding="utf-8")
    (steps,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    _, shell = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("steps.yaml").write_text(steps)
    write_image(image_of_array(blobs()), Path("labels.tif"))
    ceiling = f"{2 + psutil.Process().memory_info().rss // 2**30}GiB"  # other tests have left this process large
    result = CliRunner().invoke(app, shlex.split(shell)[1:])
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "clean.tif"
    exec(code.replace("2GiB", ceiling), {})
    assert read_label_classes(Path("clean.zarr"))[1][1] == "1"
