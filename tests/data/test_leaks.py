"""Parts of different splits side by side: touching is said, and so is that held-out voxels have trained neighbours."""

import numpy as np
import pytest

from cristae.data.box import Box
from cristae.data.image import image_of_array
from cristae.data.leaks import contacts
from cristae.data.splits import Part, check_apart
from cristae.data.volume import Volume

SHAPE = (76, 8, 9)


def volume(name: str = "v", labelled: tuple[int, ...] | None = None) -> Volume:
    image = image_of_array(np.zeros(SHAPE, np.uint8), name=f"{name}.png")
    return Volume(name=name, image=image, labels=(image,), labelled_slices=labelled)


def slab(start: int, stop: int, name: str = "v", labelled: tuple[int, ...] | None = None) -> Part:
    return Part(volume(name, labelled), Box((start, 0, 0), (stop, 8, 9)))


def column(start: int, stop: int) -> Part:
    return Part(volume(), Box((0, 0, start), (76, 8, stop)))


def test_parts_that_touch_are_allowed_with_one_warning_for_a_volume() -> None:
    splits = {"train": [slab(0, 10), slab(20, 30)], "validate": [slab(10, 20)], "test": [slab(40, 50)]}
    check_apart(splits)
    (contact,) = contacts(splits)
    assert not contact.leaky  # two of ten slices
    assert contact.text == (
        "data.train (0:10,0:8,0:9) and data.validate (10:20,0:8,0:9) touch in 'v', and in 1 more place; leave a gap, "
        "since neighbouring slices are alike"
    )


def test_a_gap_of_a_slice_or_a_voxel_is_no_contact() -> None:
    assert contacts({"train": [slab(0, 10)], "validate": [slab(11, 20)], "test": []}) == ()
    assert contacts({"train": [column(0, 4)], "validate": [column(5, 9)], "test": []}) == ()
    assert contacts({"train": [slab(0, 10)], "validate": [slab(0, 10, name="w")], "test": []}) == ()


def test_the_published_every_fifth_slice_leaks_which_nobody_has_to_say() -> None:
    """SegET, section 1: slices 0, 5, ..., 75 are held out of 76; every one has a trained neighbour."""
    train = [slab(z, min(z + 4, 76)) for z in range(1, 76, 5)]
    (contact,) = contacts({"train": train, "validate": [slab(z, z + 1) for z in range(0, 76, 5)], "test": []})
    assert contact.leaky
    assert contact.splits == ("train", "validate")
    assert contact.text.startswith(
        "data.validate is not kept apart from data.train in 'v': 100 % of its voxels have a training voxel beside them"
    )


@pytest.mark.parametrize(("held", "leaky"), [(1, True), (2, True), (3, True), (4, False), (5, False), (20, False)])
def test_a_stretch_between_training_slices_leaks_where_most_of_it_has_trained_neighbours(
    held: int, leaky: bool
) -> None:
    splits = {"train": [slab(0, 10), slab(10 + held, 40)], "validate": [slab(10, 10 + held)], "test": []}
    (contact,) = contacts(splits)
    assert contact.leaky == leaky


def test_boxes_side_by_side_touch_and_thin_ones_leak() -> None:
    (wide,) = contacts({"train": [column(0, 4)], "validate": [column(4, 9)], "test": []})
    (thin,) = contacts({"train": [column(0, 4), column(6, 9)], "validate": [], "test": [column(4, 6)]})
    assert (wide.leaky, thin.leaky) == (False, True)
    assert thin.text.startswith("data.test is not kept apart from data.train")


def test_validation_beside_test_slices_is_said_and_no_leak_of_training() -> None:
    (contact,) = contacts({"train": [], "validate": [slab(0, 1), slab(2, 3)], "test": [slab(1, 2)]})
    assert not contact.leaky
    assert "data.validate (0:1,0:8,0:9) and data.test (1:2,0:8,0:9) touch" in contact.text


def test_only_labelled_slices_can_leak() -> None:
    labelled = (0, 10, 20, 30)
    splits = {"train": [slab(0, 15, labelled=labelled)], "validate": [slab(15, 40, labelled=labelled)], "test": []}
    assert contacts(splits) == ()


def test_each_volume_is_judged_by_itself() -> None:
    train = [slab(0, 10), slab(12, 30), slab(0, 20, name="w")]
    found = contacts({"train": train, "validate": [slab(10, 12), slab(20, 60, name="w")], "test": []})
    assert {contact.text.split(" in ")[1][:3]: contact.leaky for contact in found} == {"'v'": True, "'w'": False}
