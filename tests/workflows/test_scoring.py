"""Scores of every family from files: units, thresholds of validation data, merged classes, objects, kills."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.volume import Volume
from cristae.errors import MissingFileError, ScoreError, VoxelSizeError
from cristae.evaluation import blocks
from cristae.evaluation.scoring import counting, ledger
from cristae.evaluation.scoring.settings import FAMILIES, ScoreOptions, parse_families, parse_merge
from cristae.evaluation.unit_tables import measure_slices, read_rows
from cristae.metrics.contingency import Contingency
from cristae.metrics.partition import v_info, v_rand, variation_of_information
from cristae.metrics.score import read_scores
from cristae.metrics.surface import SurfaceDistances, average_distance, surface_dice, surface_distances
from cristae.metrics.uncertainty.units import parse_unit
from cristae.workflows.evaluate import evaluate
from cristae.workflows.report import report

BINARY = Classes(names=("background", "mito"))
SEVEN = Classes(names=("background", "cell", "mito", "granule"))


def blobs(shape, seed, share=0.4):
    """Smooth random scores float32 in [0, 1]."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), (1, 3, 3))
    low, high = np.quantile(noise, [0.01, 0.99])
    return np.clip((noise - low) / (high - low) * share * 2, 0, 1).astype(np.float32)


def pair(shape=(8, 48, 56), seed=0):
    """A true mask and a map of 8-bit scores that is mostly right."""
    clean = blobs(shape, seed)
    noisy = np.clip(clean + 0.25 * (blobs(shape, seed + 100) - 0.4), 0, 1)
    return (clean > 0.5).astype(np.uint8), (noisy * 255).round().astype(np.uint8)


def _plane(array):
    return Box.of_shape((1, *array.shape))


def _readers(*arrays):
    return [lambda box, array=array: array[None][box.slices] for array in arrays]


def save(path, array):
    tifffile.imwrite(path, array, photometric="minisblack")
    return path


@pytest.fixture
def files(tmp_path):
    truth, scores = pair()
    return save(tmp_path / "truth.tif", truth * np.uint8(255)), save(tmp_path / "map.tif", scores)


def found(scores):
    """Rows by class and metric; each stands once."""
    rows = {(s.class_name, s.metric): s for s in scores}
    assert len(rows) == len(scores)
    return rows


def test_every_family_has_its_rows_and_only_those_asked_for(files):
    sized = ScoreOptions(voxel_size_nm=(40.0, 5.0, 5.0))
    names = {
        "overlap": {"F1", "mIoU"},
        "ranking": {"AUC-ROC", "AP", "ECE", "F1_best"},
        "partition": {"V_rand", "V_info_fixed", "VI", "adapted_rand_error", "V_rand_raw_3d", "VI_3d"},
        "detection": {"components_TP", "components_UD_percent"},
        "instances": {"PQ", "instance_AP50", "PQ_3d"},
        "surfaces": {"HD95", "ASD", "NSD"},
        "centrelines": {"clDice"},
    }
    assert set(names) == set(FAMILIES)
    every = {s.metric for s in evaluate(*reversed(files), options=replace(sized, binarize=0.5))}
    for group, some in names.items():
        only = ScoreOptions(voxel_size_nm=(40.0, 5.0, 5.0), scores=parse_families(group))
        own = {s.metric for s in evaluate(*reversed(files), options=replace(only, binarize=0.5))}
        assert some <= own <= every
        assert not own & set().union(*(other for name, other in names.items() if name != group))


def test_unrelated_slices_are_not_scored_in_3d(files):
    """Surfaces of slices pooled: those of the same slices each in a volume of its own."""
    size = (40.0, 5.0, 5.0)
    rows = found(evaluate(*reversed(files), options=ScoreOptions(binarize=0.5, voxel_size_nm=size, slices_apart=True)))
    assert not [metric for _, metric in rows if metric.endswith("_3d")]
    truth, scores = pair()
    parts = [
        surface_distances(*_readers(t, s > 127), [_plane(t)], size, closed=False)
        for t, s in zip(truth, scores, strict=True)
    ]
    pooled = SurfaceDistances.total(parts)
    assert rows["foreground", "ASD"].value == pytest.approx(average_distance(pooled), nan_ok=True)
    assert rows["foreground", "NSD"].value == pytest.approx(surface_dice(pooled, 5.0))
    assert "slice" in rows["foreground", "NSD"].rule


