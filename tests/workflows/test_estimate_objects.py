"""Numbers and sizes of objects from labelled boxes: each object counts once, wherever boxes are cut."""

import json

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.volume import Volume
from cristae.errors import ScoreError, VoxelSizeError
from cristae.evaluation.estimate_options import EstimateOptions
from cristae.progress import Progress
from cristae.workflows.estimate import estimate, plan_label_boxes

CLASSES = Classes(names=("background", "mito"))
SIZE = (40.0, 10.0, 10.0)
SHAPE = (24, 90, 96)
EDGES = (8, 30, 24)


class Heard(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.said, self.warned = [], []

    def say(self, message):
        self.said.append(message)

    def warn(self, message):
        self.warned.append(message)


def image(array, size=SIZE):
    return image_of_array(array, voxel_size_nm=size)


def balls(seed=0):
    """Balls of several sizes, apart from each other."""
    rng = np.random.default_rng(seed)
    ids = np.zeros(SHAPE, np.uint8)
    z, y, x = np.indices(SHAPE)
    for middle in np.ndindex(3, 8, 8):
        if rng.random() < 0.6:
            at = np.array(middle) * (8, 11, 12) + (3, 5, 5) + rng.integers(-1, 2, 3)
            radius = rng.uniform(2.5, 4)
            ids[((z - at[0]) * 2) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2 < radius**2] = 1
    return ids


def missed(ids, share=0.3, seed=1):
    """Without some of the objects."""
    labels, count = ndimage.label(ids, np.ones((3, 3, 3)))
    gone = 1 + np.flatnonzero(np.random.default_rng(seed).random(count) < share)
    return np.where(np.isin(labels, gone), 0, ids).astype(np.uint8)


def truths(ids):
    labels, count = ndimage.label(ids, np.ones((3, 3, 3)))
    return count, np.bincount(labels.ravel())[1:] * 40 * 10 * 10 * 1e-9


def estimated(found, truth, boxes, progress=Progress(), **options):
    options = EstimateOptions(**({"box": tuple(map(str, boxes)), "guard_nm": 80, "trained": "none"} | options))
    return estimate(image(found), image(truth), options, classes=CLASSES, progress=progress)


def test_all_boxes_together_have_each_object_once():
    """Objects lie across faces of boxes: what is seen in boxes is more, what counts in them is what there is."""
    truth = balls()
    every = list(Box.of_shape(SHAPE).blocks(EDGES))
    result = estimated(missed(truth), truth, every)
    count, volumes = truths(truth)
    seen = sum(ndimage.label(truth[box.slices], np.ones((3, 3, 3)))[1] for box in every)
    assert seen > count
    assert result.row("mito", "objects", "labels").value == pytest.approx(count)
    assert result.row("mito", "mean_object_um3", "labels").value == pytest.approx(volumes.mean())
    alone = result.row("mito", "objects", "prediction")
    assert alone.value == pytest.approx(truths(missed(truth))[0])


def test_some_boxes_correct_the_numbers_of_a_prediction_that_misses_objects():
    truth = balls(3)
    chosen = plan_label_boxes(image(truth), 16, box_vox=EDGES, seed=5)
    result = estimated(missed(truth), truth, chosen)
    count, volumes = truths(truth)
    row = result.row("mito", "objects")
    assert row.low < count < row.high
    assert row.high > result.row("mito", "objects", "prediction").value
    assert (row.n, row.population, result.unit) == (16, 36, "box")
    density = result.row("mito", "objects_per_um3")
    assert row.value / density.value == pytest.approx(truth.size * 40 * 10 * 10 * 1e-9)
    size = result.row("mito", "mean_object_um3")
    assert size.low < volumes.mean() < size.high


def test_objects_cut_off_by_the_end_of_the_labels_are_told():
    truth, heard = balls(), Heard()
    every = list(Box.of_shape(SHAPE).blocks(EDGES))
    estimated(truth, truth, every, heard, guard_nm=0)
    assert "reach the end of the labels" in heard.warned[0]
    heard = Heard()
    estimated(truth, truth, every, heard)
    assert not heard.warned


def test_boxes_in_trained_slices_are_left_out():
    truth, heard = balls(), Heard()
    chosen = plan_label_boxes(image(truth), 20, box_vox=EDGES, seed=2)
    result = estimated(truth, truth, chosen, heard, trained="0:3")
    assert result.row("mito", "objects").n == sum(box.start[0] > 0 for box in chosen)
    assert "trained on" in heard.said[0]


def test_a_class_without_objects_has_no_mean_size():
    truth = np.zeros(SHAPE, np.uint8)
    result = estimated(truth, truth, plan_label_boxes(image(truth), 8, box_vox=EDGES))
    assert result.row("mito", "objects").value == 0
    assert {row.quantity for row in result.rows} == {"objects", "objects_per_um3"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"box": ("0:8,0:30,0:24", "1:9,0:30,0:24")}, "none of the boxes"),
        ({"box": ("0:8,0:30,0:24", "0:8,0:30,0:24")}, "twice"),
        ({"box": ("0:8,0:30,0:24", "x")}, "--box"),
        ({"box": ("0:8,0:30,0:24",)}, "at least two"),
        ({"slices": "3"}, "--slices has no effect"),
        ({"of": "volume"}, "--of has no effect"),
        ({"design": "systematic"}, "no effect"),
        ({"guard_nm": -1}, "0 or more"),
        ({"box": ()}, "--guard-nm"),
    ],
)
def test_boxes_that_say_nothing_are_refused(options, text):
    truth = balls()
    with pytest.raises(ScoreError, match=text):
        estimated(truth, truth, ("0:8,0:30,0:24", "8:16,0:30,0:24"), **options)


