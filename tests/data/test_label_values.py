from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cristae.data.classes import Classes
from cristae.data.image import Image, image_of_array
from cristae.data.values import (
    UNLABELLED_CODE,
    Context,
    encode,
    table_of_ids,
    table_of_inside,
    table_of_values,
)
from cristae.errors import LabelError

CLASSES = Classes(names=("background", "myelin", "axon"))
CONTEXT = Context(where="labels of 'v'", cure="Map them.")


def image(array: np.ndarray, **fields: object) -> Image:
    """An image of one slice per first axis; a last axis of colours when `colors` says so."""
    found = image_of_array(array, name="l.png")
    return replace(found, **fields)  # type: ignore[arg-type]


def codes(array: np.ndarray, values: dict[str, str], classes: Classes = CLASSES, **fields: object) -> list[int]:
    table = table_of_values(values, classes, where="labels of 'v'")
    return encode(array, image(array, **fields), 0, table, CONTEXT).ravel().tolist()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.uint32, np.int64, np.uint64, np.float32])
def test_values_and_ranges_in_every_type(dtype: type) -> None:
    array: np.ndarray = np.array([[[0, 63, 64, 127, 0]]], dtype)
    array[0, 0, 4] = np.array(100).astype(dtype)
    table = {"0-63": "background", "64-99": "myelin", "100": "unlabelled", "101-127": "axon"}
    assert codes(array, table) == [0, 0, 1, 2, UNLABELLED_CODE]


def test_negative_values() -> None:
    array = np.array([[[-128, -5, -4, 0, 127]]], np.int8)
    assert codes(array, {"-128--5": "axon", "-4": "myelin", "0-127": "background"}) == [2, 2, 1, 0, 0]


@given(
    array=arrays(np.int32, (2, 3, 4), elements=st.integers(-20, 20)),
    edges=st.lists(st.integers(-20, 20), min_size=2, max_size=6, unique=True),
)
def test_ranges_agree_with_a_dictionary(array: np.ndarray, edges: list[int]) -> None:
    starts = [-20, *sorted(edge for edge in edges if edge > -20)]
    ranges = list(zip(starts, [*(start - 1 for start in starts[1:]), 20], strict=True))
    names = [CLASSES.names[i % 3] for i in range(len(ranges))]
    expected = {
        value: CLASSES.id_of(name) for (a, b), name in zip(ranges, names, strict=True) for value in range(a, b + 1)
    }
    found = codes(array, {f"{a}-{b}": name for (a, b), name in zip(ranges, names, strict=True)})
    assert found == [expected[value] for value in array.ravel().tolist()]


def test_colours_with_and_without_alpha() -> None:
    rgba = np.array([[[[0, 0, 0, 0], [1, 171, 254, 255], [255, 224, 0, 255]]]], np.uint8)
    values = {"#00000000": "background", "#01ABFE": "myelin", "#ffe000ff": "axon"}
    assert codes(rgba, values, colors=4) == [0, 1, 2]
    assert codes(rgba[..., :3], {"#000000": "background"} | values, colors=3) == [0, 1, 2]


def test_a_transparent_voxel_is_not_its_opaque_colour() -> None:
    rgba = np.array([[[[0, 0, 0, 0]]]], np.uint8)
    with pytest.raises(LabelError, match="value '#00000000'"):
        codes(rgba, {"#000000": "background"}, colors=4)


def test_palette_colours_and_palette_indices() -> None:
    indices = np.array([[[0, 1, 2]]], np.uint8)
    palette = ("#ffffff", "#ff0000", "#00ff00")
    by_color = {"#ffffff": "background", "#ff0000": "myelin", "#00ff00": "axon"}
    assert codes(indices, by_color, palette=palette) == [0, 1, 2]
    assert codes(indices, {"0": "background", "1": "axon", "2": "myelin"}, palette=palette) == [0, 2, 1]


