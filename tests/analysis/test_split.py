"""Cutting objects that touch."""

import numpy as np
import pytest
from cell_data import class_map, grid
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cristae.analysis.cells import cells_of_classes
from cristae.analysis.census import take_census
from cristae.analysis.config import AnalysisOptions
from cristae.analysis.object_map import ObjectMap
from cristae.analysis.objects import label_objects, measure_objects
from cristae.analysis.split import split_objects
from cristae.postprocessing.necks import cut_mask

CUBES = (10.0, 10.0, 10.0)
FLAT = (40.0, 10.0, 10.0)


def balls(shape, middles, radius_nm, size=CUBES):
    places = np.indices(shape).astype(float)
    found = np.zeros(shape, bool)
    for middle in middles:
        distance = sum(((axis - at) * edge) ** 2 for axis, at, edge in zip(places, middle, size, strict=True))
        found |= distance <= radius_nm**2
    return found


@pytest.mark.parametrize(
    ("size", "shape", "z"), [(CUBES, (30, 30, 50), 15), (FLAT, (9, 30, 50), 4)], ids=["cubes", "flat"]
)
def test_two_balls_that_touch_are_cut_at_the_neck(size, shape, z):
    mask = balls(shape, [(z, 15, 14), (z, 15, 34)], 110, size)
    assert ndimage.label(mask)[1] == 1
    pieces = cut_mask(mask, size, 20)
    assert pieces.max() == 2
    assert ((pieces > 0) == mask).all()
    left = np.broadcast_to(np.arange(shape[2]) < 24, shape)
    right = np.broadcast_to(np.arange(shape[2]) > 24, shape)
    assert (pieces[mask & left] == 1).all()
    assert (pieces[mask & right] == 2).all()


def test_the_depth_decides():
    """Two balls of 110 nm whose neck has a radius of about 46 nm: 64 nm less."""
    mask = balls((30, 30, 50), [(15, 15, 14), (15, 15, 34)], 110)
    assert cut_mask(mask, CUBES, 40).max() == 2
    assert cut_mask(mask, CUBES, 80).max() == 1


def test_a_ball_a_rod_and_a_full_box_stay_whole():
    assert cut_mask(balls((30, 30, 30), [(15, 15, 15)], 120), CUBES, 10).max() == 1
    rod = balls((20, 20, 60), [(10, 10, x) for x in np.arange(10, 50, 0.5)], 60)
    assert cut_mask(rod, CUBES, 10).max() == 1
    assert cut_mask(np.ones((4, 5, 6), bool), CUBES, 10, open_sides=np.ones((3, 2), bool)).max() == 1


def test_the_edge_of_the_volume_is_no_surface():
    """Half a ball at the edge is as thick as a whole one when the object may go on beyond."""
    mask = balls((21, 21, 40), [(10, 10, 0), (10, 10, 18)], 100)
    ends = np.zeros((3, 2), bool)
    ends[2, 0] = True
    assert cut_mask(mask, CUBES, 30, open_sides=ends).max() == 2
    assert cut_mask(mask, CUBES, 30).max() == 1


def test_a_single_slice_is_cut_in_its_plane():
    mask = balls((1, 40, 60), [(0, 20, 18), (0, 20, 40)], 130, FLAT)
    sides = np.zeros((3, 2), bool)
    sides[0] = True
    assert cut_mask(mask, FLAT, 20, open_sides=sides).max() == 2


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), depth=st.sampled_from([5.0, 10.0, 20.0]))
def test_pieces_partition_the_object(seed, depth):
    rng = np.random.default_rng(seed)
    middles = rng.uniform(5, 25, (6, 3))
    mask = balls((30, 30, 30), middles, 70)
    pieces = cut_mask(mask, CUBES, depth)
    assert ((pieces > 0) == mask).all()
    found, first = np.unique(pieces, return_index=True)
    assert found[found > 0].tolist() == list(range(1, pieces.max() + 1))
    assert (np.diff(first[found > 0]) > 0).all()
    for number in range(1, pieces.max() + 1):
        assert ndimage.label(pieces == number, np.ones((3, 3, 3)))[1] == 1
    moved = cut_mask(np.pad(mask, ((3, 1), (2, 0), (0, 5))), CUBES, depth)[3:-1, 2:, :-5]
    np.testing.assert_array_equal(moved, pieces)


def labelled(folder, mask):
    classes = class_map(mask.astype(np.uint8) * 2, size=CUBES)
    cells, blocks = cells_of_classes(classes), grid(mask.shape, (8, 16, 16))
    census = take_census(classes, cells, blocks.blocks)
    store = ObjectMap(folder / "mito", classes, blocks.edges, name="mito")
    objects = label_objects("mito", classes, cells, census, store, AnalysisOptions().connectivity)
    return objects, measure_objects(objects, blocks.blocks), blocks.blocks


def test_new_pieces_take_numbers_after_all_objects(tmp_path):
    pair = [(15, 15, 14), (15, 15, 34)]
    mask = np.concatenate([balls((30, 30, 50), pair, 110), balls((30, 30, 50), pair[:1], 60)], axis=1)
    objects, sums, blocks = labelled(tmp_path, mask)
    assert objects.count == 2
    cut = split_objects(objects, sums, CUBES, 20)
    assert (cut.cut, cut.objects.count, cut.too_large) == (1, 3, ())
    assert cut.objects.cell_of.tolist() == [-1, 0, 0, 0]
    ids = cut.objects.map.read(grid(mask.shape, mask.shape).blocks[0])
    assert ids[15, 15, 14] == 1
    assert ids[15, 15, 34] == 3
    assert ids[15, 45, 14] == 2
    assert ((ids > 0) == mask).all()
    assert measure_objects(cut.objects, blocks).voxels.sum() == mask.sum()


def test_objects_that_do_not_fit_stay_whole_and_are_named(tmp_path):
    objects, sums, _ = labelled(tmp_path, balls((30, 30, 50), [(15, 15, 14), (15, 15, 34)], 110))
    cut = split_objects(objects, sums, CUBES, 20, largest_box=10_000)
    assert (cut.cut, cut.objects.count, cut.too_large) == (0, 1, (1,))