def test_boxes_must_be_labelled_with_what_is_around_them():
    truth = balls()
    valid = np.zeros_like(truth)
    valid[:8] = 1
    volume = Volume("a", image(truth), (image(truth),), valid=image(valid), voxel_size_nm=SIZE)
    options = {"box": ("0:8,0:30,0:24", "0:8,30:60,0:24"), "trained": "none"}
    estimate(image(truth), volume, EstimateOptions(**options), classes=CLASSES)
    with pytest.raises(ScoreError, match="not labelled"):
        estimate(image(truth), volume, EstimateOptions(**options, guard_nm=80), classes=CLASSES)
    plain = image_of_array(truth)
    with pytest.raises(VoxelSizeError):
        estimate(plain, plain, EstimateOptions(**options), classes=CLASSES)


def test_the_command_plans_boxes_and_takes_them(tmp_path):
    truth = balls()
    tifffile.imwrite(tmp_path / "t.tif", truth)
    plan = ["estimate", str(tmp_path / "t.tif"), "--plan", "6", "--box-vox", *map(str, EDGES), "--seed", "3"]
    printed = CliRunner().invoke(app, plan).stdout.split()
    assert printed == [str(box) for box in plan_label_boxes(tmp_path / "t.tif", 6, box_vox=EDGES, seed=3)]
    assert json.loads(CliRunner().invoke(app, [*plan, "--json"]).stdout)["boxes"] == printed
    recipe = (
        "name: r\ndata:\n  classes: {names: [background, mito]}\n"
        "  volumes: [{name: a, image: t.tif, labels: {kind: ids, path: t.tif}, voxel_size_nm: [40, 10, 10]}]\n"
        "model: {name: random_forest}\n"
    )
    (tmp_path / "r.yaml").write_text(recipe)
    boxes = [part for box in printed for part in ("--box", box)]
    command = ["estimate", str(tmp_path / "t.tif"), "--truth", "a", "--recipe", str(tmp_path / "r.yaml"), *boxes]
    done = CliRunner().invoke(app, [*command, "--guard-nm", "80", "--trained", "none"])
    assert done.exit_code == 0, done.output
    assert "mito: objects" in done.stdout
    assert CliRunner().invoke(app, [*command, "--box-vox", "1", "1", "1"]).exit_code == 2
