"""Calibration: by hand, against torchmetrics and plain numpy, and within bounds on floats."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchmetrics.functional.classification import binary_calibration_error

from cristae.errors import ScoreError
from cristae.metrics.calibration import (
    calibration_sums,
    expected_calibration_error,
    expected_calibration_error_of,
    maximum_calibration_error,
    reliability,
)
from cristae.metrics.histogram import ProbabilityHistogram

TRUTH = np.array([1, 0, 0, 0, 1, 1, 0, 1, 1, 1])
BYTES = np.array([51, 51, 51, 51, 204, 204, 204, 255, 255, 255], np.uint8)


def by_numpy(truth, scores, n_bins):
    """Gap and voxels of each bin, from the definition: right-closed bins, the first one with 0."""
    scores = np.asarray(scores, np.float64)
    place = np.maximum(np.digitize(scores, np.arange(n_bins + 1) / n_bins, right=True) - 1, 0)
    held = [place == m for m in range(n_bins)]
    gaps = [abs(truth[m].mean() - scores[m].mean()) if m.any() else 0.0 for m in held]
    return np.array(gaps), np.array([m.sum() for m in held])


def test_worked_example():
    found = ProbabilityHistogram.of(TRUTH, BYTES)
    diagram = reliability(found, 15)
    used = diagram.voxels > 0
    assert diagram.voxels[used].tolist() == [4, 3, 3]
    np.testing.assert_allclose(diagram.mean_probability[used], [0.2, 0.8, 1], atol=1e-7)
    np.testing.assert_allclose(diagram.observed[used], [0.25, 2 / 3, 1], atol=1e-12)
    assert np.isnan(diagram.observed[~used]).all()
    gaps = 0.4 * 0.05 + 0.3 * (0.8 - 2 / 3)
    assert expected_calibration_error(found).value == pytest.approx(gaps, abs=1e-7)
    assert maximum_calibration_error(found).value == pytest.approx(0.8 - 2 / 3, abs=1e-7)


def test_bins_contain_their_upper_end():
    diagram = reliability(ProbabilityHistogram.of([0] * 6, [0.0, 0.25, 0.5, np.nextafter(0.5, 1), 0.75, 1.0]), 4)
    assert diagram.voxels.tolist() == [2, 1, 2, 1]
    assert diagram.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]


cases = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.uint8, n, elements=st.integers(0, 1)), hnp.arrays(np.uint8, n, elements=st.integers(0, 255))
    )
)


@settings(deadline=None)
@given(cases, st.sampled_from([1, 2, 7, 10, 15]))
def test_bytes_equal_the_definition(case, n_bins):
    truth, scores = case
    found = ProbabilityHistogram.of(truth, scores)
    exact = (scores.astype(np.float32) / np.float32(255)).astype(np.float64)
    gaps, voxels = by_numpy(truth, exact, n_bins)
    for bounded, expected in (
        (expected_calibration_error(found, n_bins), (gaps * voxels).sum() / voxels.sum()),
        (maximum_calibration_error(found, n_bins), gaps.max()),
    ):
        assert bounded.exact
        assert bounded.value == pytest.approx(expected, abs=1e-7)
    np.testing.assert_array_equal(reliability(found, n_bins).voxels, voxels)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1, 3, 10, 15, 20]))
def test_floats_keep_within_their_bounds(seed, n_bins):
    rng = np.random.default_rng(seed)
    scores = rng.random(300) ** rng.integers(1, 9)
    truth = (rng.random(300) < scores).astype(np.uint8)
    found = ProbabilityHistogram.of(truth, scores)
    gaps, voxels = by_numpy(truth, scores, n_bins)
    for bounded, expected in (
        (expected_calibration_error(found, n_bins), (gaps * voxels).sum() / 300),
        (maximum_calibration_error(found, n_bins), gaps.max()),
    ):
        assert bounded.low - 1e-15 <= expected <= bounded.high + 1e-15
        assert bounded.low <= bounded.value <= bounded.high
        assert bounded.high - bounded.low < 4e-5


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_floats_equal_torchmetrics(seed):
    rng = np.random.default_rng(seed)
    scores = rng.random(500, dtype=np.float32)
    scores = scores[np.abs(scores * 15 - np.round(scores * 15)) > 1e-5]  # its bins contain their lower ends, in 32 bits
    truth = rng.integers(0, 2, scores.size)
    found = ProbabilityHistogram.of(truth, scores)
    tensors = torch.from_numpy(scores), torch.from_numpy(truth)
    for norm, ours in (("l1", expected_calibration_error), ("max", maximum_calibration_error)):
        theirs = float(binary_calibration_error(*tensors, n_bins=15, norm=norm))
        assert ours(found).value == pytest.approx(theirs, abs=1e-5)


def test_sums_add_up_and_can_be_taken_many_at_once():
    rng = np.random.default_rng(3)
    truth, scores = rng.integers(0, 2, (6, 50)), rng.integers(0, 256, (6, 50))
    sums = np.stack([calibration_sums(ProbabilityHistogram.of(t, s)) for t, s in zip(truth, scores, strict=True)])
    each = [expected_calibration_error(ProbabilityHistogram.of(t, s)).value for t, s in zip(truth, scores, strict=True)]
    np.testing.assert_allclose(expected_calibration_error_of(sums), each, atol=1e-12)
    whole = expected_calibration_error(ProbabilityHistogram.of(truth, scores)).value
    assert expected_calibration_error_of(sums.sum(0)) == pytest.approx(whole, abs=1e-12)
    assert whole != pytest.approx(float(np.mean(each)))


def test_no_voxel_is_undefined():
    nothing = ProbabilityHistogram.of(np.zeros(0, np.uint8), np.zeros(0, np.uint8))
    for bounded in (expected_calibration_error(nothing), maximum_calibration_error(nothing)):
        assert np.isnan([bounded.value, bounded.low, bounded.high]).all()
    assert np.isnan(reliability(nothing).mean_probability).all()


def test_bins_that_do_not_fit_are_refused():
    found = ProbabilityHistogram.of(TRUTH, BYTES / 255)
    with pytest.raises(ScoreError, match="name k / 7"):
        reliability(found, 7)
    sevenths = [k / 7 for k in range(8)]
    named = reliability(ProbabilityHistogram.of(TRUTH, BYTES / 255, thresholds=sevenths), 7)
    assert named.voxels.tolist() == [0, 4, 0, 0, 0, 3, 3]
    with pytest.raises(ScoreError, match="at least one bin"):
        reliability(found, 0)
