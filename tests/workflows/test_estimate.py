"""Fractions with intervals: what is counted, what the labels must not have been trained on, what is refused."""

import csv
import json

import numpy as np
import pytest
import tifffile
from prediction_files import write_prediction
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.open import open_volume
from cristae.data.volume import Volume
from cristae.errors import MissingFileError, OutputExistsError, RunError, ScoreError, VoxelSizeError
from cristae.evaluation import blocks
from cristae.evaluation.estimate_options import EstimateOptions
from cristae.evaluation.slice_numbers import parse_slices
from cristae.evaluation.trained_slices import held_out_slices, trained_slices
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.recipe.ensemble_file import write_ensemble
from cristae.recipe.load import parse_recipe
from cristae.recipe.run import create_run, save_weights, write_summary
from cristae.recipe.trained_model import TrainedModel
from cristae.workflows.estimate import estimate, plan_slices

THREE = Classes(names=("background", "cell", "mito"))
MASKS = Classes(names=("er", "mito"), exclusive=False)
SIZE = (50.0, 10.0, 10.0)
EVERY = ",".join(str(z) for z in range(2, 40, 4))


class Heard(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.said, self.warned = [], []

    def say(self, message):
        self.said.append(message)

    def warn(self, message):
        self.warned.append(message)


def maps(seed=0, shape=(40, 20, 24)):
    """A truth of classes 0 to 2 whose amounts vary by slice, and a prediction that misses a fifth of class 2."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.05, 0.3, shape[0])[:, None, None]
    truth = np.where(rng.random(shape) < share, 2, rng.integers(0, 2, shape)).astype(np.uint8)
    found = np.where((truth == 2) & (rng.random(shape) < 0.2), 1, truth).astype(np.uint8)
    return truth, found


def image(array):
    return image_of_array(array, voxel_size_nm=SIZE)


def run_estimate(found, truth, progress=Progress(), classes=THREE, **options):
    given = {"slices": EVERY, "trained": "none"} | options
    return estimate(image(found), image(truth), EstimateOptions(**given), classes=classes, progress=progress)


def test_estimates_by_hand():
    """Labels alone: the mean of the labelled slices. Difference: the prediction of all plus the mean error of these."""
    truth, found = maps()
    result = run_estimate(found, truth)
    at = list(parse_slices(EVERY))
    by_slice, predicted = ((one == 2).mean(axis=(1, 2)) for one in (truth, found))
    rows = {name: result.row("mito", "fraction_of_volume", name) for name in ("labels", "prediction", "difference")}
    assert rows["labels"].value == pytest.approx(by_slice[at].mean())
    assert rows["prediction"].value == pytest.approx(predicted.mean())
    assert rows["prediction"].low is None
    assert rows["difference"].value == pytest.approx(predicted.mean() + (by_slice - predicted)[at].mean())
    best = result.row("mito", "fraction_of_volume")
    assert best.low < by_slice.mean() < best.high
    assert best.half_width < rows["labels"].half_width
    assert (best.n, best.population, best.design) == (10, 40, "systematic")
    volume = result.row("mito", "volume_um3")
    assert volume.value == pytest.approx(best.value * truth.size * 50 * 10 * 10 * 1e-9)
    assert volume.high / volume.value == pytest.approx(best.high / best.value)
    assert [line.split(":")[0] for line in result.sentences] == ["cell", "cell", "mito", "mito"]


def test_fractions_of_a_cell_count_inside_its_mask():
    truth, found = maps(1)
    mask = np.zeros_like(truth)
    mask[:, 4:12, 3:19] = 1
    options = EstimateOptions(slices=EVERY, trained="none")
    result = estimate(image(found), image(truth), options, classes=THREE, cell=image(mask))
    at = list(parse_slices(EVERY))
    inside = truth[at][:, 4:12, 3:19] == 2
    assert result.row("mito", "fraction_of_cell", "labels").value == pytest.approx(inside.mean())
    assert result.row("mito", "fraction_of_cell", "prediction").value == pytest.approx(
        (found[:, 4:12, 3:19] == 2).mean()
    )


def test_slices_outside_the_cell_belong_to_no_population():
    truth, found = maps(2)
    mask = np.zeros_like(truth)
    mask[10:30] = 1
    options = EstimateOptions(slices="11:30:3", trained="none")
    result = estimate(image(found), image(truth), options, classes=THREE, cell=image(mask))
    assert result.row("mito", "fraction_of_cell").population == 20


def test_fractions_of_the_foreground_correct_both_sides():
    truth, found = maps(3)
    found[found == 1] = np.where(np.random.default_rng(0).random((found == 1).sum()) < 0.3, 0, 1)  # a smaller cell
    result = run_estimate(found, truth, of="foreground")
    true = (truth == 2).sum() / (truth > 0).sum()
    row = result.row("mito", "fraction_of_foreground")
    assert row.low < true < row.high
    alone = result.row("mito", "fraction_of_foreground", "prediction").value
    assert alone == pytest.approx((found == 2).sum() / (found > 0).sum())


def test_overlapping_classes_are_estimated_each():
    rng = np.random.default_rng(4)
    truth = (rng.random((2, 30, 16, 16)) < 0.3).astype(np.uint8)
    images = tuple(image(one) for one in truth)
    volume = Volume("cell", images[0], images, voxel_size_nm=SIZE)
    result = estimate(volume, volume, EstimateOptions(slices="1:30:4", trained="none"), classes=MASKS)
    for name, own in zip(MASKS.names, truth, strict=True):
        assert result.row(name, "fraction_of_volume", "prediction").value == pytest.approx(own.mean())


def test_blocks_make_no_difference(monkeypatch):
    truth, found = maps(5)
    whole = run_estimate(found, truth).rows
    monkeypatch.setattr(blocks, "BLOCK_VOXELS", 1)
    assert run_estimate(found, truth).rows == whole


def test_slices_that_were_trained_on_are_added_but_do_not_correct():
    """The network is perfect on what it has seen. Taken for a sample, that hides its bias elsewhere."""
    truth, found = maps(6)
    seen = list(range(0, 12))
    found[seen] = truth[seen]
    heard = Heard()
    labelled = sorted({*seen, *range(13, 40, 3)})
    result = run_estimate(found, truth, heard, slices=",".join(map(str, labelled)), trained="0:12")
    row = result.row("mito", "fraction_of_volume")
    true, rest = (truth == 2).mean(), [z for z in labelled if z >= 12]
    assert row.low < true < row.high
    errors = ((truth == 2).sum(axis=(1, 2)) - (found == 2).sum(axis=(1, 2)))[rest]
    expected = ((found == 2).sum() + 28 * errors.mean()) / truth.size
    assert result.row("mito", "fraction_of_volume", "difference").value == pytest.approx(expected)
    assert (row.n, row.population) == (len(labelled), 40)
    assert "trained on the labelled slices 0-11" in heard.said[0]


def test_trained_slices_without_labels_are_warned_of():
    truth, found = maps(7)
    heard = Heard()
    run_estimate(found, truth, heard, slices="13:40:3", trained="0:12")
    assert "not labelled completely" in heard.warned[0]


def test_unknown_training_slices_are_warned_of_and_recipes_say_them(tmp_path):
    truth, found = maps(8)
    heard = Heard()
    run_estimate(found, truth, heard, trained=None)
    assert "nothing says which slices" in heard.warned[0]
    labelled = [0, 1, 5, 9, 14, 18, 22, 26, 30, 34, 38]
    for name, array in (("image.tif", truth), ("labels.tif", truth[labelled])):
        tifffile.imwrite(tmp_path / name, array)
    write_prediction(tmp_path / "found.zarr", found[None], THREE, voxel_size_nm=SIZE)
    text = (
        "name: discs\ndata:\n  classes: {names: [background, cell, mito]}\n"
        "  volumes: [{name: a, image: image.tif, voxel_size_nm: [50, 10, 10],\n"
        "    labels: {kind: ids, path: labels.tif, slices: SLICES}}]\n"
        "  train: [{volume: a, slices: 0:2}]\nmodel: {name: random_forest}\n"
    )
    text = text.replace("SLICES", str(labelled))
    (tmp_path / "r.yaml").write_text(text)
    recipe = parse_recipe(text, "r.yaml").read_from(tmp_path / "r.yaml")
    heard = Heard()
    result = estimate(tmp_path / "found.zarr", "a", recipe=recipe, progress=heard)
    assert not heard.warned
    assert "slices 0-1" in heard.said[0]
    assert result.row("mito", "fraction_of_volume").n == 11
    named = EstimateOptions(slices=",".join(map(str, labelled[2:])))
    assert estimate(tmp_path / "found.zarr", "a", named, recipe=recipe).rows == result.rows


def test_with_folds_validation_regions_were_trained_on_too(tmp_path):
    """Each fold's network has seen what the others validate, so only the rest of the labels is new to an ensemble."""
    truth, _ = maps(8)
    for name in ("image.tif", "labels.tif"):
        tifffile.imwrite(tmp_path / name, truth)
    text = (
        "name: discs\ndata:\n  classes: {names: [background, cell, mito]}\n"
        "  volumes: [{name: a, image: image.tif, labels: {kind: ids, path: labels.tif}}]\n"
        "  train: [{volume: a, slices: '0:4'}]\n  validate: [{volume: a, slices: '6:8'}]\n"
        "model: {name: random_forest}\n"
    )
    labels = open_volume(tmp_path / "labels.tif").image
    for more, seen in (("", {0, 1, 2, 3}), ("folds: {count: 2}\n", {0, 1, 2, 3, 6, 7})):
        recipe = parse_recipe(text + more, "r.yaml").read_from(tmp_path / "r.yaml")
        assert trained_slices(recipe, [labels]) == seen


def test_out_of_fold_predictions_have_seen_nothing_there():
    runs = [{"run": "a", "held_out": ["0:4,0:8,0:8"]}, {"run": "b", "held_out": ["4:6,0:8,0:8", "6:8,0:8,0:4"]}]
    assert held_out_slices({"runs": runs}, (10, 8, 8)) == frozenset(range(6))


def test_what_several_members_have_held_out_counts_once():
    """Two instances of a fold hold out the same half of each slice; the other half was trained on."""
    runs = [{"run": name, "held_out": ["0:4,0:8,0:4"]} for name in ("a", "b")]
    assert not held_out_slices({"runs": runs}, (10, 8, 8))
    overlapping = [*runs, {"run": "c", "held_out": ["2:6,0:8,2:8"]}]
    assert held_out_slices({"runs": overlapping}, (10, 8, 8)) == {2, 3}


def write_study_data(
    folder, *, extra="folds: {count: 2}\n", train="0:2", more="  validate: [{volume: a, slices: 4:6}]\n"
):
    """A truth of 40 slices, of which eleven are labelled, and a recipe that trains on some of these."""
    truth, found = maps(8)
    labelled = [0, 1, 4, 5, 9, 14, 18, 22, 26, 30, 34, 38]
    for name, array in (("image.tif", truth), ("labels.tif", truth[labelled]), ("copy.tif", truth)):
        tifffile.imwrite(folder / name, array)
    text = (
        "name: discs\ndata:\n  classes: {names: [background, cell, mito]}\n"
        "  volumes: [{name: a, image: image.tif, voxel_size_nm: [50, 10, 10],\n"
        f"    labels: {{kind: ids, path: labels.tif, slices: {labelled}}}}}]\n"
        f"  train: [{{volume: a, slices: {train}}}]\n{more}{extra}model: {{name: unet_bn, widths: [4, 8]}}\n"
    )
    (folder / "r.yaml").write_text(text)
    return parse_recipe(text, "r.yaml").read_from(folder / "r.yaml"), found


@pytest.mark.parametrize("run", ["discs-fold-1-00c0ffee", "discs-fold-2-instance-1-00c0ffee"])
def test_a_study_was_trained_on_all_its_folds(tmp_path, run):
    """What one fold validates the others train on, so the recipe of a study says more than its `train`."""
    recipe, found = write_study_data(tmp_path)
    write_prediction(tmp_path / "found.zarr", found[None], THREE, voxel_size_nm=SIZE, runs=(run,))
    heard = Heard()
    estimate(tmp_path / "found.zarr", "a", recipe=recipe, progress=heard)
    assert "trained on the labelled slices 0-1, 4-5" in heard.said[0]
    assert not heard.warned


def finished_run(folder, recipe):
    """A run folder of a recipe that looks trained."""
    model = TrainedModel(1, THREE, Normalizer(0.0, 2.0), SIZE, (16, 16))
    run = create_run(folder, recipe)
    save_weights(run, recipe.model.build(1, 3))
    write_summary(run, model, {"status": "complete"})
    return run


def test_the_folder_of_an_ensemble_names_its_runs(tmp_path):
    runs = []
    for number, train in enumerate(("0:2", "4:6"), start=1):
        recipe, found = write_study_data(tmp_path, extra=f"seed: {number}\n", train=train, more="")
        runs.append(finished_run(tmp_path / "study" / f"fold-{number}", recipe))
    write_ensemble(tmp_path / "study" / "ensemble.yaml", runs)
    write_prediction(tmp_path / "found.zarr", found[None], THREE, voxel_size_nm=SIZE, runs=tuple(r.id for r in runs))
    heard = Heard()
    estimate(tmp_path / "found.zarr", "a", recipe=recipe, run=tmp_path / "study", progress=heard)
    assert "trained on the labelled slices 0-1, 4-5" in heard.said[0]


def test_what_the_starting_weights_were_trained_on_was_seen(tmp_path):
    recipe, found = write_study_data(tmp_path, extra="", train="0:2", more="")
    first = finished_run(tmp_path / "first", recipe)
    start = f"training: {{start_from: {first.path}}}\n"
    recipe, found = write_study_data(tmp_path, extra=start, train="4:6", more="")
    run = finished_run(tmp_path / "second", recipe)
    write_prediction(tmp_path / "found.zarr", found[None], THREE, voxel_size_nm=SIZE, runs=(run.id,))
    heard = Heard()
    estimate(tmp_path / "found.zarr", "a", recipe=recipe, run=run, progress=heard)
    assert "trained on the labelled slices 0-1, 4-5" in heard.said[0]


def test_other_label_files_of_a_volume_like_the_trained_one_are_warned_of(tmp_path):
    recipe, found = write_study_data(tmp_path, extra="", more="")
    run = finished_run(tmp_path / "run", recipe)
    write_prediction(tmp_path / "found.zarr", found[None], THREE, voxel_size_nm=SIZE, runs=(run.id,))
    heard = Heard()
    estimate(tmp_path / "found.zarr", tmp_path / "copy.tif", EstimateOptions(slices=EVERY), run=run, progress=heard)
    assert "trained on a volume of the same shape (a)" in heard.warned[0]


def test_a_run_that_did_not_make_the_prediction_is_refused(tmp_path):
    from prediction_runs import make_run

    truth, found = maps(9)
    binary = Classes(names=("background", "mito"))
    write_prediction(tmp_path / "found.zarr", (found == 2).astype(np.uint8)[None], binary, voxel_size_nm=SIZE)
    run = make_run(tmp_path / "run")
    with pytest.raises(RunError, match="discs-00c0ffee"):
        estimate(tmp_path / "found.zarr", image((truth == 2).astype(np.uint8)), EstimateOptions(slices=EVERY), run=run)


def test_slabs_are_units():
    truth, found = maps(10)
    heard = Heard()
    result = run_estimate(found, truth, heard, slices="0:3,7:10,14:17,21:24,28:31,35:38")
    row = result.row("mito", "fraction_of_volume")
    assert (row.n, row.population, result.unit) == (6, 13, "slab")
    assert "6 slabs" in heard.said[0]


def test_all_slices_labelled_is_a_census():
    truth, found = maps(11)
    row = run_estimate(found, truth, slices=None).row("mito", "fraction_of_volume")
    assert row.value == row.low == row.high == pytest.approx((truth == 2).mean())


def test_few_slices_have_an_estimate_but_no_interval():
    truth, found = maps(12)
    row = run_estimate(found, truth, slices="2,13,24,35").row("mito", "fraction_of_volume")
    assert row.low is None
    assert "at least 6" in row.reason


def test_several_volumes_are_estimated_together():
    pairs = [maps(seed) for seed in (20, 21)]
    whole = [Volume(f"v{n}", image(t), (image(t),), voxel_size_nm=SIZE) for n, (t, _) in enumerate(pairs)]
    some = []
    for volume, (truth, _) in zip(whole, pairs, strict=True):
        valid = np.zeros_like(truth)
        valid[[1, 7, 19, 22, 36]] = 1
        some.append(Volume(volume.name, volume.image, volume.labels, valid=image(valid), voxel_size_nm=SIZE))
    options = EstimateOptions(trained="none", design="random")
    result = estimate([image(found) for _, found in pairs], some, options, classes=THREE)
    row = result.row("mito", "fraction_of_volume")
    assert (row.n, row.population) == (10, 80)
    assert row.low < np.mean([(truth == 2).mean() for truth, _ in pairs]) < row.high


def test_unrelated_images_are_units():
    truth, found = maps(22)
    pairs = []
    for z in range(40):
        valid = np.full((1, 20, 24), z % 4 == 1, np.uint8)
        own = Volume(f"i{z}", image(truth[z : z + 1]), (image(truth[z : z + 1]),), valid=image(valid))
        pairs.append((image(found[z : z + 1]), own))
    images, truths = zip(*pairs, strict=True)
    result = estimate(images, truths, EstimateOptions(trained="none"), classes=THREE)
    row = result.row("mito", "fraction_of_volume")
    assert (row.n, row.population, row.design, result.unit) == (10, 40, "random", "image")
    assert row.low < (truth == 2).mean() < row.high
    with pytest.raises(ScoreError, match="no order"):
        estimate(images, truths, EstimateOptions(trained="none", design="systematic"), classes=THREE)


def test_volumes_with_and_without_a_voxel_size_do_not_add_up():
    truth, found = maps(23)
    pairs = [image(found), image_of_array(found)], [image(truth), image_of_array(truth)]
    with pytest.raises(VoxelSizeError, match="do not add up"):
        estimate(*pairs, EstimateOptions(trained="none"), classes=THREE)


def test_partly_labelled_slices_are_ratios_of_what_is_labelled():
    truth, found = maps(13)
    valid = np.zeros_like(truth)
    valid[2::4, :10, :12] = 1
    volume = Volume("a", image(truth), (image(truth),), valid=image(valid), voxel_size_nm=SIZE)
    result = estimate(image(found), volume, EstimateOptions(trained="none"), classes=THREE)
    labels = result.row("mito", "fraction_of_volume", "labels")
    assert labels.value == pytest.approx((truth[2::4, :10, :12] == 2).mean())


def test_blank_slices_that_look_unlabelled_are_warned_of():
    truth, found = maps(14)
    sparse = np.zeros_like(truth)
    sparse[2::4] = truth[2::4]
    heard = Heard()
    run_estimate(found, sparse, heard, slices=None)
    assert "--slices" in heard.warned[0]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"slices": "10:30"}, "neighbours"),
        ({"slices": "50"}, "slice 50 is not among"),
        ({"slices": "5"}, "too few"),
        ({"slices": EVERY, "trained": "0:40"}, "too few"),
        ({"slices": "3:1"}, "at least one"),
        ({"slices": "a"}, "no slices"),
        ({"slices": "1,1"}, "once"),
        ({"of": "cell"}, "--cell"),
        ({"of": "moon"}, "--of moon"),
        ({"design": "lucky"}, "--design lucky"),
        ({"half_width_percent": 0}, "--half-width-percent"),
    ],
)
def test_what_gives_no_estimate_is_refused(options, text):
    truth, found = maps(15)
    with pytest.raises(ScoreError, match=text):
        run_estimate(found, truth, **options)


