"""Evaluation: what is compared with what, and what is refused."""

import csv
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture
from prediction_files import write_prediction

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.volume import Volume
from cristae.errors import LabelError, MissingFileError, OutputExistsError, RunError, ScoreError
from cristae.evaluation.scoring.evaluation import predictions_in
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.metrics.confusion import Confusion
from cristae.metrics.overlap import dice
from cristae.metrics.score import read_scores
from cristae.recipe.load import parse_recipe
from cristae.workflows.evaluate import evaluate

BINARY = Classes(names=("background", "mito"))
THREE = Classes(names=("background", "cell", "granule"))
MASKS = Classes(names=("membrane", "mito"), exclusive=False)
SHAPE = (6, 33, 41)


def save(path, array):
    tifffile.imwrite(path, array, photometric="minisblack")


def maps(n_classes, seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes, shape).astype(np.uint8)
    prediction = np.where(rng.random(shape) < 0.7, truth, rng.integers(0, n_classes, shape)).astype(np.uint8)
    return truth, prediction


def value(scores, metric="F1", class_name="mito", volume=None):
    found = [s for s in scores if (s.metric, s.class_name) == (metric, class_name)]
    found = [s for s in found if volume is None or s.volume == volume]
    assert len(found) == 1, found
    return found[0].value


def expected(truth, prediction, class_id=1, n_classes=2, valid=None):
    return pytest.approx(dice(Confusion.of(truth, prediction, n_classes, valid))[class_id])


def recipe_at(folder, data, name="r"):
    text = f"name: {name}\ndata:\n{data}\nmodel: {{name: unet_bn}}\nloss: {{name: cross_entropy_dice}}\n"
    (folder / "recipe.yaml").write_text(text)
    return parse_recipe(text, "recipe.yaml").read_from(folder / "recipe.yaml")


VALUES = """\
  classes: {names: [background, mito]}
  volumes:
    - {name: cell, image: image.tif, labels: {kind: values, path: truth.tif, values: {0: background, 255: mito}}}
"""


def test_arrays_in_memory():
    truth, prediction = maps(3)
    scores = evaluate({"mine": image_of_array(prediction)}, image_of_array(truth), classes=THREE)
    assert value(scores, class_name="granule") == expected(truth, prediction, 2, 3)
    assert {score.run for score in scores} == {"mine"}


def test_invalid_voxels_the_mask_and_the_box_limit_what_counts():
    truth, prediction = maps(2)
    rng = np.random.default_rng(5)
    valid, mask = rng.integers(0, 2, (2, *SHAPE)).astype(np.uint8)
    box = Box((1, 2, 3), (5, 30, 20))
    volume = Volume("v", image_of_array(truth), (image_of_array(truth),), image_of_array(valid))
    scores = evaluate(
        image_of_array(prediction), volume, classes=BINARY, mask=image_of_array(mask), options=ScoreOptions(box=box)
    )
    inside = (valid & mask)[box.slices]
    assert value(scores) == expected(truth[box.slices], prediction[box.slices], valid=inside)
    assert next(s.n for s in scores if s.metric == "F1") == inside.sum()


def test_another_number_of_label_images_is_refused():
    truth, prediction = maps(2, shape=(2, *SHAPE))
    volume = Volume("v", image_of_array(truth[0]), tuple(image_of_array(mask) for mask in truth))
    with pytest.raises(ScoreError, match="2 label images"):
        evaluate(image_of_array(prediction[0]), volume, classes=MASKS)


def test_a_prediction_of_overlapping_classes_on_disk(tmp_path):
    truth, prediction = maps(2, shape=(2, *SHAPE))
    path = write_prediction(tmp_path / "p.zarr", prediction, MASKS)
    volume = Volume("v", image_of_array(truth[0]), tuple(image_of_array(mask) for mask in truth))
    scores = evaluate(path, volume)
    for index, name in enumerate(MASKS.names):
        assert value(scores, class_name=name) == expected(truth[index], prediction[index])


