"""Scores along the thresholds, and thresholds fixed, best, and chosen on other data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score

from cristae.errors import ScoreError
from cristae.metrics.histogram import ProbabilityHistogram
from cristae.metrics.thresholds import (
    BINARY_MIOU,
    F1,
    JACCARD,
    TENTHS,
    Subject,
    best_threshold,
    curve_scores,
    threshold_curve,
    threshold_scores,
)

TRUTH = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
SCORES = [0.9, 0.8, 0.6, 0.4, 0.7, 0.5, 0.3, 0.2, 0.1, 0]
SUBJECT = Subject("run", "cell", "mito")


def test_worked_example():
    found = ProbabilityHistogram.of(TRUTH, SCORES)
    assert threshold_curve(found, F1, [0.5]) == pytest.approx(0.75)
    assert threshold_curve(found, JACCARD, [0.5]) == pytest.approx(0.6)
    assert threshold_curve(found, BINARY_MIOU, [0.5]) == pytest.approx(0.657143, abs=1e-6)


def test_thresholds_are_tenths_and_nothing_is_foreground_at_one():
    assert TENTHS == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    bright = np.array([255, 255, 0, 0], np.uint8)
    for scores in (bright, bright == 255, (bright / 255).astype(np.float32)):
        curve = threshold_curve(ProbabilityHistogram.of([1, 1, 0, 0], scores), BINARY_MIOU)
        assert curve.tolist() == [1.0] * 10 + [0.25]


@settings(deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([np.uint8, np.float32, np.float64]))
def test_curves_equal_scikit_learn(seed, dtype):
    rng = np.random.default_rng(seed)
    truth, grey = rng.integers(0, 2, 40), rng.integers(0, 256, 40)
    truth[:2] = 0, 1
    scores = grey.astype(np.uint8) if dtype == np.uint8 else (rng.integers(0, 11, 40) / 10).astype(dtype)
    values = (scores / np.float32(255) if dtype == np.uint8 else scores).astype(np.float64)
    found = ProbabilityHistogram.of(truth, scores)
    calls = [values > k / 10 for k in range(11)]
    f1 = [f1_score(truth, call, zero_division=0) for call in calls]
    miou = [jaccard_score(truth, call, average="macro", zero_division=0) for call in calls]
    np.testing.assert_allclose(threshold_curve(found, F1), f1, atol=1e-12)
    np.testing.assert_allclose(threshold_curve(found, BINARY_MIOU), miou, atol=1e-12)
    assert best_threshold(found, F1) == pytest.approx(np.argmax(f1) / 10)  # argmax: the first among equals


def test_no_defined_value_gives_no_threshold():
    nothing = ProbabilityHistogram.of([0, 0], np.zeros(2, np.uint8))
    assert np.isnan(best_threshold(nothing, F1))
    best = threshold_scores(nothing, F1, SUBJECT)[1]
    assert np.isnan(best.value)
    assert best.threshold is None


def test_a_threshold_chosen_elsewhere_stands_beside_the_fixed_and_the_best_one():
    judged = ProbabilityHistogram.of([1, 1, 1, 0, 0], [0.9, 0.75, 0.25, 0.35, 0.1])
    chosen = best_threshold(ProbabilityHistogram.of([1, 1, 0, 0], [0.9, 0.85, 0.75, 0.1]), F1)
    fixed, best, validated = threshold_scores(judged, F1, SUBJECT, validated=chosen)
    assert [score.metric for score in (fixed, best, validated)] == ["F1", "F1_best", "F1_validated"]
    assert [score.threshold for score in (fixed, best, validated)] == [0.5, 0.1, 0.8]
    assert [score.value for score in (fixed, best, validated)] == pytest.approx([0.8, 6 / 7, 0.5])
    assert "fixed threshold" in fixed.rule
    assert "optimistic" in best.rule
    assert "chosen on validation data" in validated.rule
    assert {(score.run, score.volume, score.class_name, score.n) for score in (fixed, best, validated)} == {
        ("run", "cell", "mito", 5)
    }
    assert threshold_scores(judged, F1, SUBJECT) == (fixed, best)
    assert threshold_scores(judged, F1, SUBJECT, fixed=None) == (best,)
    assert threshold_scores(judged, F1, SUBJECT, fixed=0.3)[0].value == pytest.approx(2 / 3)


def test_a_curve_has_a_row_for_each_threshold():
    rows = curve_scores(ProbabilityHistogram.of(TRUTH, SCORES), BINARY_MIOU, SUBJECT)
    assert [row.threshold for row in rows] == list(TENTHS)
    assert rows[5].value == pytest.approx(0.657143, abs=1e-6)
    assert rows[5].rule == "mean of mito and its complement; pooled; one threshold of a curve; n=voxels"
    with pytest.raises(ScoreError, match="between 0 and 1"):
        curve_scores(ProbabilityHistogram.of(TRUTH, SCORES), F1, SUBJECT, [2])
