"""Images mirrored beyond their borders are those of numpy's `reflect`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.data.mirror import mirrored_box, mirrored_positions, read_mirrored

SIDE = st.integers(1, 5)
REACH = st.integers(0, 9)


@given(length=SIDE, before=REACH, after=REACH)
def test_positions_are_those_of_reflection(length: int, before: int, after: int) -> None:
    expected = np.pad(np.arange(length), (before, after), mode="reflect")
    np.testing.assert_array_equal(mirrored_positions(-before, length + after, length), expected)


@given(shape=st.tuples(SIDE, SIDE, SIDE), start=st.tuples(*[st.integers(-7, 7)] * 3), size=st.tuples(SIDE, SIDE, SIDE))
def test_a_box_anywhere_is_cut_from_the_mirrored_image(
    shape: tuple[int, int, int], start: tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    image = np.arange(2 * np.prod(shape)).reshape(2, *shape)
    box = Box((0, 0, 0), size).shift(start)
    found = read_mirrored(lambda inside: image[(slice(None), *inside.slices)], box, shape)
    wide = np.pad(image, [(0, 0), *[(12, 12)] * 3], mode="reflect")
    np.testing.assert_array_equal(found, wide[(slice(None), *box.shift((12, 12, 12)).slices)])
    assert Box.of_shape(shape).contains(mirrored_box(box, shape))


def test_only_what_is_needed_is_read() -> None:
    assert mirrored_box(Box((-2, 5, 0), (1, 8, 4)), (9, 9, 3)) == Box((0, 5, 0), (3, 8, 3))


@pytest.mark.parametrize("inside", [Box((0, 0, 0), (2, 2, 2)), Box((1, 0, 1), (2, 2, 3))])
def test_a_box_inside_is_what_is_read(inside: Box) -> None:
    image = np.arange(18).reshape(2, 3, 3)
    np.testing.assert_array_equal(read_mirrored(lambda box: image[box.slices], inside, (2, 3, 3)), image[inside.slices])