def test_a_predicted_box_is_compared_with_its_part_of_the_truth(tmp_path):
    truth, prediction = maps(2)
    box = Box((2, 4, 5), (6, 20, 40))
    path = write_prediction(tmp_path / "p.zarr", prediction[box.slices][None], BINARY, box=box, volume_shape=SHAPE)
    save(tmp_path / "truth.tif", truth)
    scores = evaluate(path, tmp_path / "truth.tif")
    assert value(scores) == expected(truth[box.slices], prediction[box.slices])
    assert (scores[0].run, scores[0].volume) == ("p", "truth")
    save(tmp_path / "part.tif", truth[box.slices])
    assert value(evaluate(path, tmp_path / "part.tif")) == value(scores)


def test_shapes_that_differ_are_told_with_both():
    truth, prediction = maps(2)
    with pytest.raises(ScoreError, match=r"\(6, 33, 41\).*\(6, 33, 40\)"):
        evaluate(image_of_array(prediction[..., 1:]), image_of_array(truth), classes=BINARY)
    with pytest.raises(ScoreError, match="the mask"):
        evaluate(image_of_array(prediction), image_of_array(truth), classes=BINARY, mask=image_of_array(truth[1:]))


@pytest.mark.parametrize("truth_shape", [(7, 33, 41), (6, 34, 41), (6, 33, 42), (8, 40, 50)])
def test_a_prediction_is_no_part_of_a_larger_volume_than_it_was_made_for(tmp_path, truth_shape):
    truth, _ = maps(2, shape=truth_shape)
    _, prediction = maps(2)
    box = Box((1, 0, 0), (4, 33, 41))
    whole = write_prediction(tmp_path / "whole.zarr", prediction[None], BINARY)
    part = write_prediction(tmp_path / "part.zarr", prediction[None, 1:4], BINARY, box=box, volume_shape=SHAPE)
    for name in ("image.tif", "truth.tif"):
        save(tmp_path / name, truth)
    for path in (whole, part):
        for options in (
            {},
            {"options": ScoreOptions(binarize=0.5)},
            {"recipe": recipe_at(tmp_path, VALUES.replace("255: mito", "1: mito"))},
        ):
            with pytest.raises(ScoreError, match=rf"{re.escape(str(truth_shape))}.*\(6, 33, 41\)"):
                evaluate(path, tmp_path / "truth.tif", **options)


def test_values_that_are_no_class_ids_are_told_with_their_slice():
    truth, prediction = maps(2)
    prediction[4, 3, 3] = 7
    with pytest.raises(ScoreError, match=r"slice 4 of 'array'.*prediction holds 7"):
        evaluate(image_of_array(prediction), image_of_array(truth), classes=BINARY)


def test_nothing_that_counts_is_an_error():
    truth, prediction = maps(2)
    with pytest.raises(ScoreError, match="no voxel of 'array' counts"):
        evaluate(image_of_array(prediction), image_of_array(truth), classes=BINARY, mask=image_of_array(truth * 0))


def test_a_recipe_says_what_values_mean_for_truth_and_plain_predictions(tmp_path):
    truth, prediction = maps(2)
    save(tmp_path / "image.tif", truth)
    save(tmp_path / "truth.tif", truth * np.uint8(255))
    recipe = recipe_at(tmp_path, VALUES)
    save(tmp_path / "values.tif", prediction * np.uint8(255))
    save(tmp_path / "ids.tif", prediction)
    zarr = write_prediction(tmp_path / "p.zarr", prediction[None], BINARY)
    for path in (tmp_path / "values.tif", tmp_path / "ids.tif", zarr):
        scores = evaluate(path, tmp_path / "truth.tif", recipe=recipe)
        assert value(scores) == expected(truth, prediction)
        assert scores[0].volume == "cell"
    assert value(evaluate(zarr, "cell", recipe=recipe)) == expected(truth, prediction)


