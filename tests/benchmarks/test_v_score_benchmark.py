"""The benchmark of V scores compares two ways to the same sums."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.v_scores import make_slices, score_ours, score_theirs


def test_both_sides_find_the_same_sums():
    slices = make_slices(2, 96)
    (thin, raw), (their_thin, their_raw) = score_ours(slices), score_theirs(slices)
    np.testing.assert_allclose(raw, their_raw, rtol=0, atol=1e-9)
    np.testing.assert_allclose(thin, their_thin, rtol=0, atol=0.02)  # the lines take other pixels where fronts meet
    assert np.ptp(raw[..., 1]) > 0.1
