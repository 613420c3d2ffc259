"""AUC-ROC and average precision: by hand, against scikit-learn, and within their bounds on floats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from cristae.metrics.histogram import Bounded, ProbabilityHistogram
from cristae.metrics.ranking import (
    auc_roc,
    auc_roc_of,
    average_precision,
    average_precision_of,
    bounded_auc_roc,
    bounded_average_precision,
)

TRUTH = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
SCORES = [0.9, 0.8, 0.6, 0.4, 0.7, 0.5, 0.3, 0.2, 0.1, 0]


def both(elements):
    """A truth with both classes and as many scores."""
    return st.integers(2, 80).flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.uint8, n, elements=st.integers(0, 1)).filter(lambda t: 0 < t.sum() < t.size),
            hnp.arrays(elements[0], n, elements=elements[1]),
        )
    )


bytes_of_few_values = (np.uint8, st.integers(0, 255) | st.sampled_from([0, 1, 2, 254, 255]))


def test_worked_example():
    found = ProbabilityHistogram.of(TRUTH, SCORES)
    assert auc_roc(found) == pytest.approx(21 / 24, abs=1e-15)
    assert average_precision(found) == pytest.approx((1 + 1 + 3 / 4 + 4 / 6) / 4, abs=1e-15)


def test_ties_count_one_half_and_enter_together():
    found = ProbabilityHistogram.of([1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1])
    assert auc_roc(found) == 0.875
    assert average_precision(found) == pytest.approx(0.833333, abs=1e-6)
    flat = ProbabilityHistogram.of([1, 1, 0, 0, 0], np.full(5, 77, np.uint8))
    assert auc_roc(flat) == 0.5
    assert average_precision(flat) == 0.4


@pytest.mark.parametrize("truth", [[0, 0], [1, 1], []])
def test_one_class_missing_is_undefined(truth):
    found = ProbabilityHistogram.of(np.array(truth, np.uint8), np.arange(len(truth), dtype=np.uint8))
    assert np.isnan(auc_roc(found))
    assert np.isnan(bounded_auc_roc(found).value)
    assert bounded_auc_roc(found).exact
    assert np.isnan(average_precision(found)) == (sum(truth) == 0)
    assert np.isnan(bounded_average_precision(found).low) == (sum(truth) == 0)


@settings(deadline=None)
@given(both(bytes_of_few_values))
def test_bytes_equal_scikit_learn(case):
    truth, scores = case
    found = ProbabilityHistogram.of(truth, scores)
    auc, ap = sk.roc_auc_score(truth, scores), sk.average_precision_score(truth, scores)
    assert auc_roc(found) == pytest.approx(auc, abs=1e-9)
    assert average_precision(found) == pytest.approx(ap, abs=1e-9)
    for bounded in (bounded_auc_roc(found), bounded_average_precision(found)):
        assert bounded.low == pytest.approx(bounded.value, abs=1e-14)
        assert bounded.high == pytest.approx(bounded.value, abs=1e-14)


close = st.integers(0, 40).map(lambda k: k / 40 / 60_000)  # forty scores in one bin
crowded = close | st.floats(0, 1) | close.map(lambda x: 0.5 + x) | st.sampled_from([0.0, 1.0, 1 - 2**-40])


@settings(deadline=None)
@given(both((np.float64, crowded)))
def test_floats_keep_within_their_bounds(case):
    truth, scores = case
    found = ProbabilityHistogram.of(truth, scores)
    pairs = (
        (bounded_auc_roc(found), sk.roc_auc_score(truth, scores), auc_roc(found)),
        (bounded_average_precision(found), sk.average_precision_score(truth, scores), average_precision(found)),
    )
    for bounded, true, binned in pairs:
        assert bounded.value == binned
        assert bounded.low - 1e-12 <= true <= bounded.high + 1e-12
        assert bounded.low - 1e-12 <= bounded.value <= bounded.high + 1e-12


def test_bounds_are_reached_by_the_worst_and_the_best_order():
    inside = 0.5 + np.arange(1, 5) / 5 / 60_000
    right, wrong = [0, 0, 1, 1], [1, 1, 0, 0]
    auc = bounded_auc_roc(ProbabilityHistogram.of(right, inside))
    assert (auc.low, auc.value, auc.high) == (0, 0.5, 1)
    assert not auc.exact
    ap = bounded_average_precision(ProbabilityHistogram.of(wrong, inside))
    assert ap.value == 0.5
    assert ap.high == sk.average_precision_score(right, inside) == 1
    worst = sk.average_precision_score(wrong, inside)
    assert worst - 0.02 < ap.low <= worst


def test_saturated_floats_lose_nothing():
    truth, scores = [1, 1, 0, 0, 1, 0], np.float32([1, 1, 1, 0, 0, 0])
    assert bounded_auc_roc(ProbabilityHistogram.of(truth, scores)).exact
    assert bounded_auc_roc(ProbabilityHistogram.of(truth, scores)).value == pytest.approx(
        sk.roc_auc_score(truth, scores)
    )


def test_bounds_of_a_smooth_map_are_tight():
    rng = np.random.default_rng(1)
    truth = rng.random(200_000) < 0.2
    scores = (1 / (1 + np.exp(-rng.normal(4.0 * truth - 2, 1.5)))).astype(np.float32)
    for bounded, true in (
        (bounded_auc_roc(ProbabilityHistogram.of(truth, scores)), sk.roc_auc_score(truth, scores)),
        (bounded_average_precision(ProbabilityHistogram.of(truth, scores)), sk.average_precision_score(truth, scores)),
    ):
        assert isinstance(bounded, Bounded)
        assert bounded.low <= true <= bounded.high
        assert bounded.high - bounded.low < 1e-4
        assert abs(bounded.value - true) < 1e-5


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_many_sums_at_once_equal_one_by_one(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 3, (3, 4, 2, 256)) * (rng.random((3, 4, 2, 256)) < 0.05)
    counts[0, 0, 1] = 0
    for of, alone in ((auc_roc_of, auc_roc), (average_precision_of, average_precision)):
        values = of(counts.astype(np.float64))
        bins = ProbabilityHistogram.of([0], [0]).bins
        each = [[alone(ProbabilityHistogram(counts[i, j], bins)) for j in range(4)] for i in range(3)]
        np.testing.assert_allclose(values, each, atol=1e-15)
        assert np.isnan(values[0, 0])