def test_grey_with_opaque_alpha_and_grey_saved_as_rgb_count_as_grey() -> None:
    grey = np.array([[[0, 127, 255]]], np.uint8)
    values = {"0": "background", "127": "myelin", "255": "axon"}
    assert codes(np.stack([grey, np.full_like(grey, 255)], -1), values, colors=2) == [0, 1, 2]
    assert codes(np.stack([grey] * 3, -1), values, colors=3) == [0, 1, 2]
    with pytest.raises(LabelError, match="partly transparent"):
        codes(np.stack([grey, grey], -1), values, colors=2)
    with pytest.raises(LabelError, match=r"is a colour image.*\n.*'#ff0000'"):
        codes(np.stack([grey, grey, np.zeros_like(grey)], -1), values, colors=3)


def test_an_unmapped_value_is_named_with_count_slice_and_cure() -> None:
    array = np.zeros((3, 2, 2), np.uint8)
    array[2] = [[7, 7], [7, 9]]
    table = table_of_values({"0": "background", "1": "axon"}, CLASSES, where="labels of 'v'")
    with pytest.raises(LabelError) as error:
        encode(array, image(array), 10, table, CONTEXT)
    expected = (
        "labels of 'v': l.png holds values 7 (3 voxels), 9 (1 voxel) in slice 12, expected only 0, 1.\n  Map them."
    )
    assert str(error.value) == expected


def test_a_mask_where_ids_were_promised_shows_what_to_paste() -> None:
    array = np.array([[[0, 255]]], np.uint8)
    context = replace(CONTEXT, mask_block="    labels: ...")
    with pytest.raises(LabelError, match=r"looks like a mask of 0 and 255, not class ids.*\n    labels: \.\.\."):
        encode(array, image(array), 0, table_of_ids(CLASSES), context)
    other = np.array([[[0, 3, 255]]], np.uint8)
    with pytest.raises(LabelError, match="Map them"):
        encode(other, image(other), 0, table_of_ids(CLASSES), context)


@pytest.mark.parametrize("bad", [0.5, np.nan, np.inf])
def test_labels_that_are_no_whole_numbers(bad: float) -> None:
    with pytest.raises(LabelError, match="no whole numbers"):
        codes(np.array([[[0.0, bad]]]), {"0": "background"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "is empty"),
        ({"0": "nerve"}, "the class 'nerve'; known are 'background', 'myelin', 'axon'"),
        ({"0-5": "axon", "5-9": "myelin"}, "names 5 twice"),
        ({"9-5": "axon"}, "has its ends swapped; write the lower end first"),
        ({"18446744073709551616": "axon"}, "no file holds 18446744073709551616; integers go from -9223372036854775808"),
        ({"-9223372036854775809": "axon"}, "no file holds -9223372036854775809"),
        ({"#ff0000": "axon", "3": "myelin"}, "mixes colours"),
        ({"#ff0000": "axon", "#FF0000ff": "myelin"}, "names '#ff0000ff' twice"),
    ],
)
def test_values_that_cannot_be_meant(values: dict[str, str], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        table_of_values(values, CLASSES, where="labels of 'v'")


def test_ids_of_exclusive_and_overlapping_classes() -> None:
    array = np.array([[[0, 1, 2]]], np.uint16)
    assert encode(array, image(array), 0, table_of_ids(CLASSES), CONTEXT).ravel().tolist() == [0, 1, 2]
    overlapping = Classes(names=("a", "b"), exclusive=False)
    assert encode(array, image(array), 0, table_of_ids(overlapping), CONTEXT).ravel().tolist() == [0, 1, 2]
    with pytest.raises(LabelError, match="value 3"):
        encode(array + 1, image(array), 0, table_of_ids(overlapping), CONTEXT)


@pytest.mark.parametrize(
    ("inside", "expected"),
    [("nonzero", [0, 1, 1, 1]), ("0", [1, 0, 0, 0]), ("128-255", [0, 0, 1, 1]), ("127", [0, 1, 0, 0])],
)
def test_what_inside_a_mask_means(inside: str, expected: list[int]) -> None:
    array = np.array([[[0, 127, 128, 255]]], np.uint8)
    table = table_of_inside(inside, where="mask")
    for dtype in (np.uint8, np.uint16, np.int32, np.uint64, np.float64):
        voxels = array.astype(dtype)
        assert encode(voxels, image(voxels), 0, table, CONTEXT).ravel().tolist() == expected


@pytest.mark.parametrize(
    ("inside", "expected"), [("nonzero", [0, 1]), ("128-255", [0, 1]), ("1", [0, 1]), ("255", [0, 1]), ("0", [1, 0])]
)
def test_one_bit_files_know_on_and_off_only(inside: str, expected: list[int]) -> None:
    array = np.array([[[0, 1]]], np.uint8)
    one_bit = image(array, details={"bits": "1"})
    assert encode(array, one_bit, 0, table_of_inside(inside, where="mask"), CONTEXT).ravel().tolist() == expected


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((0, 2**63 - 1, 2**63, 2**63 + 5, 2**64 - 2, 2**64 - 1), np.uint64),
        ((-(2**63), -(2**62), -1, 0, 2**62, 2**63 - 1), np.int64),
        ((0, 2**31, 2**32 - 1), np.uint32),
    ],
)
def test_every_value_of_a_type_can_be_mapped(values: tuple[int, ...], dtype: type) -> None:
    names = [CLASSES.names[i % 3] for i in range(len(values))]
    array: np.ndarray = np.array([[values]], dtype)
    found = codes(array, {str(value): name for value, name in zip(values, names, strict=True)})
    assert found == [CLASSES.id_of(name) for name in names]