def test_a_mask_without_effect_is_refused():
    truth, found = maps(16)
    with pytest.raises(ScoreError, match="no effect"):
        estimate(image(found), image(truth), EstimateOptions(of="volume"), classes=THREE, cell=image(truth))
    with pytest.raises(ScoreError, match="in the same order"):
        estimate([image(found)] * 2, image(truth), classes=THREE)


UNITS = "unit,predicted,truth,size\n" + "".join(
    f"box{n},{10 + n % 5},{'' if n % 3 else 12 + n % 5},{100 + n}\n" for n in range(30)
)


def test_a_table_of_units_counts_anything(tmp_path):
    """Objects in labelled boxes: 10 of 30 boxes have a true count, which is always 2 more than the predicted one."""
    (tmp_path / "units.csv").write_text(UNITS)
    result = estimate(tmp_path / "units.csv")
    row = result.row("all", "total", "difference")
    predicted = sum(10 + n % 5 for n in range(30))
    sizes = [100 + n for n in range(30)]
    assert row.value == pytest.approx(predicted + 20 * sum(sizes) / sum(sizes[::3]))
    assert row.low < predicted + 60 < row.high
    assert result.unit == "unit"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unit,truth\na,1\n", "expected the columns"),
        ("unit,predicted,truth\n", "no rows"),
        ("unit,predicted,truth\na,1,2\na,1,2\n", "twice"),
        ("unit,predicted,truth\na,x,2\nb,1,2\n", "expected a number"),
        ("unit,predicted,truth\na,1,2\nb,1,\n", "at least two"),
        ("unit,predicted,truth\na,1\n", "number of columns"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path, text, message):
    (tmp_path / "units.csv").write_text(text)
    with pytest.raises(ScoreError, match=message):
        estimate(tmp_path / "units.csv")
    with pytest.raises(MissingFileError):
        estimate(tmp_path / "none.csv")