def test_other_truth_is_read_with_the_recipes_mapping(tmp_path):
    truth, prediction = maps(2, seed=9)
    save(tmp_path / "image.tif", truth)
    save(tmp_path / "truth.tif", truth * np.uint8(255))
    save(tmp_path / "another.tif", truth[::-1] * np.uint8(255))
    save(tmp_path / "ids.tif", prediction)
    scores = evaluate(tmp_path / "ids.tif", tmp_path / "another.tif", recipe=recipe_at(tmp_path, VALUES))
    assert value(scores) == expected(truth[::-1], prediction)


def test_values_with_two_possible_meanings_are_refused(tmp_path):
    swapped = VALUES.replace("{0: background, 255: mito}", "{0: mito, 1: background}")
    prediction = maps(2)[1]
    for name in ("image", "truth", "prediction"):
        save(tmp_path / f"{name}.tif", prediction)
    with pytest.raises(ScoreError, match="could be class ids or label values"):
        evaluate(tmp_path / "prediction.tif", tmp_path / "truth.tif", recipe=recipe_at(tmp_path, swapped))


def test_labels_on_some_slices_only(tmp_path):
    truth, prediction = maps(2)
    save(tmp_path / "image.tif", truth)
    save(tmp_path / "truth.tif", truth[[1, 4]] * np.uint8(255))
    recipe = recipe_at(tmp_path, VALUES.replace("values: {0", "slices: [1, 4], values: {0"))
    path = write_prediction(tmp_path / "p.zarr", prediction[None], BINARY)
    scores = evaluate(path, tmp_path / "truth.tif", recipe=recipe)
    assert value(scores) == expected(truth[[1, 4]], prediction[[1, 4]])
    assert next(s.n for s in scores if s.metric == "F1_slice_mean") == 2


def test_unrelated_images_are_paired_by_name(tmp_path):
    data = """\
  classes: {names: [background, mito]}
  volumes:
    - {name: set, kind: images, image: image, labels: {kind: values, path: truth, values: {0: background, 255: mito}}}
"""
    sizes = {"a": (20, 30), "b": (31, 17)}
    pairs = {}
    for folder in ("image", "truth", "prediction"):
        (tmp_path / folder).mkdir()
    for seed, (name, size) in enumerate(sizes.items()):
        truth, prediction = pairs[name] = maps(2, seed, (1, *size))
        for folder, array in (("image", truth), ("truth", truth), ("prediction", prediction)):
            Picture.fromarray(array[0] * np.uint8(255)).save(tmp_path / folder / f"{name}.png")
    recipe = recipe_at(tmp_path, data)
    scores = evaluate(tmp_path / "prediction", tmp_path / "truth", recipe=recipe)
    whole = sum((Confusion.of(*pair, 2) for pair in pairs.values()), Confusion.empty(2))
    assert value(scores, volume="all") == pytest.approx(dice(whole)[1])
    assert value(scores, volume="set/b") == expected(*pairs["b"])
    (tmp_path / "prediction" / "a.png").rename(tmp_path / "prediction" / "a_pred.png")
    (tmp_path / "prediction" / "b.png").rename(tmp_path / "prediction" / "b_pred.png")
    again = evaluate(tmp_path / "prediction", tmp_path / "truth", recipe=recipe)
    assert value(again, volume="set/b") == expected(*pairs["b"])
    (tmp_path / "prediction" / "b_pred.png").unlink()
    with pytest.raises(MissingFileError, match="set/b"):
        evaluate(tmp_path / "prediction", tmp_path / "truth", recipe=recipe)


def test_folders_whose_slices_are_shifted_against_each_other_are_not_scored(tmp_path):
    truth, prediction = maps(2, 0, (4, 20, 30))
    for folder, array, first in (("truth", truth, 0), ("prediction", prediction, 1)):
        (tmp_path / folder).mkdir()
        for z, plane in enumerate(array, first):
            Picture.fromarray(plane).save(tmp_path / folder / f"s{z}.png")
    with pytest.raises(ScoreError, match=r"'s1' is slice 0 .* but slice 1 of the truth"):
        evaluate(tmp_path / "prediction", tmp_path / "truth", classes=Classes(names=("background", "mito")))


