"""What is counted of labels agrees with a count by hand."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image as Picture
from scipy import ndimage

from cristae.data import label_evidence
from cristae.data.formats import open_image
from cristae.data.image import Image, image_of_array
from cristae.data.label_evidence import chosen_places, look_at, profile
from cristae.errors import LabelError

DTYPES = (np.uint8, np.uint16, np.int16, np.uint32, np.int64, np.uint64)


def places(voxels: np.ndarray) -> list[tuple[int, Image, int]]:
    image = image_of_array(voxels)
    return [(z, image, z) for z in range(len(voxels))]


@given(
    voxels=arrays(np.int64, st.tuples(*[st.integers(1, 6)] * 3), elements=st.integers(0, 5)),
    dtype=st.sampled_from(DTYPES),
    rows=st.integers(1, 4),
)
def test_counts_are_those_of_numpy(voxels: np.ndarray, dtype: type, rows: int) -> None:
    voxels = voxels.astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_evidence, "_BAND_VOXELS", rows * voxels.shape[2])
        found = look_at(places(voxels))
    values, counts = np.unique(voxels, return_counts=True)
    assert {value: seen.voxels for value, seen in found.values.items()} == dict(
        zip(values.tolist(), counts.tolist(), strict=True)
    )
    for z, area in enumerate(voxels):
        assert found.by_slice[z] == {value: int((area == value).sum()) for value in np.unique(area).tolist()}
    assert found.voxels == voxels.size


def test_rim_flat_and_parts_by_hand() -> None:
    area = np.array(
        [
            [1, 1, 0, 0, 0],
            [1, 1, 0, 2, 2],
            [0, 0, 0, 2, 2],
            [1, 0, 0, 2, 2],
        ],
        np.uint8,
    )
    found = look_at(places(area[None]))
    one, two = found.values[1], found.values[2]
    assert (one.voxels, one.flat, one.parts) == (5, 1, 2)
    assert (two.voxels, two.flat, two.parts) == (6, 2, 1)
    # First and last row and column, corners in both.
    assert one.rim == 2 + 3 + 1
    assert two.rim == 3 + 2
    assert found.rim == 2 * (5 + 4)


@given(voxels=arrays(np.uint16, st.tuples(st.just(1), *[st.integers(1, 9)] * 2), elements=st.integers(0, 3)))
def test_parts_are_those_of_scipy(voxels: np.ndarray) -> None:
    found = look_at(places(voxels))
    for value, seen in found.values.items():
        assert seen.parts == ndimage.label(voxels[0] == value)[1]


@given(
    voxels=arrays(np.int16, st.tuples(st.just(1), *[st.integers(1, 9)] * 2), elements=st.integers(-3, 9)),
    axis=st.sampled_from([0, 1]),
)
def test_profiles_count_rows_and_columns(voxels: np.ndarray, axis: int) -> None:
    ranges = [(-3, -1), (2, 2), (0, 2**64 - 1)]
    found = profile(places(voxels)[0], axis, ranges, "numbers")
    expected = [((voxels[0] >= low) & (voxels[0] <= min(high, 2**15 - 1))).sum(axis=1 - axis) for low, high in ranges]
    assert np.array_equal(found, np.stack(expected, axis=1))


def test_grey_saved_as_colour_counts_as_grey_and_colours_as_colours(tmp_path: Path) -> None:
    grey = np.array([[0, 0, 128], [255, 128, 0]], np.uint8)
    for name, channels in (
        ("rgb", [grey] * 3),
        ("la", [grey, grey * 0 + 255]),
        ("rgba", [*[grey] * 3, grey * 0 + 255]),
    ):
        path = tmp_path / f"{name}.png"
        Picture.fromarray(np.stack(channels, -1)).save(path)
        found = look_at([(0, open_image(path), 0)])
        assert found.kind == "numbers"
        assert sorted(found.values) == [0, 128, 255]
    Picture.fromarray(np.stack([grey, grey, grey * 0], -1)).save(tmp_path / "c.png")
    found = look_at([(0, open_image(tmp_path / "c.png"), 0)])
    assert sorted(found.values) == [0x000000FF, 0x808000FF, 0xFFFF00FF]


def test_palette_files_that_disagree_are_told_by_their_colours(tmp_path: Path) -> None:
    every = []
    for number, palette in enumerate(([0, 0, 0, 255, 0, 0], [255, 0, 0, 0, 0, 0])):
        picture = Picture.fromarray(np.array([[0, 1] * 16] * 8, np.uint8), "P")
        picture.putpalette(palette)
        picture.save(tmp_path / f"{number}.png")
        every.append((number, open_image(tmp_path / f"{number}.png"), 0))
    assert look_at(every[:1]).kind == "numbers"
    assert look_at(every[:1]).colors[1] == "#ff0000"
    both = look_at(every)
    assert both.kind == "colors"
    assert both.by_slice == {0: {0x000000FF: 128, 0xFF0000FF: 128}, 1: {0x000000FF: 128, 0xFF0000FF: 128}}


def test_one_bit_files_among_others_are_black_and_white(tmp_path: Path) -> None:
    area = np.array([[False, True, True, True] * 8] * 8)
    Picture.fromarray(area).save(tmp_path / "0.png")
    Picture.fromarray(area * np.uint8(255)).save(tmp_path / "1.png")
    found = look_at([(number, open_image(tmp_path / f"{number}.png"), 0) for number in (0, 1)])
    assert {value: seen.voxels for value, seen in found.values.items()} == {0: 128, 255: 384}


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        ([0.0, 0.25, 1.0], "from 0 to 1 with fractions such as 0.25: probabilities"),
        ([0.0, 2.5, 7.0], r"not whole numbers, such as 2\.5: .*\n.*nearest neighbours"),
        ([0.0, np.nan, 1.0], r"1 voxels that are NaN or infinite.*\n.*not annotated"),
    ],
)
def test_fractions_are_refused_for_what_they_are(voxels: list[float], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        look_at(places(np.array([[voxels]], np.float32)))


def test_many_large_slices_are_sampled_and_many_small_ones_are_not() -> None:
    large = image_of_array(np.zeros((1, 1, 1), np.uint8))
    large = Image(large.path, "made", (900, 2048, 2048), np.dtype(np.uint8), large.reader)
    chosen = chosen_places([(z, large, z) for z in range(900)])
    assert len(chosen) == 64
    assert (chosen[0][0], chosen[-1][0]) == (0, 899)
    small = Image(large.path, "made", (900, 64, 64), np.dtype(np.uint8), large.reader)
    assert len(chosen_places([(z, small, z) for z in range(900)])) == 900