def test_the_command_writes_what_it_prints(tmp_path):
    truth, found = maps(17)
    binary = Classes(names=("background", "mito"))
    prediction = write_prediction(tmp_path / "p.zarr", (found == 2).astype(np.uint8)[None], binary, voxel_size_nm=SIZE)
    tifffile.imwrite(tmp_path / "t.tif", (truth == 2).astype(np.uint8))
    command = ["estimate", str(prediction), "--truth", str(tmp_path / "t.tif"), "--slices", EVERY, "--trained", "none"]
    out = tmp_path / "e.csv"
    plain = CliRunner().invoke(app, [*command, "--out", str(out), "--half-width-percent", "0.5"])
    assert plain.exit_code == 0, plain.output
    assert "mito: fraction_of_volume" in plain.stdout
    assert "95 % interval" in plain.stdout
    rows = list(csv.DictReader(out.open()))
    printed = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert [row["class"] for row in rows] == [row["class"] for row in printed["estimates"]]
    assert float(rows[0]["value"]) == pytest.approx(printed["estimates"][0]["value"])
    assert int(rows[0]["needed"]) > 0
    assert json.loads(out.with_suffix(".json").read_text())["kind"] == "estimates"
    again = CliRunner().invoke(app, [*command, "--out", str(out)])
    assert again.exit_code == 2
    with pytest.raises(OutputExistsError):
        estimate(prediction, tmp_path / "t.tif", out=out)