def test_surfaces_are_open_where_the_volume_ends():
    """A slab through the whole stack has only the two faces inside; one of them is a pixel off."""
    truth, prediction = np.zeros((2, 3, 8, 9), np.uint8)
    truth[:, :, 2:6], prediction[:, :, 2:7] = 1, 1
    options = ScoreOptions(voxel_size_nm=(40.0, 5.0, 5.0), tolerance_nm=1)
    rows = found(evaluate(image_of_array(prediction), image_of_array(truth), classes=BINARY, options=options))
    assert rows["mito", "HD"].value == 5
    assert rows["mito", "NSD"].value == 0.5
    assert rows["mito", "HD"].n == 4 * 24


def test_the_page_of_scores_draws_what_the_curves_hold(files, tmp_path):
    evaluate(*reversed(files), out=tmp_path / "s.csv", options=ScoreOptions(binarize=0.5))
    text = report(tmp_path / "s.csv").read_text()
    for heading in ("Scores", "Thresholds", "Ranking", "Calibration", "Every score"):
        assert heading in text
    for label in ("ROC curves", "Precision and recall", "Reliability diagram", "V_rand (thinned) of foreground"):
        assert label in text
    (tmp_path / "s.curves.csv").write_text("run,class\na,b\n")
    with pytest.raises(ScoreError, match="not a table of curves"):
        report(tmp_path / "s.csv", out=tmp_path / "again.html")
    assert not (tmp_path / "again.html").exists()


def test_nothing_that_can_be_scored_is_an_error():
    truth = image_of_array(pair((2, 20, 20))[0])
    for group in ("ranking", "surfaces"):
        with pytest.raises(ScoreError, match="none of the families"):
            evaluate(truth, truth, classes=BINARY, options=ScoreOptions(scores=(group,)))


def test_rows_say_what_is_positive_and_what_they_count(files):
    for score in evaluate(*reversed(files), options=ScoreOptions(binarize=0.5, voxel_size_nm=(40.0, 5.0, 5.0))):
        assert "; n=" in score.rule, score
        if score.class_name != "all":
            assert "positive=foreground" in score.rule or "foreground and its complement" in score.rule, score


def test_objects_in_3d_are_those_of_the_whole_volume(monkeypatch):
    truth, scores = pair()
    prediction = (scores > 127).astype(np.uint8)
    table = Contingency.of(ndimage.label(truth)[0], ndimage.label(prediction)[0])
    monkeypatch.setattr("cristae.evaluation.scoring.objects._PIECE_VOXELS", 2000)
    images = [image_of_array(truth), image_of_array(prediction)]
    chunked = [type(image)(**(vars(image) | {"chunks": (3, 20, 10)})) for image in images]
    rows = found(evaluate(chunked[1], chunked[0], classes=BINARY))
    assert rows["mito", "V_rand_raw_3d"].value == pytest.approx(v_rand(table).value, abs=1e-12)
    assert rows["mito", "V_info_raw_3d"].value == pytest.approx(v_info(table).value, abs=1e-12)
    assert rows["mito", "VI_split_3d"].value == pytest.approx(variation_of_information(table).split, abs=1e-12)


