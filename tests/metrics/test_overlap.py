"""Overlap scores: worked examples, scikit-learn as reference, and undefined cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from cristae.metrics.confusion import Confusion
from cristae.metrics.overlap import (
    accuracy,
    dice,
    iou,
    mean_defined,
    mean_iou,
    npv,
    overall_accuracy,
    precision,
    recall,
    specificity,
)
from cristae.metrics.table import METRICS, metric_named

ALL_SEVEN = (dice, iou, accuracy, recall, specificity, precision, npv)


def test_worked_example_of_ten_pixels_with_either_class_positive():
    counts = Confusion.of([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 1, 0, 0, 0, 0, 0], 2)
    background, foreground = np.array([function(counts) for function in ALL_SEVEN]).T
    np.testing.assert_allclose(foreground, [3 / 4, 3 / 5, 4 / 5, 3 / 4, 5 / 6, 3 / 4, 5 / 6])
    np.testing.assert_allclose(background, [5 / 6, 5 / 7, 4 / 5, 5 / 6, 3 / 4, 5 / 6, 3 / 4])
    assert mean_iou(counts).value == pytest.approx((3 / 5 + 5 / 7) / 2)


def test_worked_example_of_four_classes():
    counts = Confusion.of([0, 0, 0, 0, 1, 1, 1, 2, 2, 3], [0, 0, 0, 1, 1, 1, 2, 2, 3, 3], 5)
    np.testing.assert_allclose(iou(counts), [0.75, 0.5, 1 / 3, 0.5, np.nan])
    assert mean_iou(counts, [0, 1, 2, 3]).value == pytest.approx(0.5208333)
    assert mean_iou(counts, [2, 3]).value == pytest.approx(0.4166667)
    absent = mean_iou(counts, [2, 3, 4])
    assert (absent.value, absent.n) == (pytest.approx(0.4166667), 2)
    assert overall_accuracy(counts) == pytest.approx(0.7)


def test_a_class_that_is_only_predicted_counts_as_zero():
    mean = mean_iou(Confusion.of([0, 0, 0, 0], [0, 0, 0, 2], 3))
    assert (mean.value, mean.n) == (pytest.approx(0.75 / 2), 2)


def test_scores_equal_those_of_scikit_learn():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 5, 4000)
    prediction = np.where(rng.random(4000) < 0.6, truth, rng.integers(0, 5, 4000))
    counts = Confusion.of(truth, prediction, 5)
    arguments = {"labels": np.arange(5), "average": None}
    np.testing.assert_allclose(iou(counts), reference.jaccard_score(truth, prediction, **arguments))
    np.testing.assert_allclose(dice(counts), reference.f1_score(truth, prediction, **arguments))
    np.testing.assert_allclose(precision(counts), reference.precision_score(truth, prediction, **arguments))
    np.testing.assert_allclose(recall(counts), reference.recall_score(truth, prediction, **arguments))
    assert overall_accuracy(counts) == pytest.approx(reference.accuracy_score(truth, prediction))
    for c in range(5):
        rest = {"y_true": truth != c, "y_pred": prediction != c}
        assert specificity(counts)[c] == pytest.approx(reference.recall_score(**rest))
        assert npv(counts)[c] == pytest.approx(reference.precision_score(**rest))
        assert accuracy(counts)[c] == pytest.approx(reference.accuracy_score(**rest))


NAN = float("nan")


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [  # dice, iou, accuracy, recall, specificity, precision, npv of the foreground
        ([0, 0], [0, 0], [NAN, NAN, 1, NAN, 1, NAN, 1]),
        ([0, 0], [0, 1], [0, 0, 0.5, NAN, 0.5, 0, 1]),
        ([0, 1], [0, 0], [0, 0, 0.5, 0, 1, NAN, 0.5]),
        ([1, 1], [1, 0], [2 / 3, 0.5, 0.5, 0.5, NAN, 1, 0]),
        ([], [], [NAN] * 7),
    ],
)
def test_a_ratio_without_denominator_is_undefined(truth, prediction, expected):
    counts = Confusion.of(np.array(truth, np.uint8), np.array(prediction, np.uint8), 2)
    np.testing.assert_allclose([function(counts)[1] for function in ALL_SEVEN], expected)


def test_the_mean_leaves_out_undefined_values_and_says_how_many_are_left():
    counts = [Confusion(np.array([[0, fp], [fn, tp]])) for tp, fp, fn in ((8, 2, 2), (1, 1, 3), (0, 0, 0))]
    mean = mean_defined([dice(part)[1] for part in counts])
    assert (mean.value, mean.n) == (pytest.approx(0.5666667), 2)
    assert dice(counts[0] + counts[1] + counts[2])[1] == pytest.approx(18 / 26)
    assert np.isnan(mean_defined([NAN, NAN]).value)
    assert mean_defined([]).n == 0


@given(*[st.integers(0, 50)] * 4)
def test_exchanging_the_positive_class_exchanges_the_scores(tn, fp, fn, tp):
    counts = Confusion(np.array([[tn, fp], [fn, tp]]))
    flipped = Confusion(counts.counts[::-1, ::-1])
    for one, other in ((precision, npv), (recall, specificity), (accuracy, accuracy)):
        assert one(counts)[1] == pytest.approx(other(counts)[0], nan_ok=True)
        np.testing.assert_allclose(one(flipped), one(counts)[::-1])
    j, f = iou(counts)[1], dice(counts)[1]
    assert f == pytest.approx(2 * j / (1 + j), nan_ok=True)


def test_the_table_names_every_metric_once():
    assert len({metric.name for metric in METRICS}) == len(METRICS) == 7
    assert metric_named("F1").function is dice
    assert {metric.better for metric in METRICS} == {"higher"}
