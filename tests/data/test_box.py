"""Boxes of voxels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cristae.data.box import Box

corners = st.tuples(*[st.integers(0, 6)] * 3)
boxes = st.tuples(corners, st.tuples(*[st.integers(1, 4)] * 3)).map(
    lambda pair: Box(pair[0], tuple(start + edge for start, edge in zip(*pair, strict=True)))
)


@given(st.lists(boxes, min_size=1, max_size=5))
def test_the_box_around_others_is_the_smallest_that_holds_them(several):
    marked = np.zeros((10, 10, 10), bool)
    for box in several:
        marked[box.slices] = True
    places = np.argwhere(marked)
    assert Box.around(several) == Box(tuple(places.min(axis=0)), tuple(places.max(axis=0) + 1))
