"""Voxel counts: against scikit-learn, by hand, and the law that blocks add up to the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import confusion_matrix

from cristae.data.box import Box
from cristae.errors import ScoreError
from cristae.metrics.confusion import Confusion


def test_rows_are_truth_and_columns_prediction():
    counts = Confusion.of([0, 0, 0, 1], [0, 1, 1, 0], n_classes=2)
    assert counts.counts.tolist() == [[1, 2], [1, 0]]
    assert counts.total == 4


@pytest.mark.parametrize("n_classes", [2, 7, 16, 17, 251, 256])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_counts_equal_those_of_scikit_learn(n_classes, dtype):
    rng = np.random.default_rng(n_classes)
    truth, prediction = rng.integers(0, n_classes, (2, 3, 97, 501)).astype(dtype)
    valid = rng.integers(0, 2, truth.shape).astype(np.uint8)
    labels = np.arange(n_classes)
    whole = confusion_matrix(truth.ravel(), prediction.ravel(), labels=labels)
    masked = confusion_matrix(truth[valid == 1], prediction[valid == 1], labels=labels)
    np.testing.assert_array_equal(Confusion.of(truth, prediction, n_classes).counts, whole)
    np.testing.assert_array_equal(Confusion.of(truth, prediction, n_classes, valid).counts, masked)


def test_counts_do_not_change_their_inputs():
    truth, valid = np.array([0, 1, 255], np.uint8), np.array([1, 1, 0], np.uint8)
    Confusion.of(truth, truth, 2, valid)
    assert truth.tolist() == [0, 1, 255]
    assert valid.tolist() == [1, 1, 0]


ids = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=9), elements=st.integers(0, 3))


@given(ids, st.randoms(use_true_random=False), st.tuples(*[st.integers(1, 5)] * 3))
def test_blocks_add_up_to_the_whole(truth, random, block):
    rng = np.random.default_rng(random.randint(0, 2**31))
    prediction, valid = rng.integers(0, 4, truth.shape), rng.integers(0, 2, truth.shape)
    total = Confusion.empty(4)
    for box in Box.of_shape(truth.shape).blocks(block):
        total += Confusion.of(truth[box.slices], prediction[box.slices], 4, valid[box.slices])
    np.testing.assert_array_equal(total.counts, Confusion.of(truth, prediction, 4, valid).counts)


@given(ids, st.integers(0, 3))
def test_one_class_against_the_rest_equals_counting_the_mask(truth, class_id):
    prediction = truth[::-1, ::-1]
    table, by_mask = Confusion.of(truth, prediction, 4), Confusion.of(truth == class_id, prediction == class_id, 2)
    tn, fp, fn, tp = (int(part[class_id]) for part in (table.tn, table.fp, table.fn, table.tp))
    np.testing.assert_array_equal([[tn, fp], [fn, tp]], by_mask.counts)


def test_what_lies_under_an_invalid_voxel_does_not_matter():
    valid = [1, 1, 0, 0]
    one = Confusion.of([0, 1, 255, 9], [1, 1, 0, 200], 2, valid)
    other = Confusion.of([0, 1, 0, 1], [1, 1, 1, 1], 2, valid)
    np.testing.assert_array_equal(one.counts, other.counts)


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([0, 1], [0, 1, 1], r"shape \(2,\).*shape \(3,\)"),
        ([0, 255], [0, 1], "truth holds 255, but there are 2 classes"),
        ([0, 1], [0, -1], "prediction holds -1"),
        ([0, 256], [0, 1], "truth holds 256"),
        ([0.0, 1.0], [0, 1], "truth must hold class ids"),
    ],
)
def test_things_that_are_not_class_ids_are_refused(truth, prediction, message):
    with pytest.raises(ScoreError, match=message):
        Confusion.of(truth, prediction, 2)


def test_counts_of_different_classes_do_not_add():
    with pytest.raises(ScoreError, match="2 and of 3"):
        Confusion.empty(2) + Confusion.empty(3)