@settings(max_examples=6, deadline=None)
@given(st.tuples(st.integers(1, 5), st.integers(3, 20), st.integers(3, 23)), st.integers(0, 1000))
def test_blocks_of_any_size_give_the_scores_of_the_whole(chunks, seed):
    truth, scores = pair((5, 20, 23), seed)
    valid = np.random.default_rng(seed).random(truth.shape) < 0.9
    results = []
    for size, pieces in (((5, 20, 23), 1 << 24), (chunks, 200)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(blocks, "BLOCK_VOXELS", pieces)
            patch.setattr("cristae.evaluation.scoring.objects._PIECE_VOXELS", pieces)
            prediction, labels, mask = (
                type(image)(**(vars(image) | {"chunks": size}))
                for image in map(image_of_array, ((scores > 127).view(np.uint8), truth, valid.view(np.uint8)))
            )
            volume = Volume("v", labels, (labels,), mask, voxel_size_nm=(40.0, 5.0, 4.0))
            results.append(evaluate(prediction, volume, classes=BINARY))
    assert repr(results[0]) == repr(results[1])


def test_a_threshold_chosen_on_validation_data_is_applied_to_other_data(tmp_path):
    for name, seed in (("val", 1), ("test", 2)):
        truth, scores = pair(seed=seed)
        save(tmp_path / f"{name}-truth.tif", truth * np.uint8(255))
        save(tmp_path / f"{name}.tif", scores)
    validation = found(
        evaluate(
            tmp_path / "val.tif",
            tmp_path / "val-truth.tif",
            out=tmp_path / "val.csv",
            options=ScoreOptions(binarize=0.5),
        )
    )
    options = ScoreOptions(thresholds_from=tmp_path / "val.csv")
    rows = found(
        evaluate(
            tmp_path / "test.tif",
            tmp_path / "test-truth.tif",
            out=tmp_path / "t.csv",
            options=replace(options, binarize=0.5),
        )
    )
    curves = list(csv.DictReader((tmp_path / "t.curves.csv").open()))
    for metric in ("F1", "Jaccard", "mIoU", "V_rand", "V_info"):
        chosen = validation["foreground", metric if metric.startswith("V_") else f"{metric}_best"].threshold
        row = rows["foreground", f"{metric}_validated"]
        assert row.threshold == chosen
        assert "validation" in row.rule
        (on_curve,) = [c for c in curves if c["metric"] == metric and float(c["threshold"]) == chosen]
        assert row.value == float(on_curve["value"])
        best = rows["foreground", metric if metric.startswith("V_") else f"{metric}_best"]
        assert row.value <= best.value
        assert "optimistic" in best.rule


def test_thresholds_of_another_run_or_of_labels_are_refused(tmp_path, files):
    labels = evaluate(image_of_array(pair()[0]), image_of_array(pair()[0]), classes=BINARY, out=tmp_path / "l.csv")
    assert labels
    for table, error, message in (("l.csv", ScoreError, "no threshold"), ("none.csv", MissingFileError, "none")):
        with pytest.raises(error, match=message):
            evaluate(*reversed(files), options=ScoreOptions(binarize=0.5, thresholds_from=tmp_path / table))


def test_intervals_need_a_unit_and_six_of_it(files):
    plain = found(evaluate(*reversed(files), options=ScoreOptions(binarize=0.5)))
    assert all(row.low is None for row in plain.values())
    rows = found(evaluate(*reversed(files), options=ScoreOptions(binarize=0.5, unit="slice")))
    for metric in ("F1", "Jaccard", "accuracy", "F1_slice_mean", "V_rand", "V_rand_fixed", "V_info_raw"):
        row = rows["foreground", metric]
        assert row.low < row.value < row.high, row
        assert "95 % interval over 8 units (slice)" in row.rule
        assert row.value == plain["foreground", metric].value
    assert rows["foreground", "AUC-ROC"].low is None
    assert "no interval is made" in rows["foreground", "AUC-ROC"].rule
    for key in (("all", "mIoU"), ("all", "overall_accuracy"), ("foreground", "VI"), ("foreground", "VI_split")):
        assert rows[key].low < rows[key].value < rows[key].high
    assert rows["foreground", "adapted_rand_error"].high is not None
    options = ScoreOptions(unit="slab:80nm", voxel_size_nm=(40.0, 5.0, 5.0))
    slabs = found(evaluate(*reversed(files), options=replace(options, binarize=0.5)))["foreground", "F1"]
    assert slabs.low is None
    assert "no interval: " in slabs.rule


def test_units_that_make_no_sense_are_told(files):
    for unit in ("slabs", "slab:", "slab:-3nm", "slab:nan", "cell"):
        with pytest.raises(ScoreError, match="slab:500nm"):
            evaluate(*reversed(files), options=ScoreOptions(binarize=0.5, unit=unit))
    with pytest.raises(ScoreError, match="--voxel-size-nm"):
        evaluate(*reversed(files), options=ScoreOptions(binarize=0.5, unit="slab:500nm"))


def test_slabs_of_the_table_of_slices_need_no_spacing(files, tmp_path):
    options = ScoreOptions(unit="slab:80nm", voxel_size_nm=(40.0, 5.0, 5.0))
    evaluate(*reversed(files), out=tmp_path / "s.csv", options=replace(options, binarize=0.5))
    rows, wide = read_rows([tmp_path / "s.slices.csv"])
    measured = measure_slices(rows, "F1", parse_unit("slab:80nm"), class_name=None, slice_spacing_nm=None)
    assert wide
    assert len(measured.tables[0].units) == 4
    evaluate(*reversed(files), out=tmp_path / "plain.csv", options=ScoreOptions(binarize=0.5))
    rows, _ = read_rows([tmp_path / "plain.slices.csv"])
    with pytest.raises(ScoreError, match="--slice-spacing-nm"):
        measure_slices(rows, "F1", parse_unit("slab:80nm"), class_name=None, slice_spacing_nm=None)


def test_volumes_are_units_of_what_is_pooled_over_them(tmp_path):
    from test_evaluate import recipe_at

    data = """\
  classes: {names: [background, mito]}
  volumes:
    - {name: set, kind: images, image: image, labels: {kind: values, path: truth, values: {0: background, 255: mito}}}
"""
    for folder in ("image", "truth", "prediction"):
        (tmp_path / folder).mkdir()
    for number in range(7):
        truth, scores = pair((1, 40, 40), number)
        for folder, array in (("image", scores), ("truth", truth * 255), ("prediction", (scores > 127) * 255)):
            save(tmp_path / folder / f"{number}.tif", array.astype(np.uint8)[0])
    recipe = recipe_at(tmp_path, data)
    scores = evaluate(tmp_path / "prediction", tmp_path / "truth", recipe=recipe, options=ScoreOptions(unit="volume"))
    for score in scores:
        assert (score.low is not None) == (score.volume == "all" and "interval over 7 units" in score.rule)
    assert any(score.low is not None for score in scores)


def test_classes_are_taken_together_before_anything_is_counted(tmp_path):
    rng = np.random.default_rng(3)
    truth, prediction = rng.integers(0, 4, (2, 3, 20, 24)).astype(np.uint8)
    options = ScoreOptions(merge=parse_merge(["organelle=mito+granule"]))
    rows = found(evaluate(image_of_array(prediction), image_of_array(truth), classes=SEVEN, options=options))
    merged = Classes(names=("background", "cell", "organelle"))
    by_hand = evaluate(image_of_array(np.minimum(prediction, 2)), image_of_array(np.minimum(truth, 2)), classes=merged)
    assert repr(tuple(rows.values())) == repr(by_hand)


def test_a_map_of_one_class_against_labels_of_many(tmp_path):
    """The comparison with CDeep3M: all classes of the cell as one, a probability map at eleven thresholds."""
    from test_evaluate import recipe_at

    rng = np.random.default_rng(4)
    truth = rng.integers(0, 4, (2, 20, 24)).astype(np.uint8)
    grey = rng.integers(0, 256, truth.shape).astype(np.uint8)
    save(tmp_path / "image.tif", truth), save(tmp_path / "truth.tif", truth), save(tmp_path / "map.tif", grey)
    recipe = recipe_at(
        tmp_path,
        "  classes: {names: [background, cell, mito, granule]}\n"
        "  volumes:\n    - {name: v, image: image.tif, labels: {kind: ids, path: truth.tif}}\n",
    )
    paths = tmp_path / "truth.tif", tmp_path / "map.tif"
    with pytest.raises(ScoreError, match="--merge"):
        evaluate(*reversed(paths), recipe=recipe, options=ScoreOptions(binarize=0.5))
    options = ScoreOptions(merge={"cell": ("cell", "mito", "granule")})
    evaluate(*reversed(paths), recipe=recipe, out=tmp_path / "s.csv", options=replace(options, binarize=0.5))
    curve = [row for row in csv.DictReader((tmp_path / "s.curves.csv").open()) if row["metric"] == "mIoU"]
    assert [float(row["threshold"]) for row in curve] == [k / 10 for k in range(11)]
    for row in curve:
        inside, cell = grey.astype(np.float32) / np.float32(255) > np.float64(row["threshold"]), truth > 0
        ious = [(a & b).sum() / (a | b).sum() for a, b in ((inside, cell), (~inside, ~cell))]
        assert float(row["value"]) == pytest.approx(np.mean(ious))


def test_object_ids_of_any_size(tmp_path):
    ids = ndimage.label(pair()[0])[0].astype(np.uint64)
    other = np.where(ids > 0, ids + np.uint64(5_000_000_000), 0)
    other[:, :, 28:] += np.where(other[:, :, 28:] > 0, np.uint64(1 << 40), 0).astype(np.uint64)
    np_truth, np_other = tmp_path / "t.tif", tmp_path / "p.tif"
    tifffile.imwrite(np_truth, ids), tifffile.imwrite(np_other, other)
    rows = found(evaluate(np_other, np_truth, options=ScoreOptions(objects=True)))
    table = Contingency.of(ids, other)
    assert rows["objects", "V_rand_raw"].value == v_rand(table).value
    assert rows["objects", "V_rand_raw_merge"].value == pytest.approx(1)
    assert rows["objects", "V_rand_raw_split"].value < 1
    assert rows["objects", "VI_merge"].value == pytest.approx(0, abs=1e-9)
    assert rows["objects", "components_TP"].value == ids.max()
    for wrong in ({"binarize": 0.5}, {"merge": {"a": ("b",)}}):
        with pytest.raises(ScoreError, match="give --objects alone"):
            evaluate(np_other, np_truth, options=ScoreOptions(objects=True, **wrong))


def test_voxel_sizes_that_differ_are_refused():
    truth, scores = pair((2, 20, 20))
    images = [
        image_of_array((scores > 127).view(np.uint8), voxel_size_nm=(40.0, 5.0, 5.0)),
        image_of_array(truth, voxel_size_nm=(40.0, 6.0, 5.0)),
    ]
    with pytest.raises(VoxelSizeError, match=r"40 x 6 x 5 nm.*40 x 5 x 5 nm"):
        evaluate(*images, classes=BINARY)


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        ((0, 0), {"F1": None, "sensitivity": None, "PPV": None, "accuracy": 1, "specificity": 1, "NPV": 1}),
        ((0, 1), {"F1": 0, "Jaccard": 0, "PPV": 0, "sensitivity": None}),
        ((1, 0), {"F1": 0, "Jaccard": 0, "sensitivity": 0, "PPV": None, "specificity": None}),
    ],
)
def test_empty_maps(fill, expected):
    """What is undefined is NaN in every family, and never an error."""
    truth, prediction = (np.full((2, 9, 9), value, np.uint8) for value in fill)
    options = ScoreOptions(voxel_size_nm=(40.0, 5.0, 5.0))
    rows = found(evaluate(image_of_array(prediction), image_of_array(truth), classes=BINARY, options=options))
    for metric, value in expected.items():
        assert rows["mito", metric].value == pytest.approx(np.nan if value is None else value, nan_ok=True), metric
    assert np.isnan(rows["mito", "HD95"].value)
    if not any(fill):
        for metric in ("V_rand", "V_info", "V_rand_raw", "PQ", "clDice", "NSD", "components_TP_percent"):
            assert np.isnan(rows["mito", metric].value), metric
        assert rows["mito", "V_rand_fiji"].value == 0


