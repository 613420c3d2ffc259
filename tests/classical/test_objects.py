"""Objects: which there are, how they are described, and what the second stage makes of them."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import regionprops

from cristae.classical.config import ObjectsConfig
from cristae.classical.objects import describe_objects, find_objects, object_features
from cristae.data.classes import Classes

ONE = Classes(names=("background", "disc"))
CONFIG = ObjectsConfig(threshold=0.4, smallest_vox=3, surround_vox=2)
PICTURE = """
..........
.####...#.
.####...#.
.####..#..
.......##.
.##.......
..........
"""


def picture() -> np.ndarray:
    return np.array([[mark == "#" for mark in line] for line in PICTURE.split()])


def test_pieces_are_joined_across_edges_and_small_ones_dropped() -> None:
    """The right line is cut where its parts touch at a corner; the part of two voxels is no object."""
    (objects,) = find_objects(np.where(picture(), 0.41, 0.4)[None].astype(np.float32), ONE, CONFIG)
    assert objects.max() == 2
    assert np.argwhere(objects == 1).tolist() == [[y, x] for y in (1, 2, 3) for x in (1, 2, 3, 4)]
    assert np.argwhere(objects == 2).tolist() == [[3, 7], [4, 7], [4, 8]]
    assert objects.dtype == np.int32


def test_of_exclusive_classes_the_most_probable_counts() -> None:
    classes = Classes(names=("background", "a", "b"))
    probabilities = np.zeros((3, 4, 9), np.float32)
    probabilities[0] = 0.36
    probabilities[1, :, :3] = 0.37
    probabilities[2, :, 3:6] = 0.38
    (objects,) = find_objects(probabilities, classes, CONFIG)
    assert objects.tolist() == [[1] * 3 + [2] * 3 + [0] * 3] * 4


def test_overlapping_classes_have_images_of_their_own() -> None:
    classes = Classes(names=("a", "b"), exclusive=False)
    probabilities = np.zeros((2, 4, 9), np.float32)
    probabilities[0, :, :5] = probabilities[1, :, 3:] = 0.9
    first, second = find_objects(probabilities, classes, CONFIG)
    assert (first > 0).sum() == 20
    assert (second > 0).sum() == 24


def described(
    objects: np.ndarray, grey: np.ndarray, probabilities: np.ndarray, config: ObjectsConfig = CONFIG
) -> dict[str, np.ndarray]:
    features = describe_objects(objects, grey, probabilities, config)
    assert features.dtype == np.float32
    return dict(zip(object_features(ONE, config), features.T, strict=True))


LINES = """
....................
.#.#............#...
..#....#######..#...
.#.#...#.....#..#...
.......#.....#..###.
.#####.#######..#...
................#...
....................
"""


def test_skeletons_by_hand() -> None:
    """Lines one pixel wide: a cross of four slanted arms, a straight line, a ring, whose four corners are cut, and a
    stem with an arm, whose corners are cut too. A pixel where three or more meet is no part of a branch."""
    mask = np.array([[mark == "#" for mark in line] for line in LINES.split()])
    objects, _ = ndimage.label(mask, np.ones((3, 3)))
    config = CONFIG.model_copy(update={"skeleton": True})
    still = np.ones(objects.shape, np.float32)
    found = described(objects.astype(np.int32), still, still[None], config)
    order = {"cross": objects[2, 2], "line": objects[5, 3], "ring": objects[2, 7], "stem": objects[1, 16]}
    expected = {  # length, branches, ends, holes
        "cross": (4 * np.sqrt(2), 4, 4, 0),
        "line": (4, 1, 2, 0),
        "ring": (10 + 4 * np.sqrt(2), 1, 0, 1),
        "stem": (4 + 2 * np.sqrt(2), 3, 3, 0),
    }
    for name, (length, branches, ends, holes) in expected.items():
        place = order[name] - 1
        assert found["length"][place] == pytest.approx(length), name
        assert (found["branches"][place], found["ends"][place], found["holes"][place]) == (branches, ends, holes), name
        assert found["mean branch length"][place] == pytest.approx(length / branches), name


def test_thick_objects_are_thinned_first() -> None:
    """A bar of 3 x 21 pixels, straight and upright, has the length of its middle and no branches but one."""
    objects = np.zeros((40, 40), np.int32)
    objects[2:5, 2:23], objects[10:31, 30:33] = 1, 2
    still = np.ones(objects.shape, np.float32)
    found = described(objects, still, still[None], CONFIG.model_copy(update={"skeleton": True}))
    assert all(17 <= length <= 20 for length in found["length"])
    assert found["branches"].tolist() == [1, 1]
    assert found["ends"].tolist() == [2, 2]


def test_a_rectangle_by_hand() -> None:
    """3 x 4 voxels; the variance of n voxels in a row is (n^2 - 1) / 12, and 1/12 of each square itself."""
    objects = picture().astype(np.int32)
    objects[:, 6:] = objects[5:] = 0
    grey = np.where(objects, 2.0, 1.0).astype(np.float32)
    grey[1, 1] = 5
    grey[0, 1:5] = 0  # within the rim
    found = {name: float(value[0]) for name, value in described(objects, grey, (grey / 10)[None]).items()}
    assert (found["area"], found["height"], found["width"]) == (12, 3, 4)
    assert found["major"] == pytest.approx(4 * np.sqrt(16 / 12))
    assert found["minor"] == pytest.approx(4 * np.sqrt(9 / 12))
    assert found["elongation"] == pytest.approx(4 / 3)
    assert found["compactness"] == pytest.approx(4 * np.pi * 12 / 14**2)
    assert found["fill"] == pytest.approx(3 / np.pi)
    assert found["mean"] == pytest.approx(2.25)
    assert found["spread"] == pytest.approx(np.sqrt(9 / 12 - 0.25**2))
    assert (found["darkest"], found["brightest"]) == (2, 5)
    # Within two voxels: one row above (the image ends), two rows below, two columns at the right, one at the left.
    distance = np.array([[min((y - a) ** 2 + (x - b) ** 2 for a in (1, 2, 3) for b in (1, 2, 3, 4)) for x in range(10)]
                         for y in range(7)])  # fmt: skip
    rim = grey[(distance > 0) & (distance <= 4)].mean()
    assert found["rim"] == pytest.approx(rim)
    assert found["contrast"] == pytest.approx(2.25 - rim)
    assert found["mean probability of disc"] == pytest.approx(0.225)
    assert found["spread of probability of disc"] == pytest.approx(found["spread"] / 10)


def test_shapes_are_those_of_scikit_image() -> None:
    """But for the variance of 1/12 of a square voxel, which scikit-image leaves out of the axes."""
    rng = np.random.default_rng(0)
    objects, count = ndimage.label(ndimage.gaussian_filter(rng.standard_normal((90, 80)), 3) > 0.05)
    found = described(objects.astype(np.int32), np.ones(objects.shape, np.float32), np.ones((1, 90, 80), np.float32))
    regions = regionprops(objects)
    assert count == len(regions) > 5
    assert np.allclose(found["area"], [region.area for region in regions])
    for name, other in (("major", "axis_major_length"), ("minor", "axis_minor_length")):
        points = np.sqrt(np.maximum(found[name] ** 2 - 16 / 12, 0))
        assert np.allclose(points, [getattr(region, other) for region in regions], rtol=1e-4, atol=1e-3)


def test_nothing_found_is_no_row() -> None:
    nothing = np.zeros((5, 6), np.int32)
    features = describe_objects(nothing, nothing.astype(np.float32), np.zeros((1, 5, 6), np.float32), CONFIG)
    assert features.shape == (0, len(object_features(ONE, CONFIG)))


def test_an_object_that_fills_the_slice_has_no_contrast() -> None:
    everything = np.ones((5, 6), np.int32)
    found = described(everything, np.full((5, 6), 3.0, np.float32), np.ones((1, 5, 6), np.float32))
    assert (found["rim"][0], found["contrast"][0]) == (3, 0)
