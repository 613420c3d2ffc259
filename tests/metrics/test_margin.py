"""Distances to a mask as far as a margin, against scipy's distance transform of the whole."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from cristae.data.box import Box
from cristae.metrics.margin import margin_vox, squared_distances_within

sizes_nm = st.tuples(*[st.sampled_from([4.0, 5.9, 10.0, 40.0])] * 3)


@st.composite
def masks(draw):
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(1, 12)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.random(shape) < draw(st.sampled_from([0, 0.02, 0.1, 0.5, 1]))


@settings(max_examples=150, deadline=None)
@given(masks(), sizes_nm, st.sampled_from([0, 3.9, 5.9, 17.7, 40.0, 41.0, 100.0, 1e4]), st.data())
def test_distances_are_those_of_scipy_up_to_the_margin(mask, size, margin, data):
    corners = [sorted(data.draw(st.tuples(*[st.integers(0, side)] * 2))) for side in mask.shape]
    box = Box(tuple(low for low, _ in corners), tuple(high for _, high in corners))
    whole = distance_transform_edt(~mask, sampling=size) if mask.any() else np.full(mask.shape, np.inf)
    expected = np.where(whole <= margin * (1 + 1e-9), whole, np.inf)[box.slices]
    wide = box.grow(margin_vox(margin, size)).intersect(Box.of_shape(mask.shape))
    found = squared_distances_within(mask[wide.slices], box.relative_to(wide.start), margin, size)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    np.testing.assert_allclose(np.sqrt(found), expected, rtol=1e-12, atol=1e-12)


def test_a_margin_in_whole_voxels():
    assert margin_vox(17.7, (40.0, 5.9, 10.0)) == (0, 3, 1)
    assert 3 * 5.9 > 17.7  # in binary
