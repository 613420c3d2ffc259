"""Object ids as two classes, interior and boundary, against independent references made with scipy."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt, label

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.description import InstanceLabels
from cristae.data.image import image_of_array
from cristae.data.label_sources import LabelSource
from cristae.data.labelling import Labelling, open_labelling
from cristae.errors import CristaeError, LabelError, VoxelSizeError

CLASSES = Classes(names=("background", "mito", "rim"))
INTERIOR, BOUNDARY, UNLABELLED = 1, 2, 9
AROUND = np.ones((3, 3, 3), bool)
CUBE, PLATE, ODD = (10.0, 10.0, 10.0), (50.0, 4.0, 4.0), (40.0, 5.9, 7.1)
SHAPES = st.one_of(
    st.tuples(st.just(1), st.integers(1, 7), st.integers(1, 7)),
    st.tuples(st.integers(2, 4), st.integers(1, 5), st.integers(1, 5)),
)
IDS = arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 0, 1, 1, 2, 3, UNLABELLED]))
BETWEEN = st.sampled_from(["objects", "all"])
WIDTHS = st.sampled_from([None, 10.0, 14.2, 20.0, 31.0, 100.0])


def labelling(
    ids: np.ndarray,
    *,
    size: tuple[float, float, float] | None = CUBE,
    classes: Classes = CLASSES,
    slices: tuple[int, ...] | None = None,
    **fields: object,
) -> Labelling:
    """Labels of an image of which `slices` have ids, one of `ids` each; all where None."""
    config = InstanceLabels.model_validate(
        {"path": "ids.tif", "to": "interior_and_boundary", "class_name": "mito", "boundary_name": "rim"}
        | {"unlabelled": [UNLABELLED]}
        | fields
    )
    file, places = image_of_array(ids), range(len(ids)) if slices is None else slices
    shape = (len(ids) if slices is None else 10, *ids.shape[1:])
    source = LabelSource((shape[0], shape[1], shape[2]), {z: (file, place) for place, z in enumerate(places)})
    image = image_of_array(np.zeros(shape, np.uint8))
    return open_labelling(config, classes, image, {"": source}, name="cell", voxel_size_nm=size)


def classes_of(ids: np.ndarray, **fields: object) -> np.ndarray:
    return labelling(ids, **fields).labels[0].read()  # type: ignore[arg-type]


def touching(ids: np.ndarray, between: str) -> np.ndarray:
    """Voxels of objects with another object, or anything else that is known, among their 26 neighbours."""
    marked = np.zeros(ids.shape, bool)
    for one in set(np.unique(ids)) - {0, UNLABELLED}:
        own, others = ids == one, (ids != one) & (ids != UNLABELLED)
        if between == "objects":
            marked |= own & binary_dilation(others & (ids != 0), AROUND)
        else:
            marked |= own & ~binary_erosion(~others, AROUND, border_value=1)
    return marked


def within(ids: np.ndarray, between: str, size: tuple[float, float, float], width: float) -> np.ndarray:
    """Voxels of objects at most half the width from a point that different ids share.

    On a grid twice as fine voxels have their centres at odd places, and the nearest point of a face, an edge or a
    corner has a place of its own, so that scipy's distances are exact.
    """
    counted = (ids != UNLABELLED) & ((ids != 0) | (between == "all"))
    fine = [2 * n + 1 for n in ids.shape]
    apart = np.ones(fine, bool)
    for place in product(*map(range, fine)):
        voxels = tuple(slice(max(0, (p - 1) // 2), p // 2 + 1) for p in place)
        apart[place] = len(np.unique(ids[voxels][counted[voxels]])) < 2
    if apart.all():
        return np.zeros(ids.shape, bool)
    distances = distance_transform_edt(apart, sampling=np.array(size) / 2)[1::2, 1::2, 1::2]
    near: np.ndarray = (distances <= width / 2 + 1e-6) & (ids != 0) & (ids != UNLABELLED)
    return near


@given(ids=IDS, size=st.sampled_from([CUBE, PLATE, ODD]), width=WIDTHS, between=BETWEEN)
@settings(max_examples=150, deadline=None)
def test_the_boundary_is_that_of_scipy(
    ids: np.ndarray, size: tuple[float, float, float], width: float | None, between: str
) -> None:
    found = classes_of(ids, size=size, width_nm=width, between=between)
    marked = touching(ids, between) if width is None else within(ids, between, size, width)
    assert np.array_equal(found == BOUNDARY, marked)
    assert np.array_equal(found == INTERIOR, (ids != 0) & (ids != UNLABELLED) & ~marked)


@given(ids=IDS, width=WIDTHS, between=BETWEEN)
@settings(max_examples=60, deadline=None)
def test_both_classes_together_are_the_objects(ids: np.ndarray, width: float | None, between: str) -> None:
    both = classes_of(ids, width_nm=width, between=between) != 0
    alone = {"to": "foreground", "boundary_name": None, "classes": Classes(names=("background", "mito"))}
    assert np.array_equal(both, classes_of(ids, **alone) == 1)


@given(ids=IDS, width=st.sampled_from([None, 17.4, 30.0]), between=BETWEEN)
@settings(max_examples=100, deadline=None)
def test_components_of_the_interior_never_join_two_objects(ids: np.ndarray, width: float | None, between: str) -> None:
    """However components are counted: 26 neighbours reach farthest. Cubes of 10 nm are 17.4 nm across, rounded up."""
    parts, count = label(classes_of(ids, width_nm=width, between=between) == INTERIOR, AROUND)
    assert all(len(np.unique(ids[parts == part])) == 1 for part in range(1, count + 1))


@given(ids=IDS, width=WIDTHS, between=BETWEEN, sides=st.tuples(*[st.integers(1, 3)] * 3))
@settings(max_examples=60, deadline=None)
def test_blocks_make_no_difference(
    ids: np.ndarray, width: float | None, between: str, sides: tuple[int, int, int]
) -> None:
    image = labelling(ids, size=ODD, width_nm=width, between=between).labels[0]
    blocks = np.zeros(ids.shape, np.uint8)
    for box in Box.of_shape(ids.shape).blocks(sides):
        blocks[box.slices] = image.read(box)
    assert np.array_equal(blocks, image.read())


def test_two_that_touch_and_one_alone_by_hand() -> None:
    ids = np.array([[[0, 1, 1, 1, 2, 2, 2, 0, 3, 3, 3]]], np.uint64)
    assert classes_of(ids)[0, 0].tolist() == [0, 1, 1, 2, 2, 1, 1, 0, 1, 1, 1]
    assert classes_of(ids, between="all")[0, 0].tolist() == [0, 2, 1, 2, 2, 1, 2, 0, 2, 1, 1]
    # Voxel centres lie 5, 15, 25 nm from the wall between the two.
    assert classes_of(ids, width_nm=30)[0, 0].tolist() == [0, 1, 2, 2, 2, 2, 1, 0, 1, 1, 1]


def test_objects_that_meet_at_a_corner_touch() -> None:
    ids = np.array([[[1, 1, 0], [1, 1, 0], [0, 0, 2]]], np.uint8)
    assert classes_of(ids)[0].tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 2]]
    # The corner is half a diagonal, 7.1 nm, from the middle of both voxels.
    assert classes_of(ids, width_nm=14)[0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert classes_of(ids, width_nm=14.2)[0].tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 2]]


def test_a_width_below_the_section_stays_in_the_plane() -> None:
    ids = np.ones((2, 5, 5), np.uint16)
    ids[1] = 2
    assert (classes_of(ids, size=PLATE, width_nm=48) == INTERIOR).all()
    assert (classes_of(ids, size=PLATE, width_nm=50) == BOUNDARY).all()
    assert (classes_of(ids) == BOUNDARY).all()


def test_nothing_touches_what_was_not_annotated() -> None:
    ids = np.array([[[1, 1, UNLABELLED, 2, 2, 0]]], np.uint8)
    found = labelling(ids, between="all")
    assert found.labels[0].read()[0, 0].tolist() == [1, 1, 0, 1, 2, 0]
    assert found.valid is not None
    assert found.valid.read()[0, 0].tolist() == [1, 1, 0, 1, 1, 1]
    zero = labelling(np.array([[[1, 0, 2]]], np.uint8), between="all", zero="unlabelled")
    assert zero.labels[0].read()[0, 0].tolist() == [1, 0, 1]


def test_slices_without_labels_are_no_neighbours() -> None:
    ids = np.array([[[1, 1]], [[2, 2]], [[2, 2]]], np.uint8)
    found = labelling(ids, slices=(2, 5, 6))
    assert np.unique(found.labels[0].read()).tolist() == [0, INTERIOR]
    next_to = labelling(ids, slices=(2, 3, 4))
    assert next_to.labels[0].read()[:, 0, 0].tolist() == [0, 0, 2, 2, 1, 0, 0, 0, 0, 0]
    assert next_to.labelled_slices == (2, 3, 4)


@pytest.mark.parametrize("dtype", [np.int32, np.uint64])
def test_large_ids_stay_apart(dtype: type) -> None:
    top = np.iinfo(dtype).max
    ids = np.array([[[top, top, top - 1, 0]]], dtype)
    assert classes_of(ids, unlabelled=[])[0, 0].tolist() == [1, 2, 2, 0]


def test_the_order_of_the_classes_is_theirs() -> None:
    ids = np.array([[[1, 1, 2]]], np.uint8)
    assert classes_of(ids, classes=Classes(names=("none", "rim", "mito")))[0, 0].tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"boundary_name": None}, "needs a second class; name it, for instance `boundary_name: contact`"),
        ({"boundary_name": "mito"}, "class_name and boundary_name are both 'mito'"),
        ({"to": "boundary"}, "boundary_name is for `to: interior_and_boundary`; leave it out with `to: boundary`"),
        ({"to": "foreground", "boundary_name": None, "between": "all"}, "between is for `to: interior_and_boundary`"),
        ({"between": "cells"}, "'objects' or 'all'"),
    ],
)
def test_a_description_that_means_nothing_is_refused(fields: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        classes_of(np.ones((1, 2, 2), np.uint8), **fields)


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        (
            {"classes": Classes(names=("background", "mito"))},
            LabelError,
            r"'cell': object ids give the classes 'mito' and 'rim' beside a background, but data\.classes has "
            r"background, mito\.\n  Write `classes: \{names: \[background, mito, rim\]\}`",
        ),
        ({"classes": Classes(names=("mito", "rim"), exclusive=False)}, LabelError, "has mito, rim; overlapping"),
        ({"classes": Classes(names=("mito", "rim"), background=False)}, LabelError, "has mito, rim; no background"),
        (
            {"classes": Classes(names=("background", "mito", "rim"), borders=("rim",))},
            LabelError,
            r"'rim' lies only where two objects touch.*\n  Write `borders: \[\]`: the objects are then the components",
        ),
        ({"width_nm": 9}, LabelError, r"a boundary of 9 nm is thinner than a voxel \(10 nm\)"),
        ({"width_nm": 20, "size": None}, VoxelSizeError, "needs the voxel size"),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict[str, object], kind: type[CristaeError], text: str) -> None:
    with pytest.raises(kind, match=text):
        classes_of(np.ones((1, 2, 2), np.uint8), **fields)


def test_a_boundary_around_all_may_be_a_border() -> None:
    classes = Classes(names=("background", "mito", "rim"), borders=("rim",))
    assert classes_of(np.ones((1, 2, 2), np.uint8), classes=classes, between="all").tolist() == [[[1, 1], [1, 1]]]


def test_the_boundary_alone_lies_on_both_sides() -> None:
    """`to: boundary` keeps its meaning: faces alone, and background voxels beside an object are marked."""
    ids = np.array([[[1, 1, 0], [1, 1, 0], [0, 0, 2]]], np.uint8)
    found = classes_of(ids, to="boundary", boundary_name=None, classes=Classes(names=("background", "mito")))
    assert found[0].tolist() == [[0, 1, 1], [1, 1, 1], [1, 1, 1]]