def test_values_beyond_a_type_are_no_values_of_it() -> None:
    table = {"-5--1": "axon", "0": "background", "9223372036854775808-18446744073709551615": "myelin"}
    assert codes(np.array([[[0, 2**63, 2**64 - 1]]], np.uint64), table) == [0, 1, 1]
    assert codes(np.array([[[-5, -1, 0]]], np.int64), table) == [2, 2, 0]
    for wrong, dtype in ((2**63 - 1, np.uint64), (2**63 - 1, np.int64), (-6, np.int64)):
        with pytest.raises(LabelError, match=f"holds value {wrong} "):
            codes(np.array([[[wrong]]], dtype), table)


@given(
    value=st.integers(-(2**63), 2**64 - 1), low=st.integers(-(2**63), 2**64 - 1), high=st.integers(-(2**63), 2**64 - 1)
)
def test_a_range_holds_what_lies_between_its_ends(value: int, low: int, high: int) -> None:
    low, high = min(low, high), max(low, high)
    table = table_of_inside(f"{low}-{high}", where="mask")
    dtype = np.uint64 if value >= 0 else np.int64
    array = np.array([[[value]]], dtype)
    expected = int(low <= value <= high)
    assert encode(array, image(array), 0, table, CONTEXT).item() == expected == table.codes_of([value]).item()


def test_large_floats_are_not_exact_and_are_refused_for_that_reason() -> None:
    with pytest.raises(LabelError, match="numbers of that size are not exact in float64"):
        codes(np.array([[[0.0, 2.0**63]]]), {"0": "background"})


def test_opaque_is_what_the_alpha_channel_says() -> None:
    table = table_of_inside("opaque", where="mask")
    for dtype in (np.uint8, np.uint16):
        top = np.iinfo(dtype).max
        rgba = np.array([[[[0, 0, 0, top], [9, 9, 9, 0], [9, 9, 9, top - 1]]]], dtype)
        assert encode(rgba, image(rgba, colors=4), 0, table, CONTEXT).ravel().tolist() == [1, 0, 0]
        grey = rgba[..., 2:]
        assert encode(grey, image(grey, colors=2), 0, table, CONTEXT).ravel().tolist() == [1, 0, 0]
    with pytest.raises(LabelError, match="has no transparency"):
        encode(rgba[..., :3], image(rgba[..., :3], colors=3), 0, table, CONTEXT)


def test_what_is_transparent_has_no_colour() -> None:
    rgba = np.array([[[[1, 2, 3, 0], [0, 0, 0, 0], [1, 2, 3, 255]]]], np.uint8)
    for key in ("#00000000", "#ff000000"):
        assert codes(rgba, {key: "background", "#010203": "axon"}, colors=4) == [0, 0, 2]
