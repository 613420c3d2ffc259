"""Classes taken together: names, colours and label images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.errors import ScoreError
from cristae.metrics.confusion import Confusion
from cristae.metrics.merging import merge_classes, merge_images

PLATELET = Classes(names=("background", "cell", "mito", "canal", "alpha", "dense", "core"), colors={"mito": "#010203"})
MASKS = Classes(names=("membrane", "mito", "vesicle"), exclusive=False)


def test_a_group_stands_where_its_first_class_stood_and_all_keep_their_colours():
    merged, lookup = merge_classes(PLATELET, {"granule": ["core", "alpha", "dense"], "mitochondrion": ["mito"]})
    assert merged.names == ("background", "cell", "mitochondrion", "canal", "granule")
    assert lookup.tolist() == [0, 1, 2, 3, 4, 4, 4]
    colors = [merged.color_of(name) for name in merged.names]
    assert colors == [PLATELET.color_of(name) for name in ("background", "cell", "mito", "canal", "alpha")]


def test_a_group_may_have_the_name_of_a_member_and_classes_may_become_background():
    merged, lookup = merge_classes(PLATELET, {"dense": ["dense", "core"], "background": ["background", "cell"]})
    assert merged.names == ("background", "mito", "canal", "alpha", "dense")
    assert lookup.tolist() == [0, 0, 1, 2, 3, 4, 4]


def test_nothing_to_merge_changes_nothing_but_makes_colours_explicit():
    merged, lookup = merge_classes(MASKS, {})
    assert (merged.names, merged.exclusive, lookup.tolist()) == (MASKS.names, False, [0, 1, 2])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"x": ["mito", "golgi"]}, "cannot merge 'golgi'.*background, cell, mito"),
        ({"x": ["mito", "canal"], "y": ["canal", "core"]}, "'canal' is merged twice"),
        ({"x": ["mito", "mito"]}, "'mito' is merged twice"),
        ({"x": ["background", "cell"]}, "background=background\\+cell"),
        ({"cell": ["mito", "canal"]}, "there is a class 'cell' already"),
        ({"x": []}, "no class is merged into 'x'"),
        ({"a/b": ["mito", "canal"]}, "a/b"),
        ({"unlabelled": ["mito", "canal"]}, "reserved"),
        ({"background": list(PLATELET.names)}, "at least one more"),
    ],
)
def test_groups_that_make_no_sense_are_refused(groups, message):
    with pytest.raises(ScoreError, match=message):
        merge_classes(PLATELET, groups)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_ids_are_looked_up_and_what_is_no_id_is_kept(dtype):
    _, lookup = merge_classes(PLATELET, {"granule": ["alpha", "dense", "core"]})
    ids = np.array([[[0, 1, 2, 3, 4, 5, 6, 7, 90]]], dtype)
    (image,) = merge_images([image_of_array(ids)], lookup, exclusive=True)
    found = image.read()
    assert found.tolist() == [[[0, 1, 2, 3, 4, 4, 4, 7, 90]]]
    assert found.dtype == image.dtype == dtype
    assert image.read(Box((0, 0, 5), (1, 1, 7))).tolist() == [[[4, 4]]]


def test_a_negative_id_is_kept():
    _, lookup = merge_classes(PLATELET, {"granule": ["alpha", "dense", "core"]})
    (image,) = merge_images([image_of_array(np.array([[-1, 5]]))], lookup, exclusive=True)
    assert image.read().tolist() == [[[-1, 4]]]


def test_masks_are_joined_by_or():
    merged, lookup = merge_classes(MASKS, {"any": ["membrane", "vesicle"]})
    masks = np.array([[0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]], np.uint8).reshape(3, 1, 1, 4)
    images = merge_images([image_of_array(mask) for mask in masks], lookup, exclusive=False)
    assert merged.names == ("any", "mito")
    assert [image.read().reshape(-1).tolist() for image in images] == [[0, 1, 1, 1], [1, 1, 0, 0]]
    bad = merge_images([image_of_array(mask * 7) for mask in masks], lookup, exclusive=False)
    assert bad[0].read().max() == 7


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_counts_of_merged_labels_are_those_of_the_old_classes_added_up(seed, places):
    truth, prediction = np.random.default_rng(seed).integers(0, 7, (2, 5, 10)).astype(np.uint8)
    groups: dict[str, list[str]] = {}
    for name, place in zip(PLATELET.foreground, places, strict=True):
        if place:
            groups.setdefault(f"group {place}", []).append(name)
    merged, lookup = merge_classes(PLATELET, groups)
    images = (merge_images([image_of_array(labels[None])], lookup, exclusive=True)[0] for labels in (truth, prediction))
    counts = Confusion.of(*(image.read() for image in images), len(merged.names))
    becomes = np.eye(len(merged.names), dtype=np.int64)[lookup]
    added = becomes.T @ Confusion.of(truth, prediction, 7).counts @ becomes
    np.testing.assert_array_equal(counts.counts, added)