@pytest.mark.parametrize(("threshold", "first"), [(0.2, 51), (0.5, 128), (0.0, 1), (1.0, 256)])
def test_a_threshold_is_strict_after_division_in_single_precision(tmp_path, threshold, first):
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    save(tmp_path / "p.tif", grey)
    save(tmp_path / "t.tif", np.full_like(grey, 255))
    scores = evaluate(tmp_path / "p.tif", tmp_path / "t.tif", options=ScoreOptions(binarize=threshold))
    if threshold < 1:
        assert value(scores, "sensitivity", "foreground") == (256 - first) / 256
    else:
        assert value(scores, "specificity", "foreground") == 1
    assert scores[0].threshold == threshold


def test_a_stack_of_zeros_and_ones_is_not_divided(tmp_path):
    truth, prediction = maps(2)
    save(tmp_path / "t.tif", truth)
    save(tmp_path / "p.tif", prediction * np.uint8(255))
    scores = evaluate(tmp_path / "p.tif", tmp_path / "t.tif", options=ScoreOptions(binarize=0.5))
    assert value(scores, class_name="foreground") == expected(truth, prediction)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((1, 4, 4), 256, np.uint16), "0 to 255"),
        (np.full((1, 4, 4), -1, np.int16), "0 to 255"),
        (np.full((1, 4, 4), 1.5, np.float32), "outside 0 to 1"),
        (np.full((1, 4, 4), np.nan, np.float32), "NaN"),
    ],
)
def test_values_that_are_no_scores_are_refused(tmp_path, array, message):
    save(tmp_path / "t.tif", np.ones((1, 4, 4), np.uint8))
    save(tmp_path / "p.tif", array)
    with pytest.raises(ScoreError, match=message):
        evaluate(tmp_path / "p.tif", tmp_path / "t.tif", options=ScoreOptions(binarize=0.5))


def test_a_threshold_applies_to_the_probabilities_of_a_prediction(tmp_path):
    truth, prediction = maps(2)
    grey = np.random.default_rng(1).integers(0, 256, (1, *SHAPE)).astype(np.uint8)
    save(tmp_path / "t.tif", truth * np.uint8(255))
    path = write_prediction(tmp_path / "p.zarr", prediction[None], BINARY, probabilities=grey)
    scores = evaluate(path, tmp_path / "t.tif", options=ScoreOptions(binarize=0.2))
    assert value(scores, class_name="foreground") == expected(truth, grey[0] >= 51)
    plain = write_prediction(tmp_path / "q.zarr", prediction[None], BINARY)
    assert value(
        evaluate(plain, tmp_path / "t.tif", options=ScoreOptions(binarize=0.5)), class_name="foreground"
    ) == expected(truth, prediction)
    with pytest.raises(ScoreError, match="--probabilities"):
        evaluate(plain, tmp_path / "t.tif", options=ScoreOptions(binarize=0.2))


def test_what_values_mean_must_be_said(tmp_path):
    truth, prediction = maps(2)
    save(tmp_path / "grey.tif", truth * np.uint8(255))
    with pytest.raises(ScoreError, match="--recipe"):
        evaluate(tmp_path / "grey.tif", tmp_path / "grey.tif")
    path = write_prediction(tmp_path / "p.zarr", prediction[None], BINARY)
    with pytest.raises(LabelError, match=r"255(.|\n)*--binarize"):
        evaluate(path, tmp_path / "grey.tif")
    with pytest.raises(ScoreError, match="give --objects alone"):
        evaluate(path, tmp_path / "grey.tif", recipe=recipe_at(tmp_path, VALUES), options=ScoreOptions(objects=True))
    with pytest.raises(MissingFileError):
        evaluate(tmp_path / "none.zarr", tmp_path / "grey.tif")


