"""Border thinning: worked examples, a slow second reading of the rule, and its laws."""

import doctest
from collections import deque

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import label
from skimage.segmentation import watershed

from cristae.errors import ScoreError
from cristae.metrics import thinning
from cristae.metrics.thinning import frame, label_plane, thin_borders

UNHURRIED = settings(deadline=None)  # the first call may have to compile
MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans())


def plane(text):
    """An array from rows of digits; dots and blanks are 0."""
    return np.array([[0 if sign == "." else int(sign) for sign in row] for row in text.split()], np.int32)


def thin_slowly(mask):
    """The rule pixel by pixel, with sets and a queue; nothing shared with the code under test."""
    height, width = mask.shape
    objects, count = label(mask)
    if count == 0:
        return np.ones_like(objects)
    result = {(y, x): int(objects[y, x]) or None for y in range(height) for x in range(width)}
    around = ((0, -1), (-1, 0), (0, 1), (1, 0))  # (y, x) steps: left, up, right, down

    def neighbours(pixel):
        return [(pixel[0] + dy, pixel[1] + dx) for dy, dx in around if (pixel[0] + dy, pixel[1] + dx) in result]

    background = [(y, x) for x in range(width) for y in range(height) if result[y, x] is None]
    waiting = set(background)
    queue = deque(pixel for pixel in background if any(result[other] is not None for other in neighbours(pixel)))
    waiting -= set(queue)
    while queue:
        pixel = queue.popleft()
        for other in neighbours(pixel):
            if other in waiting:
                waiting.remove(other)
                queue.append(other)
        labels = {result[other] for other in neighbours(pixel)} - {None}
        if len(labels) == 1:
            result[pixel] = labels.pop()
    return np.array([[result[y, x] or 0 for x in range(width)] for y in range(height)], np.int32)


@pytest.mark.parametrize(
    ("mask", "thin"),
    [
        (
            "........ .11..11. .11..11. .11..11. ........",
            "1111.222 1111.222 1111.222 1111.222 1111.222",
        ),
        ("11.. 11.. ..11 ..11", "111. 11.2 1.22 .222"),
        ("...1 ..1. 1.1.", "33.1 3.2. 3.22"),
        (
            "111..11 111..11 .....11 ....... ..11... ..11...",
            "1111.22 1111.22 111.222 1..3.22 .3333.2 333333.",
        ),
        ("... ...", "111 111"),
        ("11 11", "11 11"),
        (".... .1..", "1111 1111"),
        ("1..1", "11.2"),
    ],
)
def test_worked_examples(mask, thin):
    found, expected = thin_borders(plane(mask)), plane(thin)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found > 0, expected > 0)
    pairs = set(zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len(set(found.ravel().tolist())) == len(set(expected.ravel().tolist()))


def test_the_visiting_order_shows():
    mask = plane("...1 ..1. 1.1.")
    by_column, by_row = thin_borders(mask) > 0, thin_borders(mask.T).T > 0
    np.testing.assert_array_equal(by_row, plane("1..1 1.1. 1.11") > 0)
    library = watershed(~(mask > 0), label(mask)[0], connectivity=1, watershed_line=True) > 0
    np.testing.assert_array_equal(library, plane("1..1 .11. 1.11") > 0)
    assert (by_column != by_row).any()


@UNHURRIED
@given(MASKS)
@example(np.eye(9, dtype=bool))
@example(np.indices((9, 9)).sum(axis=0) % 2 == 0)
def test_agrees_with_a_slow_second_reading(mask):
    np.testing.assert_array_equal(thin_borders(mask), thin_slowly(mask))


def test_agrees_on_larger_planes():
    rng = np.random.default_rng(3)
    for density in (0.01, 0.1, 0.5):
        mask = rng.random((60, 75)) < density
        np.testing.assert_array_equal(thin_borders(mask), thin_slowly(mask))


@UNHURRIED
@given(MASKS)
def test_laws(mask):
    objects, count = label(mask)
    thin = thin_borders(mask)
    np.testing.assert_array_equal(thin[mask], objects[mask])  # no object loses a pixel, and ids are the objects'
    assert set(np.unique(thin)) - {0} == set(range(1, max(count, 1) + 1))
    for a, b in ((thin[1:], thin[:-1]), (thin[:, 1:], thin[:, :-1])):  # no two segments touch
        assert not ((a > 0) & (b > 0) & (a != b)).any()
    again, segments = label(thin > 0)
    assert segments == max(count, 1)  # each segment hangs together
    assert len(set(zip(again.ravel().tolist(), thin.ravel().tolist(), strict=True))) == len(np.unique(thin))
    if count <= 1:
        assert (thin == 1).all()


@UNHURRIED
@given(MASKS)
def test_objects_are_numbered_as_scipy_does(mask):
    labels = frame(mask.shape)
    n = label_plane(np.ascontiguousarray(mask).view(np.uint8), 0, labels)
    expected, count = label(mask)
    assert n == count
    np.testing.assert_array_equal(labels[1:-1, 1:-1], expected)


def test_large_planes_with_winding_objects():
    rng = np.random.default_rng(0)
    for density in (0.4, 0.55, 0.6, 0.7):
        mask = rng.random((301, 257)) < density
        labels = frame(mask.shape)
        assert label_plane(mask.view(np.uint8), 0, labels) == label(mask)[1]
        np.testing.assert_array_equal(labels[1:-1, 1:-1], label(mask)[0])


def test_any_memory_layout_and_type():
    mask = np.zeros((6, 9), np.uint16)
    mask[1:3, 1:3] = mask[4:, 6:] = 300
    expected = thin_borders(mask > 0)
    np.testing.assert_array_equal(thin_borders(mask), expected)
    np.testing.assert_array_equal(thin_borders(np.asfortranarray(mask)), expected)
    np.testing.assert_array_equal(thin_borders(np.repeat(mask, 2, axis=1)[:, ::2]), expected)
    assert thin_borders(np.zeros((0, 4))).shape == (0, 4)


def test_only_planes():
    with pytest.raises(ScoreError, match="plane by plane"):
        thin_borders(np.zeros((2, 3, 4)))


def test_examples_of_the_documentation():
    result = doctest.testmod(thinning)
    assert (result.failed, result.attempted) == (0, 1)
