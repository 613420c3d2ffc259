"""Counts on the device equal those of the metrics, on any device."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.errors import ScoreError
from cristae.metrics.confusion import Confusion
from cristae.training import counts as counting
from cristae.training.counts import count_on_device


def check(seed, n_classes, masked, count):
    """Compare with the metrics' own counts; rubbish lies under the voxels that do not count."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 3))
    truth, prediction = rng.integers(0, n_classes, (2, *shape), dtype=np.uint8)
    valid = rng.integers(0, 2, shape, dtype=np.uint8) if masked else None
    if masked:
        truth[valid == 0], prediction[valid == 0] = rng.integers(0, 256, (2, (valid == 0).sum()))
    expected = Confusion.of(truth, prediction, n_classes, valid)
    tensors = torch.from_numpy(truth), torch.from_numpy(prediction)
    found = count(*tensors, n_classes, None if valid is None else torch.from_numpy(valid))
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert found.counts.dtype == np.int64


laws = given(st.integers(0, 2**31), st.sampled_from([1, 2, 3, 15, 16, 254, 255, 256]), st.booleans())


@settings(deadline=None)
@laws
def test_counts_equal_those_of_the_metrics(seed, n_classes, masked):
    check(seed, n_classes, masked, count_on_device)


@settings(deadline=None)
@laws
def test_what_a_gpu_runs_counts_the_same(seed, n_classes, masked):
    check(seed, n_classes, masked, counting._count_by_torch)


@pytest.mark.gpu
@settings(deadline=None)
@laws
def test_a_gpu_counts_the_same_deterministically(seed, n_classes, masked):
    def on_gpu(truth, prediction, n_classes, valid):
        moved = (None if tensor is None else tensor.cuda() for tensor in (truth, prediction))
        return count_on_device(*moved, n_classes, None if valid is None else valid.cuda())

    torch.use_deterministic_algorithms(True)
    try:
        check(seed, n_classes, masked, on_gpu)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("count", [count_on_device, counting._count_by_torch])
def test_masks_of_booleans_and_strided_views(count):
    truth = torch.tensor([[True, False, True], [False, False, True]])
    prediction = torch.tensor([[1, 0], [1, 1], [0, 1]], dtype=torch.uint8).T
    assert count(truth, prediction, 2, None).counts.tolist() == [[1, 2], [1, 2]]
    assert count(truth, prediction, 2, truth).counts.tolist() == [[0, 0], [1, 2]]
    assert prediction.tolist() == [[1, 1, 0], [0, 1, 1]]
    assert count(truth[:0], prediction[:0], 2, None).counts.tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("count", [count_on_device, counting._count_by_torch])
def test_what_is_no_id_is_refused(count):
    good, bad = torch.tensor([0, 1], dtype=torch.uint8), torch.tensor([0, 2], dtype=torch.uint8)
    with pytest.raises(ScoreError, match="truth holds"):
        count(bad, good, 2, None)
    with pytest.raises(ScoreError, match="prediction holds"):
        count(good, bad, 2, None)
    assert count(bad, good, 2, torch.tensor([True, False])).total == 1


def test_what_cannot_be_compared_is_refused():
    ids = torch.zeros(4, dtype=torch.uint8)
    with pytest.raises(ScoreError, match=r"shape \(4,\).*shape \(3,\)"):
        count_on_device(ids, ids[:3], 2)
    with pytest.raises(ScoreError, match="its valid mask"):
        count_on_device(ids, ids, 2, ids[:3])
    with pytest.raises(ScoreError, match="one byte"):
        count_on_device(ids, ids.long(), 2)
