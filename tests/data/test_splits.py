import numpy as np
import pytest

from cristae.data.box import Box
from cristae.data.description import Region, VolumeConfig
from cristae.data.image import image_of_array
from cristae.data.slice_ranges import ranges_text, slice_ranges
from cristae.data.splits import Part, check_apart, labelled_boxes, parts_of
from cristae.data.volume import Volume
from cristae.errors import VolumeError

SHAPE = (20, 8, 9)


def volume(name: str = "v", labelled: tuple[int, ...] | None = None, *, labels: bool = True) -> Volume:
    image = image_of_array(np.zeros(SHAPE, np.uint8), name=f"{name}.png")
    return Volume(name=name, image=image, labels=(image,) if labels else (), labelled_slices=labelled)


def opened(found: Volume) -> dict[str, tuple[VolumeConfig, tuple[Volume, ...]]]:
    return {found.name: (VolumeConfig(name=found.name, image="x"), (found,))}


def slices_of(parts: tuple[Part, ...]) -> list[tuple[int, int]]:
    return [(part.box.start[0], part.box.stop[0]) for part in parts]


def test_a_region_without_limits_is_the_whole_volume() -> None:
    (part,) = parts_of([Region(volume="v")], opened(volume()), split="train")
    assert part.box == Box.of_shape(SHAPE)


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ("0:13", [(0, 13)]),
        ("15:", [(15, 20)]),
        (":4", [(0, 4)]),
        ("0:20:5", [(0, 1), (5, 6), (10, 11), (15, 16)]),
        ((9, 3, 4, 10), [(3, 5), (9, 11)]),
    ],
)
def test_slices_become_one_part_for_each_run(slices: str | tuple[int, ...], expected: list[tuple[int, int]]) -> None:
    parts = parts_of([Region(volume="v", slices=slices)], opened(volume()), split="train")
    assert slices_of(parts) == expected
    assert all(part.box.shape[1:] == SHAPE[1:] for part in parts)


def test_a_box_is_taken_as_written() -> None:
    (part,) = parts_of([Region(volume="v", box="2:3,:,4:9")], opened(volume()), split="train")
    assert part.box == Box((2, 0, 4), (3, 8, 9))


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (Region(volume="w"), r"data\.train\.0: there is no volume 'w'; data\.volumes has 'v'"),
        (Region(volume="v", slices="10:21"), "holds slice 20, but 'v' has slices 0 to 19"),
        (Region(volume="v", slices=(3, -1)), "holds slice -1"),
        (Region(volume="v", slices="5:5"), "is empty"),
        (Region(volume="v", slices=()), "is empty"),
        (Region(volume="v", box="0:1,0:9,0:9"), "outside the 8 voxels of axis y.*0:20,0:8,0:9"),
        (Region(volume="v", images=("a*",)), "is a stack"),
    ],
)
def test_regions_that_name_what_is_not_there(region: Region, message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        parts_of([region], opened(volume()), split="train")


def test_images_are_chosen_by_patterns() -> None:
    names = ["A0000", "A0001", "B0000"]
    images = tuple(
        Volume(name=f"t/{n}", image=i, labels=(i,))
        for n, i in ((n, image_of_array(np.zeros((4, 4), np.uint8), name=f"{n}.tif")) for n in names)
    )
    entry = {"t": (VolumeConfig(name="t", image="x", kind="images"), images)}
    parts = parts_of([Region(volume="t", images=("?0000",))], entry, split="validate")
    assert [part.volume.name for part in parts] == ["t/A0000", "t/B0000"]
    assert len(parts_of([Region(volume="t")], entry, split="validate")) == 3
    with pytest.raises(VolumeError, match=r"no image of 't' matches 'C\*'; it has 'A0000', 'A0001', 'B0000'"):
        parts_of([Region(volume="t", images=("C*",))], entry, split="validate")
    with pytest.raises(VolumeError, match="choose with `images"):
        parts_of([Region(volume="t", slices="0:1")], entry, split="validate")


def test_a_part_needs_labels() -> None:
    with pytest.raises(VolumeError, match="'v' has no labels"):
        parts_of([Region(volume="v")], opened(volume(labels=False)), split="test")
    with pytest.raises(VolumeError, match=r"its labelled slices are 3-5, 17"):
        parts_of([Region(volume="v", slices="6:10")], opened(volume(labelled=(3, 4, 5, 17))), split="train")


def test_labelled_boxes_are_the_runs_inside_the_part() -> None:
    part = Part(volume(labelled=(1, 2, 3, 7, 12)), Box((2, 1, 1), (10, 8, 9)))
    assert labelled_boxes(part) == (Box((2, 1, 1), (4, 8, 9)), Box((7, 1, 1), (8, 8, 9)))
    assert labelled_boxes(Part(volume(), part.box)) == (part.box,)
    assert labelled_boxes(Part(volume(labels=False), part.box)) == ()


def part(start: tuple[int, int, int], stop: tuple[int, int, int], name: str = "v") -> Part:
    return Part(volume(name), Box(start, stop))


def test_overlap_between_splits_is_an_error_that_names_the_slices() -> None:
    train, validate = part((0, 0, 0), (15, 8, 9)), part((10, 0, 0), (20, 8, 9))
    with pytest.raises(VolumeError, match=r"data\.train and data\.validate overlap in 'v'.*slices 10 to 14"):
        check_apart({"train": [train], "validate": [validate], "test": []})


def test_overlap_is_found_behind_a_part_in_between() -> None:
    long, thin, late = part((0, 0, 0), (20, 4, 9)), part((1, 4, 0), (2, 8, 9)), part((18, 0, 0), (19, 4, 9))
    with pytest.raises(VolumeError, match="slice 18"):
        check_apart({"train": [long, thin], "test": [late]})


def test_the_same_voxels_twice_in_one_split_are_an_error() -> None:
    with pytest.raises(VolumeError, match="name each voxel once"):
        check_apart({"train": [part((0, 0, 0), (5, 8, 9)), part((4, 0, 0), (6, 8, 9))]})


def test_the_same_place_in_two_volumes_is_no_overlap() -> None:
    check_apart({"train": [part((0, 0, 0), (10, 8, 9))], "test": [part((0, 0, 0), (10, 8, 9), name="w")]})


def test_ranges_of_slices() -> None:
    assert slice_ranges([5, 3, 4, 9, 9]) == ((3, 6), (9, 10))
    assert slice_ranges([]) == ()
    assert ranges_text([5, 3, 4, 9]) == "3-5, 9"
    assert ranges_text([]) == "none"
    assert ranges_text(range(0, 24, 2)) == "0, 2, 4, 6, 8, 10, 12, 14, 16, 18 and 2 more ranges"