def test_predictions_that_do_not_fit_are_refused(tmp_path):
    truth, prediction = maps(2)
    save(tmp_path / "truth.tif", truth)
    running = write_prediction(tmp_path / "running.zarr", prediction[None], BINARY, status="running")
    with pytest.raises(RunError, match="not finished"):
        evaluate(running, tmp_path / "truth.tif")
    other = write_prediction(tmp_path / "other.zarr", prediction[None], THREE)
    with pytest.raises(ScoreError, match=r"granule.*mito"):
        evaluate(other, tmp_path / "truth.tif", classes=BINARY)
    with pytest.raises(ScoreError, match="a threshold is for one class"):
        evaluate(other, tmp_path / "truth.tif", options=ScoreOptions(binarize=0.5))


def test_a_prediction_as_truth_is_refused_with_the_paths_of_its_labels(tmp_path):
    truth, prediction = maps(2)
    reference = write_prediction(tmp_path / "t.zarr", truth[None], BINARY)
    path = write_prediction(tmp_path / "p.zarr", prediction[None], BINARY)
    for options in ({}, {"options": ScoreOptions(binarize=0.5)}, {"recipe": recipe_at(tmp_path, VALUES)}):
        with pytest.raises(ScoreError, match=r"t\.zarr: is a prediction.*t\.zarr:/labels/segmentation"):
            evaluate(path, reference, **options)
    with pytest.raises(ScoreError, match="is a prediction"):
        evaluate(path, reference)
    assert value(evaluate(path, f"{reference}:/labels/segmentation")) == expected(truth, prediction)
    masks = write_prediction(tmp_path / "m.zarr", np.stack([truth, truth]), MASKS)
    with pytest.raises(ScoreError, match=r"m\.zarr:/labels/membrane or .*m\.zarr:/labels/mito"):
        evaluate(path, masks)


def test_scores_are_written_once(tmp_path):
    truth, prediction = maps(2)
    arguments = {"classes": BINARY, "out": tmp_path / "s.csv"}
    scores = evaluate(image_of_array(prediction), image_of_array(truth), **arguments)
    written = read_scores(tmp_path / "s.csv")
    assert repr(written) == repr(scores)
    assert len(json.loads((tmp_path / "s.json").read_text())) == len(written)
    slices = list(csv.DictReader((tmp_path / "s.slices.csv").open()))
    assert [int(row["slice"]) for row in slices] == list(range(SHAPE[0]))
    assert float(slices[4]["F1"]) == expected(truth[4], prediction[4])
    assert int(slices[4]["TP"]) == (truth[4] & prediction[4]).sum()
    assert not (tmp_path / "s.curves.csv").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.csv", "s.json", "s.slices.csv"]
    before = (tmp_path / "s.csv").read_bytes()
    with pytest.raises(OutputExistsError):
        evaluate(image_of_array(truth), image_of_array(truth), **arguments)
    assert (tmp_path / "s.csv").read_bytes() == before


def test_one_sub_folder_for_each_method(tmp_path):
    truth, prediction = maps(2)
    for name, array in (("Truth", truth), ("A", prediction), ("B", truth)):
        (tmp_path / name).mkdir()
        for z, plane in enumerate(array):
            Picture.fromarray(plane * np.uint8(255)).save(tmp_path / name / f"{name}{z:04d}.png")
    scores = evaluate(
        predictions_in(Path(tmp_path), tmp_path / "Truth"),
        tmp_path / "Truth",
        out=tmp_path / "s.csv",
        options=ScoreOptions(binarize=0.5),
    )
    assert list(dict.fromkeys(score.run for score in scores)) == ["A", "B"]
    assert value([s for s in scores if s.run == "A"], class_name="foreground") == expected(truth, prediction)
    assert value([s for s in scores if s.run == "B"], class_name="foreground") == 1
    written = read_scores(tmp_path / "s.csv")
    assert repr(written) == repr(scores)
    for kind in ("slices", "curves"):
        assert {row["run"] for row in csv.DictReader((tmp_path / f"s.{kind}.csv").open())} == {"A", "B"}
    with pytest.raises(ScoreError, match="no sub-folder"):
        evaluate(
            predictions_in(Path(tmp_path / "A"), tmp_path / "Truth"),
            tmp_path / "Truth",
            options=ScoreOptions(binarize=0.5),
        )


