"""Shares of the cell: hand-worked numbers, cells from masks, from the classes and from a neighbour."""

import numpy as np
import pytest
from cell_data import CELL, blobs, class_map, grid, random_cell
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.analysis.cells import cells_near, cells_of_classes, cells_of_mask
from cristae.analysis.census import numbers_in, take_census
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.errors import ScoreError

SHAPE = (9, 30, 34)


def census(classes, cells, edges=(4, 16, 16), expected=()):
    return take_census(classes, cells, grid(classes.shape, edges).blocks, expected=expected)


def test_hand_worked_fractions():
    """Ten voxels of the cell with labels 1 1 1 1 1 1 2 2 2 3, and three voxels of label 2 outside."""
    labels = np.array([1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 2, 2, 2], np.uint8).reshape(1, 1, 13)
    mask = (np.arange(13) < 10).astype(np.uint8).reshape(1, 1, 13)
    classes = class_map(labels)
    found = census(classes, cells_of_mask(image_of_array(mask), classes))
    assert found.cells == (1,)
    assert found.cell_voxels.tolist() == [10]
    np.testing.assert_allclose(found.fractions(), [[0.6, 0.3, 0.1]], atol=1e-12)
    whole = census(classes, cells_of_classes(classes))
    np.testing.assert_allclose(whole.fractions(), [[6 / 13, 6 / 13, 1 / 13]])


def test_every_cell_has_its_own_row():
    labels = random_cell(SHAPE)
    numbers = np.zeros(SHAPE, np.uint32)
    numbers[:, :, :12], numbers[:, 5:, 12:30] = 70_001, 9
    classes = class_map(labels)
    found = census(classes, cells_of_mask(image_of_array(numbers), classes))
    assert found.cells == (9, 70_001)
    for place, number in enumerate(found.cells):
        inside = labels[numbers == number]
        assert found.cell_voxels[place] == inside.size
        assert found.class_voxels[place].tolist() == [int((inside == c).sum()) for c in (1, 2, 3)]


def test_voxels_that_do_not_count_are_in_no_cell():
    labels, valid = random_cell(SHAPE), blobs(SHAPE, 0.5, 9).astype(np.uint8)
    for make in (cells_of_classes, lambda c: cells_of_mask(image_of_array(np.ones(SHAPE, np.uint8)), c)):
        classes = class_map(labels, valid=valid)
        found = census(classes, make(classes))
        assert found.class_voxels[0].tolist() == [int(((labels == c) & (valid > 0)).sum()) for c in (1, 2, 3)]
    assert found.cell_voxels[0] == (valid > 0).sum()


def test_overlapping_classes_may_add_up_to_more_than_the_cell():
    masks = np.stack([blobs(SHAPE, 0.5, 1), blobs(SHAPE, 0.6, 2)]).astype(np.uint8)
    classes = class_map(masks, Classes(names=("membrane", "mito"), exclusive=False))
    found = census(classes, cells_of_classes(classes))
    union = (masks > 0).any(0).sum()
    assert found.cell_voxels[0] == union
    np.testing.assert_allclose(found.fractions()[0], (masks > 0).sum((1, 2, 3)) / union)


def test_a_cell_without_voxels_has_no_fractions():
    classes = class_map(np.zeros(SHAPE, np.uint8))
    found = census(classes, cells_of_classes(classes), expected=(1,))
    assert found.cell_voxels.tolist() == [0]
    assert np.isnan(found.fractions()).all()


@settings(max_examples=25, deadline=None)
@given(
    edges=st.tuples(*[st.integers(2, 20)] * 3),
    margin=st.sampled_from([0.0, 10.0, 25.0, 40.0, 57.3, 120.0]),
    size=st.sampled_from([(40.0, 10.0, 12.5), (10.0, 10.0, 10.0), (5.0, 20.0, 10.0)]),
    seed=st.integers(0, 5),
)
def test_the_neighbourhood_of_known_cells_by_brute_force(edges, margin, size, seed):
    shape = (7, 13, 11)
    rng = np.random.default_rng(seed)
    known = np.zeros(shape, np.uint8)
    for number in (3, 7):
        known[tuple(rng.integers(0, n, 4) for n in shape)] = number
    labels = rng.integers(0, 3, shape).astype(np.uint8)
    classes = class_map(labels, size=size)
    cells = cells_near(image_of_array(known), classes, margin)
    places = np.indices(shape).reshape(3, -1).T * size
    near = {
        number: np.linalg.norm(places[:, None] - places[(known == number).ravel()][None], axis=2).min(1)
        for number in (3, 7)
    }
    expected = np.where(near[7] < near[3] - 1e-9, 7, 3)
    expected[np.minimum(near[3], near[7]) > margin + 1e-9] = 0
    expected = expected.reshape(shape) * (labels > 0)
    for block in grid(shape, edges).blocks:
        np.testing.assert_array_equal(cells.read(block), expected[block.slices])


def test_masks_that_do_not_fit_are_refused():
    classes = class_map(random_cell(SHAPE))
    with pytest.raises(ScoreError, match=r"shape \(9, 30, 33\), the map \(9, 30, 34\)"):
        cells_of_mask(image_of_array(np.ones((9, 30, 33), np.uint8)), classes)
    with pytest.raises(ScoreError, match="whole numbers"):
        cells_near(image_of_array(np.ones(SHAPE, np.float32)), classes, 10)
    negative = cells_of_mask(image_of_array(np.full(SHAPE, -1, np.int16)), classes)
    with pytest.raises(ScoreError, match="numbers of cells lie between"):
        negative.read(grid(SHAPE, SHAPE).blocks[0])


def test_a_margin_that_memory_cannot_hold_is_refused(monkeypatch):
    monkeypatch.setattr("cristae.analysis.cells._WIDEST", 1000)
    near = cells_near(image_of_array(np.ones(SHAPE, np.uint8)), class_map(random_cell(SHAPE)), 200)
    with pytest.raises(ScoreError, match="smaller margin"):
        near.read(grid(SHAPE, SHAPE).blocks[0])


def test_numbers_of_cells_are_listed():
    numbers = np.zeros(SHAPE, np.uint16)
    numbers[3, 4, 5], numbers[8, 29, 33] = 12, 4
    classes = class_map(random_cell(SHAPE), CELL)
    assert numbers_in(cells_of_mask(image_of_array(numbers), classes).read, grid(SHAPE, (4, 7, 9)).blocks) == (4, 12)
