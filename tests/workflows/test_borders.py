"""Scores of the regions that a border separates: by hand, against the inverted maps, and where it is not stated."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_files import write_prediction

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.open import open_data
from cristae.errors import CristaeError, ScoreError
from cristae.evaluation.scoring.settings import ScoreOptions, parse_borders
from cristae.metrics.components import label_components
from cristae.metrics.contingency import Contingency
from cristae.metrics.detection import detection
from cristae.recipe.load import load_recipe, parse_recipe
from cristae.workflows.evaluate import evaluate

MEMBRANE = Classes(names=("background", "membrane"))
SIZE = (50.0, 4.0, 4.0)
OF_OBJECTS = ("partition", "detection", "instances")


def image(array, size=SIZE):
    return image_of_array(array, voxel_size_nm=size)


def maps_at(threshold, **options):
    """Truth and prediction are probability maps of a class called foreground."""
    return ScoreOptions(binarize=threshold, scores=("partition",), **options)


def rows_of(scores, class_name):
    """Everything but the words, by metric and threshold."""
    found = {
        (s.volume, s.metric, s.threshold): (s.value, s.n, s.low, s.high) for s in scores if s.class_name == class_name
    }
    assert len(found) == len(scores)
    return found


def assert_equal_rows(first, second):
    assert first.keys() == second.keys()
    for key, values in first.items():
        np.testing.assert_equal(values, second[key], err_msg=str(key))


def crossed():
    """Four cells of 2 x 2 between a membrane one pixel wide, uint8 (1, 5, 5) of 0 and 1."""
    truth = np.zeros((1, 5, 5), np.uint8)
    truth[:, 2], truth[:, :, 2] = 1, 1
    return truth


def test_four_cells_of_which_two_are_merged_by_hand():
    truth, found = crossed(), crossed()
    found[0, 2, 0] = 0  # one pixel of membrane is missed: the left cells are one of 9 pixels
    scores = evaluate(
        image(found), image(truth), classes=MEMBRANE, options=ScoreOptions(scores=OF_OBJECTS, borders=("membrane",))
    )
    rows = {row.metric: row for row in scores}
    # Of 16 pixels of cells, 8 lie in the merged one and 4 in each of the others.
    joint, predicted = 4 * (4 / 16) ** 2, (8 / 16) ** 2 + 2 * (4 / 16) ** 2
    assert rows["V_rand_raw"].value == pytest.approx(joint / ((joint + predicted) / 2))
    assert rows["V_rand_raw_split"].value == pytest.approx(1)
    assert rows["V_rand_raw_merge"].value == pytest.approx(joint / predicted)
    assert [rows[f"components_{kind}"].value for kind in ("TP", "FN", "UD")] == [4, 0, 0]
    # The cells on the right are found; the merged one has IoU 4 / 9 with each of the others.
    assert rows["instance_AP50"].value == pytest.approx(2 / (2 + 1 + 2))
    assert rows["PQ"].value == pytest.approx(2 / (2 + 1 / 2 + 2 / 2))
    what = "border=membrane; objects are the components of all other voxels"
    assert rows["V_rand_raw"].rule.startswith(f"{what}; raw: predicted components as they are; 2D, 4 neighbours")
    assert rows["components_TP"].rule.startswith(f"{what} with 4 neighbours, slice by slice; TP")


def test_a_diagonal_membrane_separates():
    truth = np.eye(6, dtype=np.uint8)[None]
    options = ScoreOptions(scores=OF_OBJECTS, borders=("membrane",))
    rows = {row.metric: row.value for row in evaluate(image(truth), image(truth), classes=MEMBRANE, options=options)}
    assert rows["components_TP"] == 2
    thick = np.broadcast_to(truth, (4, 6, 6)).copy()
    found = evaluate(image(thick), image(thick), classes=MEMBRANE, options=options)
    by_metric = {row.metric: row for row in found}
    assert (by_metric["PQ_3d"].value, by_metric["PQ_3d"].n) == (1, 2)
    assert "with 6 neighbours over the volume" in by_metric["PQ_3d"].rule
    assert "with 6 neighbours over the volume" in by_metric["VI_3d"].rule


def test_without_a_border_a_class_is_its_own_object():
    truth = crossed()
    options = ScoreOptions(scores=OF_OBJECTS, borders=())
    found = evaluate(image(truth), image(truth), classes=MEMBRANE, options=options)
    rows = {row.metric: row for row in found}
    assert rows["components_TP"].value == 1
    assert rows["components_TP"].rule.startswith("positive=membrane; components with 8 neighbours, slice by slice")
    assert rows["V_rand"].rule.startswith("positive=membrane; thin: predicted borders thinned")
    named = evaluate(image(truth), image(truth), classes=Classes(names=("background", "mito")), options=options)
    np.testing.assert_equal({row.metric: row.value for row in found}, {row.metric: row.value for row in named})


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(1, 9, 8), (3, 7, 6), (2, 5, 11)]),
    dtype=st.sampled_from(["uint8", "float32", "float64"]),
    threshold=st.sampled_from([0.5, 0.3, 0.8]),
    masked=st.booleans(),
    levels=st.sampled_from([3, 17, 256]),
)
def test_scores_of_a_border_are_those_of_the_inverted_maps(seed, shape, dtype, threshold, masked, levels):
    rng = np.random.default_rng(seed)
    found = rng.integers(0, levels, shape) * (255 // (levels - 1))
    truth = rng.choice([0, 255], shape, p=[0.6, 0.4])
    if dtype == "uint8":
        found, truth = found.astype(np.uint8), truth.astype(np.uint8)
        inverse, true_inverse = 255 - found, 255 - truth
    else:
        found, truth = (found / 255).astype(dtype), (truth / 255).astype(dtype)
        inverse, true_inverse = 1 - found, 1 - truth
    mask = image((rng.random(shape) < 0.8).astype(np.uint8)) if masked else None
    border = evaluate(image(found), image(truth), mask=mask, options=maps_at(threshold, borders=("foreground",)))
    inside = evaluate(image(inverse), image(true_inverse), mask=mask, options=maps_at(threshold))
    assert_equal_rows(rows_of(border, "foreground"), rows_of(inside, "foreground"))
    assert {row.metric.endswith("_3d") for row in border} == {False} | {shape[0] > 1}
    words = "border=foreground; objects are the components of all other voxels"
    assert all(row.rule.startswith(words) and "1 - p" in row.rule for row in border)


def test_curves_intervals_and_slices_are_those_of_the_inverted_maps(tmp_path):
    rng = np.random.default_rng(3)
    truth, found = rng.choice(np.array([0, 255], np.uint8), (24, 16, 14), p=[0.7, 0.3]), None
    found = np.clip(truth * 0.3 + rng.integers(0, 180, truth.shape), 0, 255).astype(np.uint8)
    folders = {"border": (found, truth, ("foreground",)), "inside": (255 - found, 255 - truth, None)}
    scores = {}
    for name, (predicted, true, borders) in folders.items():
        options = maps_at(0.5, borders=borders, unit="slice")
        (tmp_path / name).mkdir()
        scores[name] = evaluate(image(predicted), image(true), out=tmp_path / name / "s.csv", options=options)
    assert_equal_rows(rows_of(scores["border"], "foreground"), rows_of(scores["inside"], "foreground"))
    assert any(row.low is not None for row in scores["border"])
    for table, columns in (
        ("curves", ("metric", "threshold", "value", "n")),
        ("slices", ("slice", "V_rand", "V_info_raw", "VI")),
    ):
        border, inside = (
            [[row[column] for column in columns] for row in csv.DictReader((tmp_path / name / f"s.{table}.csv").open())]
            for name in folders
        )
        assert border == inside
        assert len(border) == {"curves": 22, "slices": 24}[table]


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_detection_is_of_the_regions_where_one_minus_p_is_above_the_threshold(threshold):
    rng = np.random.default_rng(5)
    truth, found = (rng.integers(0, 256, (1, 20, 18)).astype(np.uint8) for _ in range(2))
    options = ScoreOptions(binarize=threshold, scores=("detection",), borders=("foreground",))
    rows = {row.metric: row.value for row in evaluate(image(found), image(truth), options=options)}
    inside = [(255 - one[0]) / 255 > threshold for one in (truth, found)]
    expected = detection(Contingency.of(*(label_components(one.astype(np.uint8), 4)[0] for one in inside)))
    assert [rows[f"components_{kind}"] for kind in ("TP", "FN", "UD")] == [expected.tp, expected.fn, expected.ud]


def test_only_the_border_of_several_classes_is_inverted():
    rng = np.random.default_rng(7)
    classes = Classes(names=("background", "membrane", "mito"), borders=("membrane",))
    truth, found = (rng.integers(0, 3, (1, 12, 12)).astype(np.uint8) for _ in range(2))
    scores = evaluate(
        image(found), image(truth), classes=classes, options=ScoreOptions(scores=("detection", "partition"))
    )
    rows = {(row.class_name, row.metric): row.value for row in scores}
    for name, true, predicted, kind in (("membrane", truth != 1, found != 1, 4), ("mito", truth == 2, found == 2, 8)):
        pair = (label_components(one[0].astype(np.uint8), kind)[0] for one in (true, predicted))
        assert rows[name, "components_TP"] == detection(Contingency.of(*pair)).tp
    alone = evaluate(
        image((found != 1).astype(np.uint8)), image((truth != 1).astype(np.uint8)),
        classes=Classes(names=("border", "cell")), options=ScoreOptions(scores=("partition",)),
    )  # fmt: skip
    for row in alone:
        np.testing.assert_equal(rows["membrane", row.metric], row.value)


def test_overlap_and_centre_lines_stay_those_of_the_border():
    rng = np.random.default_rng(8)
    truth, found = (rng.integers(0, 2, (2, 10, 10)).astype(np.uint8) for _ in range(2))
    tables = [
        {
            (row.class_name, row.metric): (row.value, row.rule)
            for row in evaluate(
                image(found), image(truth), classes=MEMBRANE,
                options=ScoreOptions(scores=("overlap", "surfaces", "centrelines", "partition"), borders=borders),
            )
            if not row.metric.startswith(("V", "adapted"))
        }
        for borders in ((), ("membrane",))
    ]  # fmt: skip
    np.testing.assert_equal(*tables)
    assert ("membrane", "clDice") in tables[0]
    assert ("membrane", "HD") in tables[0]


@pytest.mark.parametrize("name", ["membrane", "Membranes", "BOUNDARY", "boundaries", "border", "Borders"])
def test_a_lone_class_called_like_a_border_has_to_be_stated(name):
    classes, truth = Classes(names=("background", name)), image(crossed())
    with pytest.raises(ScoreError, match=f"give --border {name} for the regions .* or --border none"):
        evaluate(truth, truth, classes=classes)
    stated = [classes.model_copy(update={"borders": borders}) for borders in ((), (name,))]
    values = [
        next(row.value for row in evaluate(truth, truth, classes=one) if row.metric == "components_TP")
        for one in stated
    ]
    assert values == [1, 4]


def test_where_nothing_is_asked():
    truth = image(crossed())
    evaluate(truth, truth, classes=MEMBRANE, options=ScoreOptions(scores=("overlap", "detection")))
    evaluate(truth, truth, classes=Classes(names=("background", "membrane", "mito")))
    evaluate(truth, truth, classes=Classes(names=("background", "basement membrane")))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (ScoreOptions(borders=("mito",)), "--border: there is no class 'mito'; the classes are membrane"),
        (ScoreOptions(borders=("membrane",), scores=("overlap",)), "--border has no effect on overlap"),
        (ScoreOptions(objects=True, borders=("objects",)), r"no borders \(--border\)"),
    ],
)
def test_borders_that_cannot_be(options, words):
    truth = image(crossed())
    with pytest.raises(ScoreError, match=words):
        evaluate(truth, truth, classes=None if options.objects else MEMBRANE, options=options)


def test_a_background_is_not_scored_where_there_is_none():
    classes, truth = Classes(names=("inside", "membrane"), background=False), image(crossed())
    with pytest.raises(ScoreError, match="leave --complement out"):
        evaluate(truth, truth, classes=classes, options=ScoreOptions(complement=True))


def test_borders_of_the_command_line():
    assert [parse_borders(names) for names in ([], ["none"], ["a", "b"])] == [None, (), ("a", "b")]
    for names in (["none", "a"], ["a", "a"]):
        with pytest.raises(ScoreError, match="once, or `none` alone"):
            parse_borders(names)


def test_thresholds_of_other_objects_are_refused(tmp_path):
    rng = np.random.default_rng(9)
    truth, found = (image(rng.integers(0, 256, (1, 12, 12)).astype(np.uint8)) for _ in range(2))
    evaluate(found, truth, out=tmp_path / "inside.csv", options=maps_at(0.5))
    evaluate(found, truth, out=tmp_path / "border.csv", options=maps_at(0.5, borders=("foreground",)))
    for name, borders, words in (("inside", ("foreground",), "no border there"), ("border", None, "a border there")):
        options = maps_at(0.5, borders=borders, thresholds_from=tmp_path / f"{name}.csv")
        with pytest.raises(ScoreError, match=words):
            evaluate(found, truth, options=options)
    options = maps_at(0.5, borders=("foreground",), thresholds_from=tmp_path / "border.csv")
    assert any(row.metric == "V_rand_validated" for row in evaluate(found, truth, options=options))


def test_a_prediction_with_probabilities_takes_the_borders_of_its_classes(tmp_path):
    rng = np.random.default_rng(10)
    classes = MEMBRANE.model_copy(update={"borders": ("membrane",)})
    p, truth = rng.integers(0, 256, (2, 12, 12)).astype(np.uint8), rng.integers(0, 2, (2, 12, 12)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "truth.tif", truth)
    labels = (p > 127).astype(np.uint8)
    scores = {}
    for name, known, probabilities, predicted in (
        ("border", classes, p, labels),
        ("inside", Classes(names=("background", "cell")), 255 - p, 1 - labels),
    ):
        folder = write_prediction(tmp_path / f"{name}.zarr", predicted[None], known, probabilities=probabilities[None])
        true = truth if name == "border" else 1 - truth
        options = ScoreOptions(scores=("partition",))
        scores[name] = evaluate(folder, image(true, (50.0, 10.0, 10.0)), options=options)
    assert_equal_rows(rows_of(scores["border"], "membrane"), rows_of(scores["inside"], "cell"))
    assert any(row.threshold not in (None, 0.5) for row in scores["border"])


def isbi(folder: Path):
    """Truth of the validation slices, 255 where there is no membrane, and a probability map of membrane."""
    recipe = load_recipe(Path(__file__).parents[2] / "recipes" / "isbi2012-unet.yaml")
    try:
        (volume,) = open_data(recipe.data, recipe.folder).volumes
    except CristaeError as error:
        pytest.skip(str(error))
    box = Box((15, 0, 0), (20, 512, 512))
    grey, membrane = volume.image.read(box), volume.labels[0].read(box)
    # Dark, and near the truth: what a network gives that is neither perfect nor hopeless.
    p = np.clip(0.9 * (255 - grey.astype(np.float32)) + 40 * membrane - 20, 0, 255).astype(np.uint8)
    for name, array in (
        ("truth", np.where(membrane, 0, 255).astype(np.uint8)), ("membrane", p), ("inside", 255 - p),
    ):  # fmt: skip
        tifffile.imwrite(folder / f"{name}.tif", array)
    return recipe


def test_isbi2012_is_scored_by_the_cells_between_membranes(tmp_path):
    recipe = isbi(tmp_path)
    text = (
        "name: r\ndata:\n  classes: {names: [background, intracellular]}\n  volumes:\n    - name: stack\n"
        "      image: truth.tif\n      labels:\n        kind: values\n        path: truth.tif\n"
        "        values: {0: background, 255: intracellular}\nmodel: {name: unet_bn}\n"
    )
    (tmp_path / "recipe.yaml").write_text(text)
    inverse = parse_recipe(text, "recipe.yaml").read_from(tmp_path / "recipe.yaml")
    options = ScoreOptions(binarize=0.5, scores=("partition",))
    border = evaluate(tmp_path / "membrane.tif", tmp_path / "truth.tif", recipe=recipe, options=options)
    inside = evaluate(tmp_path / "inside.tif", tmp_path / "truth.tif", recipe=inverse, options=options)
    rows, expected = (
        {(metric, threshold): values for (_, metric, threshold), values in rows_of(scores, name).items()}
        for scores, name in ((border, "membrane"), (inside, "intracellular"))
    )
    assert_equal_rows(rows, expected)
    best = {metric: value for (metric, _), (value, *_) in rows.items()}
    assert 0.3 < best["V_rand"] < 1
    assert best["V_rand"] >= best["V_rand_fixed"]
    own = evaluate(
        tmp_path / "membrane.tif", tmp_path / "truth.tif", recipe=recipe, options=replace(options, borders=())
    )
    assert {row.metric: row.value for row in own}["V_rand"] != best["V_rand"]
