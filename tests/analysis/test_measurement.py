"""Objects of a class: against references that look at the whole volume, and the same for every grid of blocks."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from cell_data import SIZE, class_map, grid, random_cell
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist
from test_crofton import crossings

from cristae.analysis.cells import cells_of_classes, cells_of_mask
from cristae.analysis.census import take_census
from cristae.analysis.config import AnalysisOptions
from cristae.analysis.crofton import areas_nm2
from cristae.analysis.measurement import MeasuredMap, measure_class
from cristae.data.classes import Classes
from cristae.data.formats import open_image
from cristae.data.image import image_of_array

SHAPE = (10, 40, 36)
AROUND = {6: 1, 18: 2, 26: 3}


def measure(folder, classes, config=None, *, cells=None, edges=(10, 64, 64), name="mito", keep=False):
    cells = cells or cells_of_classes(classes)
    blocks = grid(classes.shape, edges)
    census = take_census(classes, cells, blocks.blocks, expected=(1,))
    measured = MeasuredMap(classes, cells, census, blocks)
    return measure_class(name, measured, folder, config or AnalysisOptions(), keep_map=keep)


def structure(connectivity):
    return ndimage.generate_binary_structure(3, AROUND[connectivity])


def same(first, second):
    """Whether rows are equal, NaN being equal to itself."""
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        left, right = dataclasses.astuple(a), dataclasses.astuple(b)
        assert all(x == y or (x != x and y != y) for x, y in zip(left, right, strict=True)), (a, b)


@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_sizes_against_the_whole_volume(tmp_path, connectivity):
    labels = random_cell(SHAPE)
    found = measure(tmp_path, class_map(labels), AnalysisOptions(connectivity=connectivity), edges=(5, 16, 20))
    ids, count = ndimage.label(labels == 2, structure(connectivity))
    assert count > 10
    assert [one.object for one in found.objects] == list(range(1, count + 1))
    for one, place in zip(found.objects, ndimage.find_objects(ids), strict=True):
        mask = ids == one.object
        assert one.voxels == mask.sum()
        assert one.volume_um3 == pytest.approx(mask.sum() * 40 * 10 * 12.5e-9)
        assert (one.z0, one.y0, one.x0) == tuple(axis.start for axis in place)
        assert (one.z1, one.y1, one.x1) == tuple(axis.stop for axis in place)
        middle = np.array(ndimage.center_of_mass(mask)) * SIZE
        assert (one.z_nm, one.y_nm, one.x_nm) == pytest.approx(tuple(middle))
        assert one.surface_um2 == pytest.approx(areas_nm2(crossings(mask), SIZE) * 1e-6)
        assert one.equivalent_diameter_nm**3 * np.pi / 6 == pytest.approx(one.volume_um3 * 1e9)
        edge = np.zeros(SHAPE, bool)
        edge[[0, -1]] = edge[:, [0, -1]] = edge[:, :, [0, -1]] = True
        assert one.touches_border == bool((mask & edge).any())
    (row,) = found.classes
    volumes = [one.volume_um3 for one in found.objects]
    assert (row.objects, row.voxels) == (count, (labels == 2).sum())
    assert row.fraction_of_cell == pytest.approx((labels == 2).sum() / (labels > 0).sum())
    assert row.median_volume_um3 == pytest.approx(np.median(volumes))
    assert row.mean_volume_um3 == pytest.approx(np.mean(volumes))
    assert row.surface_um2 == pytest.approx(areas_nm2(crossings(labels == 2), SIZE) * 1e-6)


def brute_distances(labels, membrane):
    """From every object's nearest voxel and centroid to the surface voxels of a mask, all pairs."""
    padded = np.pad(membrane, 1, mode="edge")
    inner = ndimage.binary_erosion(padded, ndimage.generate_binary_structure(3, 1), border_value=1)[1:-1, 1:-1, 1:-1]
    targets = np.argwhere(membrane & ~inner) * SIZE
    ids, count = ndimage.label(labels, structure(26))
    for number in range(1, count + 1):
        places = np.argwhere(ids == number)
        yield cdist(places * SIZE, targets).min(), cdist([places.mean(0) * SIZE], targets).min()


