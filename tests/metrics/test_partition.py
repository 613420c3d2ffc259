"""Partition scores: worked examples, scikit-image, and what happens at the edges."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import adapted_rand_error as skimage_rand_error
from skimage.metrics import variation_of_information as skimage_information

from cristae.errors import ScoreError
from cristae.metrics import partition
from cristae.metrics.contingency import Contingency
from cristae.metrics.partition import (
    adapted_rand_error,
    partition_sums,
    rand_parts,
    v_info,
    v_rand,
    variation_of_information,
)

UNHURRIED = settings(deadline=None)  # the first call may have to compile
TRUTH = np.array([1, 1, 1, 1, 2, 2, 2, 2, 2, 0, 0, 0])
PREDICTION = np.array([1, 1, 0, 0, 1, 2, 2, 3, 3, 3, 0, 4])
ID = st.integers(0, 4)
LABELS = st.integers(1, 30).flatmap(lambda n: st.tuples(*[arrays(np.int64, n, elements=ID)] * 2))


def parts(found):
    return found.value, found.split, found.merge


def close(found, expected, atol=5e-7):
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def test_worked_example():
    found = Contingency.of(TRUTH, PREDICTION)
    sums = (9, 15 / 81, 19 / 81, 41 / 81, 0.4747902, 1.5229551, 0.6869616)
    close(partition_sums(found), sums)
    close(parts(v_rand(found)), (0.5, 0.3658537, 0.7894737))
    close(parts(v_info(found)), (0.4296906, 0.3117559, 0.6911452))
    close(parts(variation_of_information(found, foreground=True)), (1.8182809, 1.5121823, 0.3060986))
    close(1.2603363 / math.log(2), variation_of_information(found, foreground=True).value)
    close(parts(variation_of_information(found)), (1.3637107 + 0.6887219, 1.3637107, 0.6887219))
    rand = adapted_rand_error(found)
    close((rand.error, rand.recall, rand.precision), (0.6363636, 8 / 32, 8 / 12))


@pytest.mark.parametrize(
    ("prediction", "rand", "info", "error", "bits"),
    [
        (TRUTH, (1, 1, 1), (1, 1, 1), 0, (0, 0)),
        (np.ones(12, int), (0.672131, 1, 0.506173), (0, 1, 0), 0.384615, (0, 0.991076)),
        (np.zeros(12, int), (0.36, 0.219512, 1), (0.476364, 0.312650, 1), 0.384615, (0, 0.991076)),
    ],
    ids=["equal", "one segment", "empty"],
)
def test_other_predictions(prediction, rand, info, error, bits):
    found = Contingency.of(TRUTH, prediction)
    close(parts(v_rand(found)), rand)
    close(parts(v_info(found)), info)
    close(adapted_rand_error(found).error, error)
    ordinary = Contingency.of(TRUTH, prediction + 1)
    voi = variation_of_information(ordinary, foreground=True)
    close((voi.split, voi.merge), bits)


def test_alpha_weighs_the_parts():
    found = Contingency.of(TRUTH, PREDICTION)
    for score in (v_rand, v_info):
        value, split, merge = parts(score(found))
        assert score(found, alpha=0).value == pytest.approx(split, abs=1e-12)
        assert score(found, alpha=1).value == pytest.approx(merge, abs=1e-12)
        assert value == pytest.approx(2 / (1 / split + 1 / merge), abs=1e-12)
    assert v_rand(found, alpha=0.25).value == pytest.approx(15 / (0.25 * 19 + 0.75 * 41), abs=1e-12)
    with pytest.raises(ScoreError, match="between 0 and 1"):
        v_rand(found, alpha=1.5)


@UNHURRIED
@given(LABELS)
def test_agrees_with_scikit_image(labels):
    truth, prediction = labels
    found = Contingency.of(truth, prediction)
    voi = variation_of_information(found)
    close((voi.split, voi.merge), skimage_information(truth, prediction), atol=1e-9)
    fresh = prediction.copy()  # a label of its own for each voxel without one
    fresh[fresh == 0] = 10 + np.arange(np.count_nonzero(fresh == 0))
    if (truth > 0).any():
        voi = variation_of_information(found, foreground=True)
        close((voi.split, voi.merge), skimage_information(truth, fresh, ignore_labels=(0,)), atol=1e-9)
        rand = rand_parts(partition_sums(found)), rand_parts(partition_sums(Contingency.of(truth, fresh)))
        close(*rand, atol=1e-12)
    rand = adapted_rand_error(found)
    if not (math.isnan(rand.error) or math.isnan(rand.precision) or math.isnan(rand.recall)):
        theirs = skimage_rand_error(truth, prediction)
        close((rand.error, rand.recall, rand.precision), theirs, atol=1e-9)


@UNHURRIED
@given(LABELS, st.integers(0, 30))
def test_blocks_add_up_and_names_of_segments_do_not_matter(labels, cut):
    truth, prediction = labels
    whole = Contingency.of(truth, prediction)
    blocks = Contingency.of(truth[:cut], prediction[:cut]) + Contingency.of(truth[cut:], prediction[cut:])
    close(partition_sums(blocks), partition_sums(whole), atol=1e-12)
    renamed = Contingency.of(np.array([0, 7, 3, 2**62, 5])[truth], np.array([0, 2**63 - 1, 2, 1, 9])[prediction])
    close(partition_sums(renamed), partition_sums(whole), atol=1e-12)
    close(parts(variation_of_information(renamed)), parts(variation_of_information(whole)), atol=1e-12)


@UNHURRIED
@given(LABELS)
def test_scores_lie_between_0_and_1_and_parts_swap_with_the_maps(labels):
    truth, prediction = labels[0] + 1, labels[1] + 1  # without background the maps have equal parts to play
    found, swapped = Contingency.of(truth, prediction), Contingency.of(prediction, truth)
    for score in (v_rand, v_info):
        value, split, merge = parts(score(found, rules="fiji"))
        assert -1e-12 <= min(value, split, merge) <= max(value, split, merge) <= 1 + 1e-12
        other = score(swapped, rules="fiji")
        if len(set(truth)) > 1 and len(set(prediction)) > 1:
            close((value, split, merge), (other.value, other.merge, other.split), atol=1e-12)


@pytest.mark.parametrize(("rules", "value"), [("project", math.nan), ("fiji", 0)])
def test_without_true_objects(rules, value):
    for found in (Contingency.of([0, 0], [1, 0]), Contingency.empty()):
        for score in (v_rand, v_info):
            close(parts(score(found, rules=rules)), (value, value, value))
    rand = adapted_rand_error(Contingency.of([0, 0], [1, 1]))
    assert all(map(math.isnan, (rand.error, rand.precision, rand.recall)))
    assert all(map(math.isnan, parts(variation_of_information(Contingency.of([0], [1]), foreground=True))))
    assert all(map(math.isnan, parts(variation_of_information(Contingency.empty()))))


@pytest.mark.parametrize(
    ("truth", "prediction", "rules", "expected"),
    [
        ([1, 1, 1], [1, 1, 2], "project", (math.nan, math.nan, math.nan)),
        ([1, 1, 1], [1, 1, 2], "fiji", (0, 1, 0)),
        ([1, 1, 1], [1, 1, 1], "fiji", (0, 1, 0)),
        ([1, 1, 2], [3, 3, 3], "project", (0, 1, 0)),
        ([1, 1, 2], [3, 3, 3], "fiji", (0, 0, 1)),
        ([1, 1, 2, 2], [1, 2, 1, 2], "project", (0, 0, 0)),
        ([1, 1, 2, 2], [1, 2, 1, 2], "fiji", (0, 0, 0)),
    ],
)
def test_information_where_nothing_can_be_told(truth, prediction, rules, expected):
    assert parts(v_info(Contingency.of(truth, prediction), rules=rules)) == pytest.approx(expected, abs=0, nan_ok=True)


def test_rounding_is_no_information():
    truth, prediction = np.divmod(np.arange(6), 3)  # shares of 1/6, 1/2 and 1/3: the entropies differ by 2e-16
    unrelated = Contingency(truth + 1, prediction + 1, np.full(6, 3))
    assert parts(v_info(unrelated)) == (0, 0, 0)
    sizes = np.full(37, 1001)
    one = Contingency(np.zeros(37, int) + 1, np.arange(37) + 1, sizes)  # shares of 1/37 do not add up to 1 exactly
    assert partition_sums(one)[6] == 0
    assert partition_sums(one)[4] == 0
    same = Contingency(np.arange(37) + 1, np.arange(37) + 1, sizes)
    assert parts(variation_of_information(same)) == (0, 0, 0)
    assert parts(v_info(same)) == pytest.approx((1, 1, 1), abs=1e-12)


def test_volumes_beyond_32_bits():
    huge = Contingency(np.array([1, 2]), np.array([1, 1]), np.array([2**40, 2**40]))
    assert v_rand(huge).value == pytest.approx(2 / 3, abs=1e-12)
    assert adapted_rand_error(huge).error == pytest.approx(1 / 3, abs=1e-9)


def test_examples_of_the_documentation():
    result = doctest.testmod(partition)
    assert (result.failed, result.attempted) == (0, 3)
