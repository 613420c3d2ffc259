"""Scores of instances: by hand, against trying every matching, and against MONAI."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.errors import ScoreError
from cristae.metrics.contingency import Contingency
from cristae.metrics.instances import (
    THRESHOLDS,
    InstanceCounts,
    instance_ap,
    match_instances,
    panoptic_quality,
    recognition_quality,
    segmentation_quality,
)


def ious_of(truth, prediction):
    """(T, P) IoU of all pairs of segments, mask by mask."""
    true, predicted = (ids[ids > 0] for ids in (np.unique(truth), np.unique(prediction)))
    return np.array(
        [
            [((truth == t) & (prediction == p)).sum() / ((truth == t) | (prediction == p)).sum() for p in predicted]
            for t in true
        ]
    ).reshape(len(true), len(predicted))


def best_matching(iou, threshold):
    """Most pairs, then largest sum of IoU, of all ways to match."""
    table = iou if iou.shape[0] <= iou.shape[1] else iou.T
    best = (0, 0.0)
    for columns in permutations(range(table.shape[1]), table.shape[0]):
        found = table[np.arange(len(table)), list(columns)]
        found = found[found > threshold]
        best = max(best, (len(found), float(found.sum())))
    return best


maps = st.tuples(st.integers(1, 40), st.integers(0, 5), st.integers(0, 5), st.floats(0, 1), st.integers(0, 2**31))


@settings(deadline=None)
@given(maps, st.sampled_from((0.0, 0.1, 0.25, 0.4, *THRESHOLDS)))
def test_equal_to_trying_every_matching(drawn, threshold):
    size, most, other, share, seed = drawn
    rng = np.random.default_rng(seed)
    truth = np.sort(rng.integers(0, most + 1, size))
    noise = rng.integers(0, other + 1, size)
    prediction = np.where(rng.random(size) < share, np.minimum(truth, other), noise) * 1000
    iou = ious_of(truth, prediction)
    n, total = best_matching(iou, threshold)
    counts = InstanceCounts.of(Contingency.of(truth, prediction), (threshold,))
    assert (counts.tp[0], counts.n_truth, counts.n_prediction) == (n, *iou.shape)
    assert counts.iou[0] == pytest.approx(total, abs=1e-12)
    found = match_instances(Contingency.of(truth, prediction), threshold)
    assert len(set(found.truth)) == len(set(found.prediction)) == n
    for t, p, value in zip(found.truth, found.prediction, found.iou, strict=True):
        assert value == ((truth == t) & (prediction == p)).sum() / ((truth == t) | (prediction == p)).sum() > threshold
    tp, fp, fn = n, iou.shape[1] - n, iou.shape[0] - n
    if tp + fp + fn:
        assert instance_ap(counts)[0] == pytest.approx(tp / (tp + fp + fn))
        assert recognition_quality(counts)[0] == pytest.approx(tp / (tp + fp / 2 + fn / 2))
        assert panoptic_quality(counts)[0] == pytest.approx(total / (tp + fp / 2 + fn / 2))
    if tp:
        product = segmentation_quality(counts) * recognition_quality(counts)
        np.testing.assert_allclose(panoptic_quality(counts), product)


def test_by_hand():
    truth = [1] * 10 + [2] * 4 + [3] * 5 + [0] * 3
    prediction = [7] * 9 + [0] + [8] * 2 + [9] * 2 + [5] * 4 + [0] + [5, 6, 6]
    counts = InstanceCounts.of(Contingency.of(truth, prediction))  # IoU 9/10, 2/4, 2/4 and 4/6
    assert counts.thresholds == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    assert (counts.tp.tolist(), counts.n_truth, counts.n_prediction) == ([2, 2, 2, 2, 1, 1, 1, 1, 0, 0], 3, 5)
    np.testing.assert_allclose(instance_ap(counts), [2 / 6] * 4 + [1 / 7] * 4 + [0] * 2)
    assert instance_ap(counts).mean() == pytest.approx((4 / 3 + 4 / 7) / 10)
    assert panoptic_quality(counts)[0] == pytest.approx((0.9 + 2 / 3) / 4)
    assert segmentation_quality(counts)[0] == pytest.approx((0.9 + 2 / 3) / 2)
    assert (counts.fp[0], counts.fn[0], recognition_quality(counts)[0]) == (3, 1, 0.5)


def test_an_iou_equal_to_the_threshold_is_no_match():
    for step in range(10, 20):
        found = Contingency.of([1] * 20, [1] * step + [0] * (20 - step))
        assert InstanceCounts.of(found).tp.tolist() == [1] * (step - 10) + [0] * (20 - step)


def test_below_one_half_more_pairs_come_first():
    # 1 shares 4/10 with 7 and 3/11 with 8; 2 shares 3/11 with 7 alone: the greedy pair (1, 7) would leave 2 alone
    truth = [1] * 7 + [2] * 7
    prediction = [7] * 4 + [8] * 3 + [7] * 3 + [0] * 4
    found = match_instances(Contingency.of(truth, prediction), 0.1)
    assert (found.truth.tolist(), found.prediction.tolist()) == ([1, 2], [8, 7])


def test_against_monai():
    metrics = pytest.importorskip("monai.metrics.panoptic_quality")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    truth = np.kron(rng.permutation(np.arange(64)).reshape(8, 8), np.ones((6, 6), int))
    prediction = np.where(rng.random(truth.shape) < 0.3, np.roll(truth, 3, 0), np.roll(truth, 1, 1))
    prediction = np.unique(prediction, return_inverse=True)[1].reshape(truth.shape)
    pair = (torch.from_numpy(prediction).int(), torch.from_numpy(truth).int())
    counts = InstanceCounts.of(Contingency.of(truth, prediction), (0.5,))
    assert 0 < counts.tp[0] < 63
    for name, function in (("rq", recognition_quality), ("sq", segmentation_quality), ("pq", panoptic_quality)):
        expected = metrics.compute_panoptic_quality(*pair, metric_name=name)
        assert function(counts)[0] == pytest.approx(float(expected), abs=1e-5)


def test_slices_add_up():
    one, two = Contingency.of([1, 1, 2], [1, 1, 0]), Contingency.of([1, 1, 0], [1, 2, 3])
    counts = InstanceCounts.of(one) + InstanceCounts.of(two)
    assert (counts.tp[0], counts.n_truth, counts.n_prediction) == (1, 3, 4)
    with pytest.raises(ScoreError, match="do not add up"):
        InstanceCounts.of(one, (0.5,)) + InstanceCounts.of(two)


def test_empty_maps():
    nothing = InstanceCounts.of(Contingency.of([0, 0], [0, 0]))
    for function in (instance_ap, recognition_quality, segmentation_quality, panoptic_quality):
        assert np.isnan(function(nothing)).all()
    for missed in (InstanceCounts.of(Contingency.of([1], [0])), InstanceCounts.of(Contingency.of([0], [1]))):
        for function in (instance_ap, recognition_quality, panoptic_quality):
            assert (function(missed) == 0).all()
        assert np.isnan(segmentation_quality(missed)).all()


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_thresholds_out_of_range(threshold):
    with pytest.raises(ScoreError, match="from 0 to below 1"):
        match_instances(Contingency.empty(), threshold)


def test_below_one_half_a_segment_still_has_one_partner():
    """A predicted segment whose IoU is 5/11 with one true segment and 5/11 with another."""
    found = Contingency(np.array([0, 1, 2]), np.array([7, 7, 7]), np.array([1, 5, 5]))
    assert len(match_instances(found, 0.45).iou) == 1
    assert len(match_instances(found, 0.46).iou) == 0