@pytest.mark.parametrize("pattern", ["Truth", "Truth/*.png", "Truth/../Truth/?ruth*.png"])
def test_the_folder_of_the_truth_is_no_method(tmp_path, monkeypatch, pattern):
    truth, prediction = maps(2)
    for name, array in (("Truth", truth), ("A", prediction)):
        (tmp_path / name).mkdir()
        for z, plane in enumerate(array):
            Picture.fromarray(plane * np.uint8(255)).save(tmp_path / name / f"{name}{z:04d}.png")
    monkeypatch.chdir(tmp_path)
    assert {
        score.run for score in evaluate(predictions_in(Path(), pattern), pattern, options=ScoreOptions(binarize=0.5))
    } == {"A"}


def test_a_method_may_be_one_stack_in_a_folder(tmp_path):
    truth, prediction = maps(2)
    for name in ("Truth", "A", "B"):
        (tmp_path / name).mkdir()
    save(tmp_path / "Truth" / "truth.tif", truth)
    save(tmp_path / "A" / "a.tif", prediction * np.uint8(255))
    (tmp_path / "A" / ".hidden").write_text("x")
    write_prediction(tmp_path / "B" / "b.zarr", prediction[None], BINARY)
    write_prediction(tmp_path / "C.zarr", prediction[None], BINARY)
    scores = evaluate(
        predictions_in(Path(tmp_path), tmp_path / "Truth" / "truth.tif"),
        tmp_path / "Truth" / "truth.tif",
        options=ScoreOptions(binarize=0.5),
    )
    assert list(dict.fromkeys(score.run for score in scores)) == ["A", "B", "C"]
    assert value([score for score in scores if score.run == "A"], class_name="foreground") == expected(
        truth, prediction
    )
    for run in ("B", "C"):
        own = [score for score in scores if score.run == run]
        assert value(own, class_name="foreground") == expected(truth, prediction)


COLUMNS = ("F1", "V_rand", "V_info", "accuracy", "sensitivity", "specificity", "PPV", "NPV", "Jaccard")
NOTEBOOK = {
    "EM-net V1 4x": (0.97289, 0.93384, 0.95655, 0.98035, 0.96465, 0.98940, 0.98128, 0.97983, 0.94722),
    "EM-net V1 BN": (0.97468, 0.95974, 0.96392, 0.98153, 0.97254, 0.98671, 0.97683, 0.98422, 0.95061),
    "EM-net V2 2x": (0.97219, 0.97179, 0.96931, 0.97985, 0.96393, 0.98901, 0.98060, 0.97942, 0.94589),
    "CDeep3M": (0.96607, 0.96485, 0.96845, 0.97450, 0.99303, 0.96383, 0.94054, 0.99585, 0.93437),
    "ResNet": (0.96320, 0.96219, 0.96586, 0.97286, 0.97174, 0.97350, 0.95481, 0.98355, 0.92901),
    "U-net": (0.96651, 0.96448, 0.95326, 0.97580, 0.95542, 0.98754, 0.97786, 0.97465, 0.93519),
    "VGG": (0.96454, 0.96459, 0.96355, 0.97449, 0.94938, 0.98895, 0.98020, 0.97136, 0.93151),
}
"""All that the authors' notebook gives for their own files."""
THRESHOLDS = {
    "EM-net V1 4x": (0.0, 0.0),
    "EM-net V1 BN": (0.4, 0.8),
    "EM-net V2 2x": (0.3, 0.3),
    "CDeep3M": (0.5, 0.8),
    "ResNet": (0.7, 0.6),
    "U-net": (0.7, 0.7),
    "VGG": (0.2, 0.2),
}