def test_names_of_families_and_merges_are_checked():
    assert parse_families(None) == FAMILIES
    assert parse_families("partition, overlap") == ("overlap", "partition")
    for wrong in ("overlaps", "", ","):
        with pytest.raises(ScoreError, match="overlap, ranking"):
            parse_families(wrong)
    assert parse_merge(["a=b+c", "d = e"]) == {"a": ("b", "c"), "d": ("e",)}
    for wrong in (["a"], ["=b"], ["a=b+"], ["a=b", "a=c"]):
        with pytest.raises(ScoreError, match="NAME=A"):
            parse_merge(wrong)


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [1, 5, 9])
def test_an_interrupted_evaluation_goes_on(files, tmp_path, monkeypatch, after):
    monkeypatch.setattr(blocks, "BLOCK_VOXELS", 6000)
    monkeypatch.setattr(ledger, "SAVE_EVERY_S", 0.0)
    arguments = {"options": ScoreOptions(binarize=0.5, voxel_size_nm=(40.0, 5.0, 5.0), unit="slice")}
    whole = evaluate(*reversed(files), **arguments, out=tmp_path / "whole.csv")
    steps = []
    task_count = counting._count

    class Clock:
        def __init__(self, task):
            self.task = task

        def advance(self, *args, **kwargs):
            steps.append(1)
            if len(steps) == after:
                raise _Killed

    monkeypatch.setattr(
        counting, "_count", lambda name, what, done, book, task: task_count(name, what, done, book, Clock(task))
    )
    with pytest.raises(_Killed):
        evaluate(*reversed(files), **arguments, out=tmp_path / "cut.csv")
    names = {path.name for path in tmp_path.iterdir()}
    assert ".cut.progress.npz" in names
    assert not names & {"cut.csv", "cut.json", "cut.slices.csv"}
    total = len(steps)
    again = evaluate(*reversed(files), **arguments, out=tmp_path / "cut.csv")
    assert repr(again) == repr(whole)
    assert len(steps) > total
    for end in ("csv", "json", "slices.csv", "curves.csv"):
        assert (tmp_path / f"cut.{end}").read_bytes() == (tmp_path / f"whole.{end}").read_bytes()
    assert not (tmp_path / ".cut.progress.npz").exists()


