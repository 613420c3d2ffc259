"""Object ids as affinities: whether a voxel and its partner lie in the same object, by hand and as loops say it."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from cristae.data.affinities import Affinities
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.description import DataConfig, InstanceLabels, Mask, Region, VolumeConfig
from cristae.data.image import image_of_array
from cristae.data.label_sources import LabelSource
from cristae.data.labelling import Labelling, open_labelling
from cristae.data.open import open_data, open_volume
from cristae.errors import LabelError

UNLABELLED = 9
OFFSETS: dict[str, Triple] = {"mito": (0, 0, 0), "left": (0, 0, -1), "below": (0, 2, 0), "far": (1, -2, 3)}
IDS = arrays(
    np.uint8,
    st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)),
    elements=st.sampled_from([0, 1, 1, 1, 2, 3, UNLABELLED]),
)


def labelling(ids: np.ndarray, offsets: dict[str, Triple], *, slices: tuple[int, ...] | None = None) -> Labelling:
    """Labels of an image of which `slices` have ids, one of `ids` each; all where None."""
    config = InstanceLabels(path="ids.tif", to="affinities", offsets=offsets, unlabelled=(str(UNLABELLED),))
    shape = (len(ids) if slices is None else 10, *ids.shape[1:])
    places = {z: (image_of_array(ids), place) for place, z in enumerate(slices or range(len(ids)))}
    source = LabelSource((shape[0], shape[1], shape[2]), places)
    image, classes = image_of_array(np.zeros(shape, np.uint8)), Classes(names=tuple(offsets), exclusive=False)
    return open_labelling(config, classes, image, {"": source}, name="cell")


def valid_of(found: Labelling) -> np.ndarray:
    assert found.valid is not None
    return found.valid.read()


def by_loops(ids: np.ndarray, offsets: dict[str, Triple]) -> tuple[np.ndarray, np.ndarray]:
    """Masks (K, Z, Y, X), 0 where the partner is not known, and validity (Z, Y, X), voxel by voxel."""
    masks, valid = np.zeros((len(offsets), *ids.shape), np.uint8), np.zeros(ids.shape, np.uint8)
    for place in product(*map(range, ids.shape)):
        known = ids[place] != UNLABELLED
        for k, offset in enumerate(offsets.values()):
            z, y, x = (a + b for a, b in zip(place, offset, strict=True))
            inside = all(0 <= p < n for p, n in zip((z, y, x), ids.shape, strict=True))
            if not inside or ids[z, y, x] == UNLABELLED or ids[place] == UNLABELLED:
                known = False
            else:
                masks[(k, *place)] = ids[place] == ids[z, y, x] and ids[place] != 0
        valid[place] = known
    return masks, valid


def test_by_hand() -> None:
    """Two objects that touch, background, and a voxel that nobody looked at, in a row; the partner is on the left."""
    ids = np.array([[[1, 1, 2, 2, 0, 0, 3, 9, 3, 3]]], np.uint8)
    found = labelling(ids, {"cell": (0, 0, 0), "left": (0, 0, -1)})
    assert valid_of(found).tolist() == [[[0, 1, 1, 1, 1, 1, 1, 0, 0, 1]]]
    cell, left = (image.read()[0, 0] for image in found.labels)
    assert cell.tolist() == [1, 1, 1, 1, 0, 0, 1, 0, 1, 1]
    assert left.tolist() == [0, 1, 0, 1, 0, 0, 0, 0, 0, 1]


@given(ids=IDS)
def test_masks_are_those_of_loops(ids: np.ndarray) -> None:
    found = labelling(ids, OFFSETS)
    masks, valid = by_loops(ids, OFFSETS)
    assert np.array_equal(np.stack([image.read() for image in found.labels]), masks)
    assert np.array_equal(valid_of(found), valid)


@given(ids=IDS, data=st.data())
def test_boxes_make_no_difference(ids: np.ndarray, data: st.DataObject) -> None:
    """Partners are read beyond the box."""
    found = labelling(ids, OFFSETS)
    sides = [sorted(data.draw(st.sets(st.integers(0, n), min_size=2, max_size=2))) for n in ids.shape]
    (z0, z1), (y0, y1), (x0, x1) = sides
    box = Box((z0, y0, x0), (z1, y1, x1))
    for image in (*found.labels, found.valid):
        assert image is not None
        assert np.array_equal(image.read(box), image.read()[box.slices])


@given(ids=IDS)
def test_a_pair_seen_from_both_ends_is_one(ids: np.ndarray) -> None:
    """The affinity of v with v + o is that of v + o with v."""
    one = labelling(ids, {"there": (0, 1, 2)}).labels[0].read()
    other = labelling(ids, {"back": (0, -1, -2)}).labels[0].read()
    assert np.array_equal(one[:, :-1, :-2], other[:, 1:, 2:])


def test_slices_without_labels_are_unknown() -> None:
    ids = np.ones((2, 3, 4), np.uint8)
    found = labelling(ids, {"above": (-1, 0, 0), "left": (0, 0, -1)}, slices=(4, 5))
    valid = valid_of(found)
    assert valid.any(axis=(1, 2)).tolist() == [False] * 5 + [True] + [False] * 4
    assert valid[5].tolist() == [[0, 1, 1, 1]] * 3


def test_ids_of_64_bits_differ_in_their_last() -> None:
    """2^53 + 1 has no float64, and 2^63 + 1 no int64; as objects they are what they are."""
    ids = np.array([[[2**53, 2**53, 2**53 + 1, 2**63 + 1, 2**63, 2**63]]], np.uint64)
    found = labelling(ids, {"left": (0, 0, -1)})
    assert found.labels[0].read()[0, 0].tolist() == [0, 1, 0, 0, 0, 1]


def test_a_partner_outside_the_mask_is_unknown(tmp_path: Path) -> None:
    ids, mask = np.ones((1, 4, 6), np.uint8), np.ones((1, 4, 6), np.uint8)
    mask[0, :, 3] = 0
    for name, voxels in (("image", ids), ("ids", ids), ("mask", mask)):
        tifffile.imwrite(tmp_path / f"{name}.tif", voxels, photometric="minisblack")
    labels = InstanceLabels(path="ids.tif", to="affinities", offsets={"left": (0, 0, -1)})
    config = VolumeConfig(name="v", image="image.tif", labels=labels, valid=Mask(path="mask.tif"))
    classes = Classes(names=("left",), exclusive=False)
    (volume,) = open_data(DataConfig(classes=classes, volumes=(config,), train=(Region(volume="v"),)), tmp_path).volumes
    assert volume.valid is not None
    assert volume.valid.read()[0].tolist() == [[0, 1, 1, 0, 0, 1]] * 4
    assert volume.objects is not None
    assert volume.objects.affinities == Affinities(((0, 0, -1),))


def test_masks_are_in_the_order_of_the_classes(tmp_path: Path) -> None:
    """Whatever the order of `offsets`."""
    ids = np.array([[[1, 1, 2], [1, 2, 2]]], np.uint8)
    tifffile.imwrite(tmp_path / "ids.tif", ids, photometric="minisblack")
    labels = InstanceLabels(path=str(tmp_path / "ids.tif"), to="affinities", offsets={"x": (0, 0, 1), "y": (0, 1, 0)})
    classes = Classes(names=("y", "x"), exclusive=False)
    volume = open_volume(tmp_path / "ids.tif", labels=labels, classes=classes)
    y, x = (image.read()[0, 0] for image in volume.labels)
    assert (y.tolist(), x.tolist()) == ([1, 0, 1], [1, 0, 0])
    assert np.array_equal(labelling(ids, {"x": (0, 0, 1)}).labels[0].read()[0], [[1, 0, 0], [0, 1, 0]])


def test_the_frame_is_square_in_the_plane() -> None:
    assert Affinities(((0, -3, 0), (-2, 0, 1))).frame == (2, 3, 3)
    assert Affinities(((0, 0, 0), (0, 0, -5))).frame == (0, 5, 5)


@pytest.mark.parametrize(
    "classes",
    [
        Classes(names=("mito", "left"), exclusive=True),
        Classes(names=("mito",), exclusive=False),
        Classes(names=("mito", "left", "right"), exclusive=False),
    ],
    ids=["exclusive", "one too few", "one too many"],
)
def test_other_classes_are_refused_with_the_line_to_write(classes: Classes) -> None:
    config = InstanceLabels(path="ids.tif", to="affinities", offsets={"mito": (0, 0, 0), "left": (0, 0, -1)})
    image = image_of_array(np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(LabelError, match=r"Write `classes: \{names: \[mito, left\], exclusive: false\}`"):
        open_labelling(config, classes, image, {"": LabelSource((1, 2, 2), {0: (image, 0)})}, name="cell")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"to": "affinities"}, r"needs voxels to compare with; .* `offsets: \{mitochondrion: \[0, 0, 0\], above"),
        ({"to": "affinities", "offsets": {}}, "needs voxels to compare with"),
        ({"to": "affinities", "offsets": {"cell": (0, 0, 0)}}, "needs voxels to compare with"),
        (
            {"to": "affinities", "offsets": {"a": (0, 0, 1), "b": (0, 0, 1)}},
            r"offsets: 'a' and 'b' are both \[0, 0, 1\]",
        ),
        ({"to": "affinities", "offsets": {"a": (0, 1)}}, "offsets.a"),
        ({"to": "affinities", "offsets": {"a": (0, 0, 1)}, "class_name": "a"}, "class_name is not for"),
        ({"to": "affinities", "offsets": {"a": (0, 0, 1)}, "width_nm": 8}, "width_nm is not for"),
        ({"to": "affinities", "offsets": {"a": (0, 0, 1)}, "between": "all"}, "between is for"),
        ({"to": "foreground"}, "needs a class; name it, for instance `class_name: mitochondrion`"),
        ({"to": "foreground", "class_name": "a", "offsets": {"a": (0, 0, 1)}}, "offsets is for `to: affinities`"),
    ],
)
def test_descriptions_that_say_nothing_or_two_things(fields: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        InstanceLabels.model_validate({"path": "ids.tif"} | fields)