def test_the_command_plans_slices(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((60, 8, 8), np.uint8))
    for design in ("systematic", "random", "stratified"):
        command = ["estimate", str(tmp_path / "a.tif"), "--plan", "6", "--design", design, "--seed", "3"]
        printed = CliRunner().invoke(app, command)
        assert printed.exit_code == 0, printed.output
        expected = plan_slices(tmp_path / "a.tif", 6, design=design, seed=3)
        assert printed.stdout.strip() == ",".join(map(str, expected))
        assert json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["slices"] == list(expected)
    assert plan_slices(image_of_array(np.zeros((60, 8, 8))), 6) == plan_slices(tmp_path / "a.tif", 6)
    wrong = CliRunner().invoke(app, ["estimate", str(tmp_path / "a.tif"), "--plan", "6", "--truth", "x"])
    assert wrong.exit_code == 2


def test_part_of_a_volume_is_its_own_population(tmp_path):
    truth, found = maps(18)
    prediction = write_prediction(
        tmp_path / "p.zarr", found[None, 10:], THREE, box=Box((10, 0, 0), (40, 20, 24)), volume_shape=truth.shape
    )
    row = estimate(prediction, image(truth), EstimateOptions(slices="11:40:3", trained="none")).row(
        "mito", "fraction_of_volume"
    )
    assert (row.n, row.population) == (10, 30)