def test_counts_of_other_input_are_not_taken_over(files, tmp_path):
    book = ledger.Ledger.at(tmp_path / "x.npz", ledger.key_of([files[0]], {"a": 1}))
    book.put("0:VoxelCounting", 3, {"z": np.arange(3)})
    book.save()
    same = ledger.Ledger.at(tmp_path / "x.npz", ledger.key_of([files[0]], {"a": 1}))
    assert same.done == {"0:VoxelCounting": 3}
    assert same.counts["0:VoxelCounting"]["z"].tolist() == [0, 1, 2]
    assert ledger.Ledger.at(tmp_path / "x.npz", ledger.key_of([files[0]], {"a": 2})).done == {}
    os.utime(files[0], ns=(1, 1))
    assert ledger.Ledger.at(tmp_path / "x.npz", ledger.key_of([files[0]], {"a": 1})).done == {}
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:50])
    assert ledger.Ledger.at(tmp_path / "x.npz", book.key).done == {}


def test_the_state_of_a_file_counts_whatever_is_said_behind_its_path(tmp_path):
    path = tmp_path / "maps.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros((2, 4, 4), np.uint8)
    named = [Path(f"{path}{more}") for more in ("", "::channel=0", "::channel=1", ":/x", ":/x::channel=1")]
    before = [ledger.key_of([one], {}) for one in named]
    assert len(set(before)) == len(named)
    os.utime(path, ns=(1, 1))
    assert not set(before) & {ledger.key_of([one], {}) for one in named}


