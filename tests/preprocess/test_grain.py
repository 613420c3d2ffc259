"""The grain filter: the published facts, laws, and Higra's results on planes of every kind."""

import os
from pathlib import Path

import numpy as np
import pytest
from grain_planes import KINDS, TYPES, assert_same, filtered_by_higra, plane_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cristae.data.formats import open_image
from cristae.errors import VolumeError
from cristae.preprocess.grain import grain_filter, grain_filter_all
from cristae.preprocess.tree_of_shapes import border_mean, tree_of_shapes

PLANES = arrays(np.int16, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(-3, 3))
FLOATS = arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(-1e6, 1e6))
SEVENS = np.array([[0, 0, 0, 0, 0, 0], [0, 5, 5, 0, 0, 0], [0, 5, 5, 0, 2, 0], [0, 0, 0, 0, 0, 0], [9, 0, 0, 7, 7, 7],
                   [0, 0, 0, 7, 1, 7], [0, 0, 0, 7, 7, 7]], float)  # fmt: skip


def one(plane: np.ndarray, area: int) -> np.ndarray:
    """Filtered with one area."""
    (found,) = grain_filter(plane, [area])
    return found


def test_fact_4_a_block_with_a_hole() -> None:
    """7 x 7 of 1 with a 3 x 3 block of 3 and a 0 at its centre: 1 keeps all, 2 to 9 fill the hole, from 10 all is 1."""
    plane = np.ones((7, 7))
    plane[2:5, 2:5] = 3
    plane[3, 3] = 0
    filled = np.where(plane == 0, 3, plane)
    np.testing.assert_array_equal(one(plane, 1), plane)
    for area in range(2, 10):
        np.testing.assert_array_equal(one(plane, area), filled)
    for area in (10, 49):
        np.testing.assert_array_equal(one(plane, area), np.ones((7, 7)))


def test_fact_5_diagonal_pixels_are_two_shapes_bright_and_dark_alike() -> None:
    plane = np.zeros((6, 6))
    plane[[2, 3], [2, 3]] = 5
    np.testing.assert_array_equal(one(plane, 1), plane)
    assert not one(plane, 2).any()
    assert (one(5 - plane, 2) == 5).all()


def test_fact_6_a_shape_at_the_border_takes_its_mean() -> None:
    """8 x 8: a block with a hole, a dark block, and a 2 at the border, which becomes 2/28 and not the 0 around it."""
    plane = np.zeros((8, 8))
    plane[1:4, 1:4] = 10
    plane[2, 2], plane[0, 6] = 4, 2
    plane[5:7, 5:7] = -3
    expected = plane.copy()
    expected[2, 2], expected[0, 6] = 10, 2 / 28
    for area in (2, 3, 4):
        np.testing.assert_array_equal(one(plane, area), expected)
    expected[5:7, 5:7] = 0
    for area in range(5, 10):
        np.testing.assert_array_equal(one(plane, area), expected)
    expected[1:4, 1:4] = 0
    np.testing.assert_array_equal(one(plane, 10), expected)


def test_fact_7_shapes_at_the_border_and_inside() -> None:
    """With 2 the 9 becomes the mean 44/22, the 2 becomes 0, the 1 becomes 7; with 5 and 10 the blocks go, too."""
    expected = SEVENS.copy()
    expected[4, 0], expected[2, 4], expected[5, 4] = 2, 0, 7
    np.testing.assert_array_equal(one(SEVENS, 2), expected)
    expected[1:3, 1:3] = 0
    np.testing.assert_array_equal(one(SEVENS, 5), expected)
    expected[4:, 3:] = 2
    np.testing.assert_array_equal(one(SEVENS, 10), expected)


def test_fact_8_random_bytes() -> None:
    """64 x 64: sums and numbers of values with 10, 40 and 160; the negative is filtered alike."""
    plane = np.random.RandomState(0).randint(0, 256, (64, 64)).astype(float)
    ten, forty, large = grain_filter(plane, [10, 40, 160])
    assert (ten.sum(), len(np.unique(ten))) == (512171, 124)
    assert (forty.sum(), len(np.unique(forty))) == (523402, 49)
    assert (large == 129).all()
    np.testing.assert_array_equal(grain_filter(255 - plane, [10, 40, 160]), 255 - np.stack([ten, forty, large]))


