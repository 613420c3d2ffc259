"""Shared voxels of segments: against numpy.unique on pairs, and the law that blocks add up to the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cristae.data.box import Box
from cristae.errors import ScoreError
from cristae.metrics import pairs
from cristae.metrics.contingency import Contingency

INTEGERS = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64, np.bool_, ">i4", ">u8"]


def by_unique(truth, prediction, valid=None):
    """The same table by sorting all pairs."""
    keep = np.ones(truth.shape, bool) if valid is None else valid != 0
    both = np.stack([truth[keep].astype(np.int64), prediction[keep].astype(np.int64)], axis=1)
    found, voxels = np.unique(both, axis=0, return_counts=True)
    return found[:, 0], found[:, 1], voxels


def assert_table(found, truth, prediction, voxels):
    for column, expected in zip(
        (found.truth, found.prediction, found.voxels), (truth, prediction, voxels), strict=True
    ):
        assert column.dtype == np.int64
        np.testing.assert_array_equal(column, expected)


def assert_same(first, second):
    assert_table(first, second.truth, second.prediction, second.voxels)


def test_by_hand():
    found = Contingency.of([1, 1, 1, 1, 2, 2, 2, 2, 2, 0, 0, 0], [1, 1, 0, 0, 1, 2, 2, 3, 3, 3, 0, 4])
    assert_table(found, [0, 0, 0, 1, 1, 2, 2, 2], [0, 3, 4, 0, 1, 1, 2, 3], [1, 1, 1, 2, 2, 1, 2, 2])
    assert [column.tolist() for column in found.truth_sizes()] == [[1, 2], [4, 5]]
    assert [column.tolist() for column in found.prediction_sizes()] == [[1, 2, 3, 4], [3, 2, 3, 1]]


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("other", [np.uint8, np.int64, np.uint64])
def test_every_integer_type_counts_alike(kind, other):
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2 if kind is np.bool_ else 100, (5, 6, 7)).astype(kind)
    prediction = rng.integers(0, 100, truth.shape).astype(other)
    assert_table(Contingency.of(truth, prediction), *by_unique(truth, prediction))


ids = hnp.arrays(np.int64, hnp.array_shapes(max_dims=3, max_side=12), elements=st.integers(0, 4))


@given(ids, st.integers(0, 2**31))
def test_equal_to_sorting_pairs(truth, seed):
    rng = np.random.default_rng(seed)
    prediction, valid = rng.integers(0, 3, truth.shape) * 2**61, rng.integers(0, 3, truth.shape).astype(np.uint8)
    assert_table(Contingency.of(truth, prediction), *by_unique(truth, prediction))
    assert_table(Contingency.of(truth, prediction, valid), *by_unique(truth, prediction, valid))


@pytest.mark.parametrize("valid", [False, True])
@pytest.mark.parametrize("most", [3, 2**20, 2**62])
@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_large_maps_by_several_threads(threads, most, valid, monkeypatch):
    """With many pairs the tables of threads grow while they are put together."""
    monkeypatch.setattr(pairs, "_PIECE", 1 << 10)
    monkeypatch.setattr(pairs, "usable_cores", lambda: threads)
    rng = np.random.default_rng(5)
    truth, prediction = rng.integers(0, most, (2, 6, 60, 400))
    truth = truth.repeat(2, axis=2)[:, :, :400]
    keep = rng.integers(0, 2, truth.shape).astype(bool) if valid else None
    assert_table(Contingency.of(truth, prediction, keep), *by_unique(truth, prediction, keep))


def test_any_order_in_memory_counts_alike():
    rng = np.random.default_rng(7)
    truth, prediction = rng.integers(0, 40, (2, 40, 50, 90))
    expected = Contingency.of(truth, prediction)
    assert_same(Contingency.of(truth.T, prediction.T), expected)
    assert_same(Contingency.of(truth[::-1, :, ::-1], prediction[::-1, :, ::-1]), expected)
    assert_same(Contingency.of(np.asfortranarray(truth), prediction), expected)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(1, 30))
def test_pieces_cover_each_voxel_once(shape, most):
    seen = np.zeros(shape, int)
    pairs_piece, pairs._PIECE = pairs._PIECE, most
    try:
        for piece in pairs._pieces(tuple(shape)):
            seen[piece] += 1
            assert seen[piece].size <= most
    finally:
        pairs._PIECE = pairs_piece
    assert (seen == 1).all()


@given(ids, st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 2**31))
def test_blocks_add_up_to_the_whole(truth, block, seed):
    truth = truth.reshape((1,) * (3 - truth.ndim) + truth.shape)
    rng = np.random.default_rng(seed)
    prediction, valid = rng.integers(0, 4, truth.shape), rng.integers(0, 2, truth.shape)
    parts = [
        Contingency.of(truth[box.slices], prediction[box.slices], valid[box.slices])
        for box in Box.of_shape(truth.shape).blocks(block)
    ]
    whole = Contingency.of(truth, prediction, valid)
    assert_same(Contingency.total(parts), whole)
    assert_same(sum(parts, Contingency.empty()), whole)
    inside = np.where(valid != 0, truth, 0)
    found, voxels = np.unique(inside[inside > 0], return_counts=True)
    np.testing.assert_array_equal(whole.truth_sizes(), (found, voxels))


def test_the_largest_ids():
    most = 2**63 - 1
    found = Contingency.of(np.array([most, 0, most], np.uint64), np.array([most, most, most], np.int64))
    assert_table(found, [0, most], [most, most], [1, 2])
    assert_same(found + Contingency.empty(), found)


def test_nothing_counted():
    for found in (Contingency.empty(), Contingency.total([])):
        assert_table(found, [], [], [])
        assert [column.tolist() for column in (*found.truth_sizes(), *found.prediction_sizes())] == [[]] * 4
    assert_table(Contingency.of(np.zeros((0, 4), int), np.zeros((0, 4), int)), [], [], [])
    assert_table(Contingency.of([1, 2], [3, 4], [0, 0]), [], [], [])


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (np.array([0, -3]), np.array([0, 1]), "truth holds -3; ids"),
        (np.array([0, 1]), np.array([0, -1], np.int8), "prediction holds -1; ids"),
        (np.array([0, 1]), np.array([0, 2**63], np.uint64), "prediction holds 9223372036854775808; ids"),
        (np.array([0.0, 1.0]), np.array([0, 1]), "truth must hold ids of segments .integers., got float64"),
        (np.array([0, 1]), np.array([[0, 1]]), "truth has shape .2,., prediction has shape .1, 2."),
    ],
)
def test_what_cannot_be_counted(truth, prediction, message):
    with pytest.raises(ScoreError, match=message):
        Contingency.of(truth, prediction)


def test_whatever_stands_where_nothing_counts_is_ignored():
    assert_table(Contingency.of([-1, 2, -5], [7, 3, 2], [0, 255, 0]), [2], [3], [1])
    with pytest.raises(ScoreError, match=r"truth has shape .2,., valid mask has shape .3,."):
        Contingency.of([1, 2], [1, 2], [1, 1, 1])