@pytest.mark.slow
def test_a_killed_evaluation_of_a_large_pair_goes_on(tmp_path):
    """Kill the command in the middle; the same command ends with the scores of one that was never killed."""
    truth, scores = pair((24, 160, 160))
    for name, array in (("truth", truth * np.uint8(255)), ("map", scores)):
        (tmp_path / name).mkdir()
        for z, plane in enumerate(array):
            save(tmp_path / name / f"{z:03d}.tif", plane)
    program = (
        "import sys, time\n"
        "from cristae.evaluation import blocks, comparison\n"
        "from cristae.evaluation.scoring import ledger\n"
        "ledger.SAVE_EVERY_S = 0.0\n"
        "blocks.BLOCK_VOXELS = 30_000\n"
        "read = comparison.Comparison.read\n"
        "slow = float(sys.argv.pop(1))\n"
        "comparison.Comparison.read = lambda self, box: (time.sleep(slow), read(self, box))[1]\n"
        "from cristae.cli.main import run\n"
        "run()\n"
    )

    def command(out, slow):
        arguments = ["evaluate", "--truth", "truth", "--prediction", "map", "--binarize", "0.5", "--out", out, "--json"]
        return [sys.executable, "-c", program, str(slow), *arguments]

    whole = subprocess.run(command("whole.csv", 0), cwd=tmp_path, capture_output=True, text=True, check=True)
    process = subprocess.Popen(command("cut.csv", 0.2), cwd=tmp_path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / ".cut.progress.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cut.csv").exists()
    again = subprocess.run(command("cut.csv", 0), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "resumes an earlier evaluation" in again.stderr
    assert json.loads(again.stdout) == json.loads(whole.stdout)
    assert (tmp_path / "cut.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert len(read_scores(tmp_path / "cut.csv")) == len(json.loads(again.stdout))
