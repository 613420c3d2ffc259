"""Rows of scores: pooled, averaged over slices and classes, and what their rules say."""

import math

import numpy as np
import pytest

from cristae.data.classes import Classes
from cristae.metrics.confusion import Confusion
from cristae.metrics.tally import Tally, scores_of, volume_fractions

BINARY = Classes(names=("background", "mito"))
THREE = Classes(names=("background", "cell", "granule"))
MASKS = Classes(names=("membrane", "mito"), exclusive=False)


def tally_of(classes, truth, prediction, valid=None, volume="v"):
    """Count arrays (K, Z, Y, X) slice by slice."""
    tally = Tally(volume, classes)
    for z in range(truth.shape[1]):
        tally.count(z, list(truth[:, z]), list(prediction[:, z]), None if valid is None else valid[z])
    return tally


def find(scores, metric, class_name, rule="", volume="v"):
    found = [s for s in scores if (s.metric, s.class_name, s.volume) == (metric, class_name, volume) and rule in s.rule]
    assert len(found) == 1, found
    return found[0]


def three_slices():
    """(TP, FP, FN) = (8, 2, 2), (1, 1, 3), (0, 0, 0) for class 1, in slices of 20 pixels."""
    truth, prediction = np.zeros((1, 3, 4, 5), np.uint8), np.zeros((1, 3, 4, 5), np.uint8)
    for z, (tp, fp, fn) in enumerate([(8, 2, 2), (1, 1, 3), (0, 0, 0)]):
        truth[0, z].flat[: tp + fn] = 1
        prediction[0, z].flat[fn : fn + tp + fp] = 1
    return truth, prediction


def test_pooled_and_slice_mean_of_the_worked_example():
    scores = scores_of([tally_of(BINARY, *three_slices())], run="r", threshold=0.5)
    pooled, mean = find(scores, "F1", "mito"), find(scores, "F1_slice_mean", "mito")
    assert (pooled.value, pooled.n, pooled.run, pooled.threshold) == (pytest.approx(18 / 26), 60, "r", 0.5)
    assert (mean.value, mean.n) == (pytest.approx(0.5666667), 2)
    assert pooled.rule == "positive=mito; pooled; n=voxels"


def test_slices_without_voxels_that_count_are_left_out():
    valid = np.ones((3, 4, 5), np.uint8)
    valid[0] = 0
    tally = tally_of(BINARY, *three_slices(), valid=valid)
    scores = scores_of([tally])
    assert find(scores, "accuracy_slice_mean", "mito").n == 2
    assert find(scores, "F1", "mito").value == pytest.approx(2 / 6)


def test_mean_iou_says_how_many_classes_it_averages():
    truth = np.array([0, 0, 0, 1], np.uint8).reshape(1, 1, 2, 2)
    scores = scores_of([tally_of(THREE, truth, truth)])
    assert (find(scores, "mIoU", "all").value, find(scores, "mIoU", "all").n) == (1, 2)
    assert (find(scores, "mIoU", "foreground").value, find(scores, "mIoU", "foreground").n) == (1, 1)
    assert find(scores, "overall_accuracy", "all").value == 1
    assert math.isnan(find(scores, "Jaccard", "granule").value)


def test_overlapping_classes_are_counted_one_by_one():
    truth = np.array([[[[1, 1, 0, 0]]], [[[1, 0, 0, 0]]]], np.uint8)
    prediction = np.array([[[[1, 0, 0, 0]]], [[[1, 1, 0, 0]]]], np.uint8)
    scores = scores_of([tally_of(MASKS, truth, prediction)])
    assert find(scores, "PPV", "membrane").value == 1
    assert find(scores, "sensitivity", "membrane").value == 0.5
    assert find(scores, "PPV", "mito").value == 0.5
    assert find(scores, "mIoU", "all").value == 0.5
    assert find(scores, "mIoU", "mito").value == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert not [s for s in scores if s.metric == "overall_accuracy"]


def test_several_volumes_are_scored_alone_and_together():
    truth, prediction = three_slices()
    parts = [tally_of(BINARY, truth[:, i : i + 1], prediction[:, i : i + 1], volume=f"v{i}") for i in range(3)]
    scores = scores_of(parts)
    whole = scores_of([tally_of(BINARY, truth, prediction)])
    for metric in ("F1", "Jaccard", "accuracy", "F1_slice_mean", "accuracy_slice_mean"):
        together = find(scores, metric, "mito", volume="all")
        assert together.value == pytest.approx(find(whole, metric, "mito").value)
        assert together.n == find(whole, metric, "mito").n
    assert find(scores, "F1", "mito", volume="v0").value == pytest.approx(0.8)


def test_blocks_of_a_slice_may_come_in_any_order():
    truth, prediction = three_slices()
    tally = Tally("v", BINARY)
    for z, rows in ((2, slice(0, 4)), (1, slice(2, 4)), (0, slice(0, 1)), (1, slice(0, 2)), (0, slice(1, 4))):
        tally.count(z, [truth[0, z, rows]], [prediction[0, z, rows]])
    whole = tally_of(BINARY, truth, prediction)
    assert repr(scores_of([tally])) == repr(scores_of([whole]))


def test_the_background_is_a_positive_class_only_when_asked_for():
    tally = tally_of(BINARY, *three_slices())
    assert {s.class_name for s in scores_of([tally])} == {"mito", "all"}
    both = scores_of([tally], complement=True)
    assert find(both, "sensitivity", "background").value == find(both, "specificity", "mito").value
    assert find(both, "PPV", "background").value == find(both, "NPV", "mito").value
    assert find(both, "F1", "background").value != find(both, "F1", "mito").value


def test_slice_means_by_the_rule_of_the_paper():
    """An absent class scores 0, and a slice in which nothing is right anywhere is left out."""
    truth, prediction = three_slices()
    scores = scores_of([tally_of(BINARY, truth, prediction)])
    assert find(scores, "F1_slice_mean_paper", "mito").value == pytest.approx((0.8 + 1 / 3) / 2)
    two = np.array([[[[1, 1, 2, 2]], [[1, 1, 1, 0]]]], np.uint8)
    found = np.array([[[[1, 1, 0, 2]], [[1, 0, 0, 0]]]], np.uint8)
    scores = scores_of([tally_of(THREE, two, found)])
    assert find(scores, "F1_slice_mean_paper", "granule").value == pytest.approx((2 / 3 + 0) / 2)
    assert find(scores, "F1_slice_mean", "granule").value == pytest.approx(2 / 3)


def test_an_empty_cell_has_no_volume_fractions():
    assert all(math.isnan(value) for value in volume_fractions(Confusion.empty(2), 1).values())