def test_fact_12_the_papers_areas_in_percent_of_a_patch() -> None:
    """3200 of 65,536 pixels are 4.88 %, 650 are 0.99 %: a shape of the area stays, with a pixel less it goes."""
    shares = [round(100 * area / 256**2, 2) for area in (3200, 650)]
    assert shares == [4.88, 0.99]
    plane = np.zeros((256, 256), np.uint8)
    plane[100:125, 50:76] = 200
    assert int((plane > 0).sum()) == 650
    np.testing.assert_array_equal(one(plane, 650), plane)
    plane[100, 50] = 0
    assert not one(plane, 650).any()


@given(PLANES, st.integers(1, 40))
def test_the_negative_is_filtered_alike(plane: np.ndarray, area: int) -> None:
    area = min(area, plane.size)
    np.testing.assert_array_equal(one(-plane, area), -one(plane, area))


@given(FLOATS, st.integers(1, 20))
def test_flips_turns_and_negatives_of_floats_are_filtered_alike(plane: np.ndarray, area: int) -> None:
    """Exactly: the mean of the border does not depend on the order of its pixels either."""
    area = min(area, plane.size)
    expected = one(plane, area)
    np.testing.assert_array_equal(one(plane[::-1], area), expected[::-1])
    np.testing.assert_array_equal(one(plane[:, ::-1], area), expected[:, ::-1])
    np.testing.assert_array_equal(one(np.rot90(plane), area), np.rot90(expected))
    np.testing.assert_array_equal(one(-plane, area), -expected)


@given(PLANES, st.integers(1, 40))
def test_away_from_the_border_the_filter_is_idempotent(plane: np.ndarray, area: int) -> None:
    """On a plane with a border of one value, which is its mean."""
    padded = np.pad(plane, 2)
    area = min(area, padded.size)
    once = one(padded, area)
    np.testing.assert_array_equal(one(once, area), once)


@given(PLANES)
def test_an_area_of_one_changes_nothing_and_several_are_filtered_as_each_alone(plane: np.ndarray) -> None:
    areas = [area for area in (1, 2, 5, 30) if area <= plane.size]
    found = grain_filter(plane, areas)
    np.testing.assert_array_equal(found[0], plane)
    np.testing.assert_array_equal(found, np.stack([one(plane, area) for area in areas]))


@given(PLANES, st.integers(2, 30))
def test_only_values_of_the_plane_and_the_mean_occur_and_contours_do_not_move(plane: np.ndarray, area: int) -> None:
    """Where the result changes from pixel to pixel, the plane does, too."""
    found = one(plane, min(area, plane.size))
    assert set(np.unique(found)) <= {*np.unique(plane), np.rint(border_mean(plane))}
    for axis in (0, 1):
        assert not (np.diff(found, axis=axis).astype(bool) & ~np.diff(plane, axis=axis).astype(bool)).any()


@given(PLANES)
def test_shapes_are_nested_and_their_areas_add_up(plane: np.ndarray) -> None:
    tree = tree_of_shapes(plane)
    own = np.bincount(tree.node.ravel(), minlength=len(tree.parent))
    children = np.bincount(tree.parent[1:], tree.area_px[1:], minlength=len(tree.parent))
    np.testing.assert_array_equal(tree.area_px, own + children)
    assert tree.area_px[0] == plane.size
    assert (tree.parent[1:] < np.arange(1, len(tree.parent))).all()
    np.testing.assert_array_equal(tree.level[tree.node], plane)


def test_integers_round_the_mean_of_the_border() -> None:
    """A 2 x 2 plane of 0, 0, 0 and 7 has the mean 1.75, which bytes hold as 2."""
    plane = np.array([[0, 0], [0, 7]], np.uint8)
    assert one(plane, 4).tolist() == [[2, 2], [2, 2]]
    assert (one(plane.astype(np.float32), 4) == 1.75).all()