FURTHER = (
    ("mIoU", "AUC-ROC", "AP", "F1_slice_mean", "volume_fraction", "components_TP", "components_FN", "components_UD",
     "V_rand_split", "V_rand_merge", "V_info_split", "V_info_merge"),
    ("EM-net V1 4x", 0.95844, 0.98118, 0.96677, 0.97122, 0.35933, 41, 3, 5, 0.89671, 0.99558, 0.93092, 0.99032),
    ("EM-net V1 BN", 0.96098, 0.99604, 0.99334, 0.97234, 0.36392, 40, 3, 6, 0.97007, 0.95278, 0.93554, 0.99601),
    ("EM-net V2 2x", 0.95739, 0.99724, 0.99560, 0.97057, 0.35931, 41, 3, 5, 0.96678, 0.97700, 0.96560, 0.97309),
    ("CDeep3M", 0.94717, 0.99844, 0.99666, 0.96352, 0.38593, 43, 3, 3, 0.99994, 0.93693, 0.97796, 0.95968),
    ("ResNet", 0.94346, 0.99617, 0.99352, 0.95691, 0.37201, 40, 3, 6, 0.97671, 0.94953, 0.97348, 0.95899),
    ("U-net", 0.94900, 0.99381, 0.99144, 0.96377, 0.35714, 37, 6, 6, 0.93484, 0.99646, 0.92221, 0.98657),
    ("VGG", 0.94622, 0.99611, 0.99374, 0.96215, 0.35404, 41, 3, 5, 0.96483, 0.96859, 0.96199, 0.96833),
)  # fmt: skip
"""Further values on the same files, recomputed independently; the first row names them."""
AT_ONE_HALF = (
    ("V_rand_fixed", "V_info_fixed", "V_rand_raw", "V_info_raw", "adapted_rand_error", "VI_split", "VI_merge"),
    ("EM-net V1 4x", 0.92825, 0.94977, 0.89782, 0.86418, 0.10347, 0.22744, 0.16176),
    ("EM-net V1 BN", 0.95828, 0.96103, 0.93945, 0.88802, 0.06158, 0.16924, 0.18191),
    ("EM-net V2 2x", 0.92385, 0.94774, 0.89421, 0.85975, 0.10722, 0.23787, 0.16410),
    ("CDeep3M", 0.96485, 0.96426, 0.95994, 0.94371, 0.04015, 0.23406, 0.17621),
    ("ResNet", 0.92828, 0.93792, 0.91119, 0.86513, 0.08986, 0.24496, 0.22929),
    ("U-net", 0.95114, 0.95256, 0.92958, 0.85279, 0.07399, 0.17113, 0.22838),
    ("VGG", 0.90339, 0.93210, 0.85849, 0.81952, 0.14308, 0.27349, 0.20214),
)


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("CRISTAE_DATA"), reason="CRISTAE_DATA is not set")
def test_the_published_scores_of_seven_methods(tmp_path):
    root = Path(os.environ["CRISTAE_DATA"]) / "em-stellar-cardiac"
    if not root.is_dir():
        pytest.skip("CRISTAE_DATA has no em-stellar-cardiac")
    options = ScoreOptions(complement=True)
    scores = evaluate(
        predictions_in(Path(root), root / "Groundtruth"),
        root / "Groundtruth",
        out=tmp_path / "s.csv",
        options=replace(options, binarize=0.5),
    )
    found = {(s.run, s.class_name, s.metric): s for s in scores}
    assert len(found) == len(scores)
    for run, row in NOTEBOOK.items():
        for metric, expected in zip(COLUMNS, row, strict=True):
            assert found[run, "foreground", metric].value == pytest.approx(expected, abs=6e-6), (run, metric)
        best = THRESHOLDS[run]
        assert found[run, "foreground", "V_rand"].threshold == pytest.approx(best[0])
        assert found[run, "foreground", "V_info"].threshold == pytest.approx(best[1])
    assert found["CDeep3M", "background", "F1"].value == pytest.approx(0.9795, abs=1e-4)
    for table in (FURTHER, AT_ONE_HALF):
        metrics, *rows = table
        for run, *values in rows:
            for metric, expected in zip(metrics, values, strict=True):
                value = found[run, "all" if metric == "mIoU" else "foreground", metric].value
                assert value == pytest.approx(expected, abs=6e-6), (run, metric)
