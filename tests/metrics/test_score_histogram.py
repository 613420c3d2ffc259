"""Histograms of scores: by hand, exact cuts at thresholds, and the law that blocks add up to the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cristae.data.box import Box
from cristae.errors import ScoreError
from cristae.metrics.confusion import Confusion
from cristae.metrics.histogram import EIGHT_BIT, FINENESS, Bins, ProbabilityHistogram, fine_bins

TRUTH = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
SCORES = [0.9, 0.8, 0.6, 0.4, 0.7, 0.5, 0.3, 0.2, 0.1, 0]
REPEATED = (0.0, 0.1, 0.2, 0.30000000000000004, 0.4, 0.5, 0.6, 0.7, 0.7999999999999999, 0.8999999999999999)


def test_a_score_equal_to_the_threshold_is_background():
    found = ProbabilityHistogram.of(TRUTH, SCORES)
    assert found.confusion(0.5).counts.tolist() == [[5, 1], [1, 3]]
    assert found.voxels == 10
    assert ProbabilityHistogram.of(TRUTH, np.float32(SCORES)).confusion(0.5).counts.tolist() == [[5, 1], [1, 3]]


def test_bytes_are_cut_where_a_division_in_32_bits_cuts_them():
    every = np.arange(256, dtype=np.uint8)
    found = ProbabilityHistogram.of(np.ones(256, np.uint8), every)
    foreground = [int(found.confusion(t).tp[1]) for t in (*REPEATED, 0.9999999999999999)]
    assert [256 - n for n in foreground] == [1, 26, 51, 77, 102, 128, 153, 179, 204, 230, 255]
    assert found.confusion(1.0).tp[1] == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64])
def test_integers_up_to_255_are_bytes(dtype):
    found = ProbabilityHistogram.of([0, 1, 1], np.array([0, 128, 255], dtype))
    assert found.bins is EIGHT_BIT
    assert np.argwhere(found.counts).tolist() == [[0, 0], [1, 128], [1, 255]]


def test_booleans_are_scores_of_0_and_1():
    found = ProbabilityHistogram.of([True, False, False], [True, True, False])
    assert found.confusion(0.9999).counts.tolist() == [[1, 1], [0, 1]]
    assert np.argwhere(found.counts).tolist() == [[0, 0], [0, 255], [1, 255]]


floats = st.floats(0, 1, width=64)


@settings(deadline=None)
@given(hnp.arrays(np.float64, st.integers(0, 60), elements=floats), st.lists(floats, max_size=4), st.data())
def test_floats_are_cut_exactly_at_named_thresholds_and_at_tenths(scores, thresholds, data):
    near = [float(np.nextafter(t, direction)) for t in thresholds for direction in (0, 1)]
    scores = np.concatenate([scores, thresholds, near])  # the hard places
    truth = data.draw(hnp.arrays(np.bool_, scores.shape))
    found = ProbabilityHistogram.of(truth, scores, thresholds=thresholds)
    for threshold in (*thresholds, *(k / 10 for k in range(11)), 0.9999999999999999):
        np.testing.assert_array_equal(
            found.confusion(threshold).counts, Confusion.of(truth, scores > threshold, 2).counts
        )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_every_grid_threshold_cuts_floats_exactly(dtype):
    edges = np.arange(0, FINENESS + 1, 7) / FINENESS
    scores = np.concatenate([np.nextafter(edges, 0), edges, np.nextafter(edges, 1)]).astype(dtype)
    rising = np.sort(scores.astype(np.float64))
    found = ProbabilityHistogram.of(np.ones(scores.size, bool), scores)
    for threshold in edges[::50]:
        assert found.confusion(threshold).tp[1] == rising.size - np.searchsorted(rising, threshold, side="right")
    assert found.counts.sum() == scores.size


def test_bins_of_floats_are_narrow_disjoint_and_complete():
    bins = fine_bins((1 / 7,))
    np.testing.assert_array_equal(np.nextafter(bins.high[:-1], 2), bins.low[1:])
    assert (bins.low[0], bins.high[0]) == (0, 0)
    assert (bins.low[-1], bins.high[-1]) == (1, 1)
    assert (bins.high - bins.low).max() <= 1.0000001 / FINENESS
    assert not bins.exact
    assert EIGHT_BIT.exact


volumes = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=8), elements=st.integers(0, 255))


@settings(deadline=None)
@given(volumes, st.integers(0, 2**31), st.tuples(*[st.integers(1, 5)] * 3), st.booleans())
def test_blocks_add_up_to_the_whole(scores, seed, block, as_floats):
    rng = np.random.default_rng(seed)
    truth, valid = rng.integers(0, 2, (2, *scores.shape))
    given_scores = scores / np.float32(255) if as_floats else scores
    boxes = [box.slices for box in Box.of_shape(scores.shape).blocks(block)]
    whole = ProbabilityHistogram.of(truth, given_scores, valid)
    parts = ProbabilityHistogram.total(
        ProbabilityHistogram.of(truth[box], given_scores[box], valid[box]) for box in boxes
    )
    np.testing.assert_array_equal(parts.counts, whole.counts)
    kept = valid == 1
    np.testing.assert_array_equal(whole.counts, ProbabilityHistogram.of(truth[kept], given_scores[kept]).counts)
    assert (whole + ProbabilityHistogram.empty(whole.bins)).voxels == kept.sum()


def test_large_arrays_are_counted_like_small_ones():
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 2, (3, 311, 457)), rng.random((3, 311, 457))
    found = ProbabilityHistogram.of(truth, scores.astype(np.float32))
    by_numpy = [np.histogram(scores.astype(np.float32)[truth == k], np.linspace(0, 1, 11))[0] for k in (0, 1)]
    cut = [int(found.bins.above(k / 10)) for k in range(1, 10)]
    sums = np.add.reduceat(found.counts, [0, *cut], axis=1)
    np.testing.assert_array_equal(sums, by_numpy)
    grey = (scores * 255.999).astype(np.uint8)
    expected = [np.bincount(grey[truth == k], minlength=256) for k in (0, 1)]
    np.testing.assert_array_equal(ProbabilityHistogram.of(truth, grey).counts, expected)


def test_what_lies_under_an_invalid_voxel_does_not_matter():
    valid = [1, 1, 0, 0]
    plain = ProbabilityHistogram.of([0, 1, 0, 0], [0.2, 0.7, 0, 0], valid)
    odd = ProbabilityHistogram.of([0, 1, 7, 255], [0.2, 0.7, np.nan, 9.0], valid)
    np.testing.assert_array_equal(plain.counts, odd.counts)
    wide = ProbabilityHistogram.of([0, 1, 7, 255], np.array([3, 4, 70000, -1]), valid)
    assert wide.voxels == 2


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        ([0, 1], [0.1, 0.2, 0.3], r"shape \(2,\).*shape \(3,\)"),
        ([0, 255], [0.1, 0.2], "values from 0 to 255.*binarize"),
        ([0.0, 1.0], [0.1, 0.2], "truth must hold 0 and 1"),
        ([0, 1], [0.1, np.nan], "holds nan"),
        ([0, 1], [0.1, 1.5], "holds 1.5"),
        ([0, 1], [-0.1, 0.5], "holds -0.1"),
        ([0, 1], [0, 256], "from 0 to 256.*8-bit"),
        ([0, 1], [-1, 5], "from -1 to 5"),
        ([0, 1], [0, 1j], "complex"),
    ],
)
def test_things_that_are_not_scores_are_refused(truth, scores, message):
    with pytest.raises(ScoreError, match=message):
        ProbabilityHistogram.of(truth, scores)


def test_thresholds_inside_a_bin_or_out_of_range_are_refused():
    found = ProbabilityHistogram.of(TRUTH, SCORES)
    with pytest.raises(ScoreError, match="name it under `thresholds`"):
        found.confusion(1 / 7)
    assert ProbabilityHistogram.of(TRUTH, SCORES, thresholds=[1 / 7]).confusion(1 / 7).tp[1] == 4
    for wrong in (-0.1, 1.1, np.nan):
        with pytest.raises(ScoreError, match="between 0 and 1"):
            found.confusion(wrong)
        with pytest.raises(ScoreError, match="between 0 and 1"):
            ProbabilityHistogram.of(TRUTH, SCORES, thresholds=[wrong])


def test_unlike_histograms_do_not_add():
    grey, fine = ProbabilityHistogram.of([0], [3]), ProbabilityHistogram.of([0], [0.3])
    for other in (fine, ProbabilityHistogram.of([0], [0.3], thresholds=[1 / 7])):
        with pytest.raises(ScoreError, match="do not add up"):
            grey + other
    with pytest.raises(ScoreError, match="do not add up"):
        fine + ProbabilityHistogram.of([0], [0.3], thresholds=[1 / 7])
    with pytest.raises(ScoreError, match="no histogram"):
        ProbabilityHistogram.total([])
    with pytest.raises(ScoreError, match=r"shape \(2, 1\)"):
        ProbabilityHistogram(np.zeros((2, 256), np.int64), Bins(np.ones(1), np.ones(1)))