def test_many_planes_at_once_are_filtered_as_each_alone() -> None:
    planes = np.random.default_rng(0).random((7, 20, 31)).astype(np.float32)
    expected = np.stack([grain_filter(plane, [3, 40]) for plane in planes])
    for threads in (1, 2, 5):
        np.testing.assert_array_equal(grain_filter_all(planes, [3, 40], threads=threads), expected)
    assert grain_filter_all(planes[:0], [3, 40]).shape == (0, 2, 20, 31)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint64, np.float16, ">u2", ">f4"])
def test_other_types_of_numbers_keep_their_type(dtype: str) -> None:
    plane = np.random.default_rng(1).integers(0, 100, (20, 30)).astype(dtype)
    found = one(plane, 9)
    assert found.dtype == plane.dtype
    expected = one(plane.astype(np.float64), 9)
    np.testing.assert_array_equal(found, (expected if plane.dtype.kind == "f" else np.rint(expected)).astype(dtype))


@pytest.mark.parametrize(
    ("plane", "message"),
    [
        (np.zeros((2, 3, 4)), "shape"),
        (np.zeros((0, 3)), "shape"),
        (np.zeros((3, 3), bool), "type bool"),
        (np.broadcast_to(np.uint8(0), (2**14, 2**14)), "too large"),
        (np.broadcast_to(np.uint8(0), (1, 2**27)), "too large"),
        (np.full((3, 3), np.nan), "NaN"),
        (np.array([[0.0, np.inf]]), "infinite"),
    ],
)
def test_what_has_no_shapes_is_refused(plane: np.ndarray, message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        tree_of_shapes(plane)


@pytest.mark.parametrize("area", [0, -3, 13])
def test_areas_out_of_range_are_refused(area: int) -> None:
    with pytest.raises(VolumeError, match="have 1 to 12 pixels"):
        grain_filter(np.zeros((3, 4)), [2, area])


def compare(kind: str, dtype: type, shape: tuple[int, int], rng: np.random.Generator) -> None:
    """Of one random plane with several areas."""
    plane = plane_of(kind, dtype, shape, rng)
    areas = sorted({1, *(int(area) for area in plane.size ** rng.uniform(0, 1, 4))})
    assert_same(grain_filter(plane, areas), filtered_by_higra(plane, areas), border_mean(plane))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TYPES)
def test_planes_are_filtered_as_by_higra(kind: str, dtype: type) -> None:
    rng = np.random.default_rng([KINDS.index(kind), TYPES.index(dtype)])
    for shape in ((1, 1), (7, 5), (23, 40), (64, 64)):
        compare(kind, dtype, shape, rng)


@pytest.mark.slow
def test_two_thousand_planes_are_filtered_as_by_higra() -> None:
    rng = np.random.default_rng(7)
    for number in range(2000):
        kind, dtype = KINDS[number % len(KINDS)], TYPES[number // len(KINDS) % len(TYPES)]
        y, x = (int(side) for side in np.exp(rng.uniform(0, np.log(120), 2)))
        compare(kind, dtype, (y, x), rng)


@pytest.mark.data
def test_slices_of_public_sets_are_filtered_as_by_higra() -> None:
    """Patches of 256 x 256 with the paper's areas, of every set that is there."""
    if not os.environ.get("CRISTAE_DATA"):
        pytest.skip("CRISTAE_DATA does not name a folder with the public data sets")
    root, rng = Path(os.environ["CRISTAE_DATA"]), np.random.default_rng(3)
    places = (
        "drosophila-vnc/raw/0*.tif",
        "isbi2012/*volume.tif",
        "emnet-cardiac/images/*.tif",
        "platelet-em/*images.tif",
    )
    files = [path for place in places for path in sorted(root.glob(place))[:6]]
    assert files, "no image of these sets"
    for path in files:
        image = open_image(path)
        plane = image.read()[rng.integers(image.shape[0])]
        y, x = (int(rng.integers(max(1, side - 255))) for side in plane.shape)
        patch = plane[y : y + 256, x : x + 256]
        for values in (patch, (patch / np.float32(255)).astype(np.float32)):
            assert_same(grain_filter(values, [3200, 650]), filtered_by_higra(values, [3200, 650]), border_mean(values))