def test_distances_to_the_surface_of_the_cell(tmp_path):
    labels = random_cell(SHAPE)
    found = measure(tmp_path, class_map(labels), edges=(5, 16, 16))
    expected = list(brute_distances(labels == 2, labels > 0))
    assert [one.distance_to_membrane_nm for one in found.objects] == pytest.approx([a for a, _ in expected])
    assert [one.centroid_to_membrane_nm for one in found.objects] == pytest.approx([b for _, b in expected])
    assert max(a for a, _ in expected) > 20


def test_distances_to_a_class(tmp_path):
    labels = random_cell(SHAPE)
    found = measure(tmp_path, class_map(labels), AnalysisOptions(membrane="granule"), edges=(5, 16, 16))
    expected = list(brute_distances(labels == 2, labels == 3))
    assert [one.distance_to_membrane_nm for one in found.objects] == pytest.approx([a for a, _ in expected])
    assert [one.centroid_to_membrane_nm for one in found.objects] == pytest.approx([b for _, b in expected])
    own = measure(tmp_path / "own", class_map(labels), AnalysisOptions(membrane="granule"), name="granule")
    assert all(np.isnan(one.distance_to_membrane_nm) for one in own.objects)


def test_without_a_membrane_there_is_no_distance(tmp_path):
    labels = np.where(random_cell(SHAPE) == 2, 2, 0).astype(np.uint8)
    found = measure(tmp_path, class_map(labels), AnalysisOptions(membrane="granule"))
    assert all(np.isnan(one.distance_to_membrane_nm) for one in found.objects)
    full = measure(tmp_path / "full", class_map(np.full(SHAPE, 2, np.uint8)))
    assert [one.voxels for one in full.objects] == [np.prod(SHAPE)]
    assert np.isnan(full.objects[0].distance_to_membrane_nm)


def test_objects_and_membrane_that_overlap_have_distance_0(tmp_path):
    masks = np.zeros((2, *SHAPE), np.uint8)
    masks[0, :, :20], masks[1, 4:6, 5:9, 5:9], masks[1, 4:6, 30:33, 5:9] = 1, 1, 1
    classes = class_map(masks, Classes(names=("membrane", "mito"), exclusive=False))
    found = measure(tmp_path, classes, AnalysisOptions(membrane="membrane"), edges=(5, 16, 16))
    assert [one.distance_to_membrane_nm for one in found.objects] == [0.0, 110.0]
    assert [one.centroid_to_membrane_nm for one in found.objects] == pytest.approx(
        [np.hypot(np.hypot(125, 20), 6.25), np.hypot(np.hypot(120, 20), 6.25)]
    )


@settings(max_examples=12, deadline=None)
@given(edges=st.tuples(st.integers(2, 10), st.integers(5, 40), st.integers(5, 36)), seed=st.integers(0, 3))
def test_blocks_make_no_difference(tmp_path_factory, edges, seed):
    labels = random_cell(SHAPE, seed)
    classes = class_map(labels)
    numbers = np.where(np.arange(SHAPE[2]) < 17, 1, 2) * np.ones(SHAPE, np.uint8)
    cells = cells_of_mask(image_of_array(numbers.astype(np.uint8)), classes)
    config = AnalysisOptions(split=("mito",), split_depth_nm=10, min_um3=2e-5)
    whole = measure(tmp_path_factory.mktemp("whole"), classes, config, cells=cells)
    parts = measure(tmp_path_factory.mktemp("parts"), classes, config, cells=cells, edges=edges)
    assert whole.cut > 0
    assert (whole.cut, whole.too_large_to_cut) == (parts.cut, parts.too_large_to_cut)
    same(whole.objects, parts.objects)
    same(whole.classes, parts.classes)


