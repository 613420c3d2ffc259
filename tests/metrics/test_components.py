"""Components: ids equal to those of scipy.ndimage.label, whole and in blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cristae.data.box import Box
from cristae.errors import ScoreError
from cristae.metrics import run_lengths
from cristae.metrics.components import find_components, label_components

ALL = (4, 8, 6, 18, 26)
ORDER = {4: 1, 8: 2, 6: 1, 18: 2, 26: 3}


def structure_of(connectivity, ndim):
    flat = ndimage.generate_binary_structure(2, ORDER[connectivity]) if connectivity in (4, 8) else None
    if flat is None:
        return ndimage.generate_binary_structure(3, ORDER[connectivity])
    if ndim == 2:
        return flat
    return np.stack([np.zeros_like(flat), flat, np.zeros_like(flat)])


def assert_as_scipy(mask, connectivity):
    expected, count = ndimage.label(mask, structure_of(connectivity, mask.ndim))
    found, number = label_components(mask, connectivity)
    assert (number, found.dtype) == (count, np.int32)
    np.testing.assert_array_equal(found, expected)


def assert_blocks_equal_whole(mask, blocks, connectivity):
    expected, count = ndimage.label(mask, structure_of(connectivity, 3))
    found = find_components(lambda box: mask[box.slices], blocks, connectivity)
    assert found.count == count
    for block in blocks:
        ids = found.read(block)
        assert ids.dtype == np.int64
        np.testing.assert_array_equal(ids, expected[block.slices])


volumes = st.tuples(*[st.integers(1, 9)] * 3)


@settings(deadline=None)
@given(volumes, st.sampled_from(ALL), st.floats(0.05, 0.95), st.integers(0, 2**31), st.sampled_from([1, 40, 2**18]))
def test_volumes_as_scipy(shape, connectivity, share, seed, slab):
    mask = np.random.default_rng(seed).random(shape) < share
    kept, run_lengths._SLAB = run_lengths._SLAB, slab  # small slabs, so that several threads join their borders
    try:
        assert_as_scipy(mask, connectivity)
        if connectivity in (4, 8):
            assert_as_scipy(mask[0], connectivity)
    finally:
        run_lengths._SLAB = kept


@settings(deadline=None, max_examples=60)
@given(volumes, volumes, st.sampled_from(ALL), st.floats(0.05, 0.95), st.randoms(use_true_random=False))
def test_blocks_equal_the_whole(shape, block, connectivity, share, random):
    mask = np.random.default_rng(random.randint(0, 2**31)).random(shape) < share
    blocks = list(Box.of_shape(shape).blocks(block))
    random.shuffle(blocks)
    assert_blocks_equal_whole(mask, blocks, connectivity)


@pytest.mark.parametrize("connectivity", ALL)
@pytest.mark.parametrize("kind", ["empty", "full", "checkerboard", "spiral"])
def test_extremes(connectivity, kind):
    z, y, x = np.indices((4, 5, 8))
    mask = {
        "empty": np.zeros(z.shape, bool),
        "full": np.ones(z.shape, bool),
        "checkerboard": (z + y + x) % 2 == 0,
        "spiral": (y % 2 == 0) | ((x == 0) & (y % 4 == 1)) | ((x == 7) & (y % 4 == 3)),
    }[kind]
    assert_as_scipy(mask, connectivity)
    for block in ((1, 1, 2), (1, 5, 8), (3, 2, 5), (4, 1, 8)):
        assert_blocks_equal_whole(mask, list(Box.of_shape(mask.shape).blocks(block)), connectivity)


@pytest.mark.parametrize("connectivity", ALL)
def test_several_threads_on_a_large_mask(connectivity):
    noise = np.random.default_rng(1).random((40, 130, 150))
    assert_as_scipy(noise < 0.3, connectivity)
    assert_as_scipy(ndimage.gaussian_filter(noise, 2) > 0.51, connectivity)


def test_any_type_and_order_in_memory():
    mask = np.random.default_rng(2).integers(0, 3, (5, 6, 7))
    for kind in (np.uint8, np.int64, np.float32):
        assert_as_scipy(mask.astype(kind).T, 18)
    for shape in ((0, 3, 3), (2, 0, 3), (2, 3, 0)):
        assert label_components(np.zeros(shape, bool), 6)[1] == 0


def test_blocks_of_a_region_with_a_place_left_out():
    mask = np.ones((4, 4, 9), bool)
    blocks = [box for box in Box((0, 0, 0), (4, 4, 9)).blocks((4, 4, 3)) if box.start[2] != 3]
    moved = [box.shift((10, 20, 30)) for box in blocks]
    steps = []
    found = find_components(
        lambda box: mask[box.relative_to((10, 20, 30)).slices], moved, 26, advance=lambda: steps.append(1)
    )
    assert found.count == len(steps) == 2
    assert [np.unique(found.read(block)).tolist() for block in moved] == [[1], [2]]
    assert find_components(lambda box: mask, [], 6).count == 0


def test_what_cannot_be_labelled():
    with pytest.raises(ScoreError, match="no components of 6 neighbours"):
        label_components(np.ones((3, 3)), 6)
    with pytest.raises(ScoreError, match="connectivity is 4 or 8"):
        label_components(np.ones((3, 3)), 5)
    one, two = Box((0, 0, 0), (2, 2, 2)), Box((1, 0, 0), (3, 2, 2))
    for blocks, message in (([one, two], "no grid along axis z"), ([one, one], "given twice")):
        with pytest.raises(ScoreError, match=message):
            find_components(lambda box: np.ones(box.shape), blocks, 6)
    with pytest.raises(ScoreError, match="has shape"):
        find_components(lambda box: np.ones((1, 2, 2)), [one], 6)
    answers = iter([np.ones((2, 2, 2)), np.zeros((2, 2, 2))])
    found = find_components(lambda box: next(answers), [one], 6)
    with pytest.raises(ScoreError, match="none of the blocks"):
        found.read(two)
    with pytest.raises(ScoreError, match="must not change"):
        found.read(one)
