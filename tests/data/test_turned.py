"""Images turned, mirrored, moved and inverted as they are read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.data.image import image_of_array
from cristae.data.turned import Turn, inverted, parse_turn, symmetries, turned
from cristae.errors import VolumeError

STACK = np.random.default_rng(3).integers(0, 255, (4, 6, 9)).astype(np.uint8)
SIZE = (40.0, 4.0, 5.0)

turns = st.builds(
    Turn,
    st.permutations([0, 1, 2]).map(tuple),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.tuples(*[st.integers(-3, 3)] * 3),
)


def by_numpy(stack: np.ndarray, turn: Turn) -> np.ndarray:
    found = stack.transpose(turn.axes)
    found = np.flip(found, [axis for axis in range(3) if turn.mirrored[axis]])
    for axis, step in enumerate(turn.shift):
        around = [(0, 0)] * 3
        around[axis] = (max(step, 0), max(-step, 0))
        padded = np.pad(found, around, mode="edge")
        found = padded.take(range(max(-step, 0), max(-step, 0) + found.shape[axis]), axis=axis)
    return found


@given(turns, st.data())
def test_any_box_of_a_turned_image_is_that_of_the_turned_array(turn: Turn, data: st.DataObject) -> None:
    whole = by_numpy(STACK, turn)
    image = turned(image_of_array(STACK, voxel_size_nm=SIZE), turn)
    edges = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in whole.shape]
    box = Box(*zip(*edges, strict=True))
    np.testing.assert_array_equal(image.read(box), whole[box.slices])
    assert image.shape == whole.shape
    assert image.voxel_size_nm == tuple(SIZE[axis] for axis in turn.axes), "voxel sizes go with their axes"


@given(turns)
def test_the_options_of_convert_say_the_turn(turn: Turn) -> None:
    words = turn.options.split()
    given = {"--transpose": None, "--flip": None}
    given |= {key: words[words.index(key) + 1] for key in given if key in words}
    shift = None
    if "--shift" in words:
        first = words.index("--shift") + 1
        z, y, x = map(int, words[first : first + 3])
        shift = (z, y, x)
    assert parse_turn(given["--transpose"], given["--flip"], shift) == turn


@pytest.mark.parametrize(("transpose", "flip", "word"), [("zy", None, "zy"), ("zyy", None, "zyy"), (None, "a", "a")])
def test_letters_that_are_no_axes(transpose: str | None, flip: str | None, word: str) -> None:
    with pytest.raises(VolumeError, match=rf"{word}: name"):
        parse_turn(transpose, flip, None)


def test_nothing_is_left_of_an_image_that_is_moved_too_far() -> None:
    with pytest.raises(VolumeError, match="has 6 voxels along y, so moving it by -6 leaves nothing"):
        turned(image_of_array(STACK), Turn(shift=(0, -6, 0)))


def test_symmetries_are_all_different_and_keep_the_shape() -> None:
    """Eight in the plane of a square, 48 of a cube: the orders of their groups."""
    cube = np.arange(27).reshape(3, 3, 3)
    for shape, across, count in (((1, 3, 3), True, 8), ((3, 3, 3), True, 48), ((3, 3, 3), False, 16)):
        found = symmetries(shape, across_slices=across)
        images = {by_numpy(cube[: shape[0]], turn).tobytes() for turn in found}
        assert (len(found), len(images)) == (count, count)
        assert found[0].moves_nothing


def test_colours_are_turned_and_not_inverted() -> None:
    colored = np.random.default_rng(0).integers(0, 255, (1, 4, 5, 3)).astype(np.uint8)
    image = turned(image_of_array(colored), Turn((0, 2, 1)))
    np.testing.assert_array_equal(image.read(), colored.transpose(0, 2, 1, 3))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.float32])
def test_inverting_twice_gives_the_same_and_turns_the_order_round(dtype: type) -> None:
    stack = STACK.astype(dtype)
    image = inverted(image_of_array(stack))
    assert image.dtype == dtype
    np.testing.assert_array_equal(inverted(image).read(), stack)
    order = np.argsort(stack, axis=None, kind="stable")
    assert (np.diff(image.read().ravel()[order].astype(float)) <= 0).all()