def test_objects_of_touching_cells_stay_apart(tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 3:30, 3:33] = 2
    numbers = np.where(np.arange(SHAPE[2]) < 17, 5, 2) * np.ones(SHAPE, np.uint8)
    classes = class_map(labels)
    cells = cells_of_mask(image_of_array(numbers.astype(np.uint8)), classes)
    found = measure(tmp_path, classes, cells=cells)
    assert [(one.cell, one.object, one.voxels) for one in found.objects] == [(2, 1, 3 * 27 * 16), (5, 2, 3 * 27 * 14)]
    assert [(row.cell, row.objects, row.voxels) for row in found.classes if row.voxels] == [
        (2, 1, 3 * 27 * 16),
        (5, 1, 3 * 27 * 14),
    ]


def test_small_objects_are_not_listed_but_their_voxels_count(tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:4, 2:12, 2:12], labels[6, 20, 20], labels[8, 30:32, 30:32] = 2, 2, 2
    voxel = 40 * 10 * 12.5e-9
    found = measure(tmp_path, class_map(labels), AnalysisOptions(min_um3=4 * voxel), keep=True, edges=(10, 40, 36))
    assert [(one.object, one.voxels) for one in found.objects] == [(1, 200), (3, 4)]
    assert (found.classes[0].objects, found.classes[0].voxels) == (2, 205)
    kept = open_image(f"{tmp_path}/mito").read()
    assert kept.dtype == np.uint32
    assert np.unique(kept, return_counts=True)[1].tolist() == [np.prod(SHAPE) - 204, 200, 4]


def test_a_single_slice_has_no_border_in_z(tmp_path):
    labels = np.zeros((1, 30, 30), np.uint8)
    labels[0, 5:9, 5:9], labels[0, 28:, 3] = 2, 2
    found = measure(tmp_path, class_map(labels), edges=(1, 30, 30))
    assert [one.touches_border for one in found.objects] == [False, True]


def test_a_class_that_is_nowhere_has_a_row_of_zeros(tmp_path):
    labels = np.where(random_cell(SHAPE) == 2, 1, random_cell(SHAPE)).astype(np.uint8)
    found = measure(tmp_path, class_map(labels))
    (row,) = found.classes
    assert (row.voxels, row.objects, row.fraction_of_cell, row.surface_um2) == (0, 0, 0.0, 0.0)
    assert np.isnan(row.median_volume_um3)
    assert found.objects == ()


LARGE = """
import resource
from pathlib import Path
import numpy as np
from cristae.data.classes import Classes
from cristae.data.image import Image
from cristae.workflows.analyze import analyze

def read(box):
    z, y, x = (np.arange(a, b, dtype=np.float32) for a, b in zip(box.start, box.stop))
    z, y, x = z[:, None, None] * 4, y[None, :, None], x[None, None, :]
    cell = (z - 320) ** 2 + (y - 320) ** 2 + (x - 320) ** 2 < 300**2
    return cell.astype(np.uint8) + (cell & ((z % 64 - 32) ** 2 + (y % 64 - 32) ** 2 + (x % 64 - 32) ** 2 < 20**2))

image = Image(Path("made"), "made", (160, 640, 640), np.dtype(np.uint8), read, 1, (16, 128, 128), (32.0, 8.0, 8.0))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
found = analyze(image, classes=Classes(names=("background", "cell", "mito")))
print((peak() - before) / 1024, found.cells[0].voxels, len(found.objects))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_a_volume_is_never_held_in_memory():
    """65 million voxels, made as they are read: their object numbers alone would be 260 MB, their distances 520 MB."""
    shown = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True).stdout.split()
    assert float(shown[0]) < 750
    assert int(shown[1]) == pytest.approx(4 / 3 * np.pi * 300**3 / 4, rel=0.01)
    assert int(shown[2]) > 300
