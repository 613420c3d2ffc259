"""Filtered copies of whole slices, read box by box: each slice is filtered as a whole, and once where boxes follow."""

import errno
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.data.image import image_of_array
from cristae.errors import StorageError, VolumeError
from cristae.preprocess import filtered_slices
from cristae.preprocess.filtered_slices import FilteredSlices, PassingFile, bytes_of_slice, slices_at_once
from cristae.preprocess.grain import grain_filter

GREY = np.random.default_rng(3).integers(0, 9, (7, 18, 21)).astype(np.uint8)
AREAS = (30, 4)
WHOLE = np.concatenate([GREY[None], np.stack([grain_filter(plane, AREAS) for plane in GREY], axis=1)])


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many slices were filtered in each call."""
    real, counts = filtered_slices.filtered_planes, list[int]()

    def watched(grey: np.ndarray, *rest: object, **options: object) -> np.ndarray:
        counts.append(len(grey))
        return real(grey, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(filtered_slices, "filtered_planes", watched)
    return counts


@settings(max_examples=30, deadline=None)
@given(
    corners=st.lists(st.tuples(*(st.tuples(st.integers(0, n), st.integers(0, n)) for n in GREY.shape)), min_size=3),
    most=st.none() | st.integers(1, 4),
    threads=st.integers(1, 3),
)
def test_every_box_is_cut_from_whole_filtered_slices(corners, most, threads):
    """In whatever order boxes are asked for, and however few slices wait."""
    shown = FilteredSlices(image_of_array(GREY), AREAS, most=most, threads=threads)
    for sides in corners:
        box = Box(*zip(*(sorted(pair) for pair in sides), strict=True))
        if box.size:
            np.testing.assert_array_equal(shown.read(box), WHOLE[(slice(None), *box.slices)])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", ">u2", "uint32", "float32", "float64"])
def test_copies_have_the_type_of_the_image(dtype):
    """Bytes in the other order included. The mean of the border, which integers round, is that of their type."""
    grey = GREY.astype(dtype)
    found = FilteredSlices(image_of_array(grey), AREAS).read(Box.of_shape(GREY.shape))
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found[0], grey)
    np.testing.assert_array_equal(found[1:], np.stack([grain_filter(plane, AREAS) for plane in grey], axis=1))


def test_blocks_of_the_same_slices_filter_these_once(counted):
    """Blocks row by row, which reach a slice beyond their own on both sides: of z rows that follow each other, those
    they share are not filtered again."""
    shown = FilteredSlices(image_of_array(GREY), AREAS, most=8, threads=1)
    for core in Box.of_shape(GREY.shape).blocks((2, 6, 7)):
        shown.read(core.grow((1, 2, 2)).intersect(Box.of_shape(GREY.shape)))
    assert sum(counted) == 7


def test_no_more_slices_wait_than_said(counted, tmp_path: Path):
    shown = FilteredSlices(image_of_array(GREY), AREAS, file=PassingFile(tmp_path), most=2, threads=1)
    for z in (0, 1, 0, 2, 0, 1):
        shown.read(Box((z, 0, 0), (z + 1, 5, 5)))
    assert sum(counted) == 4  # 1 went when 2 came, and was filtered again
    assert shown.file._opened().seek(0, 2) == 2 * WHOLE[1:, 0].nbytes
    for z in range(7):
        shown.read(Box((z, 0, 0), (z + 1, 5, 5)))
    assert shown.file._opened().seek(0, 2) == 2 * WHOLE[1:, 0].nbytes


def test_a_disk_that_was_full_leaves_the_slices_that_wait_as_they_are(monkeypatch: pytest.MonkeyPatch):
    """Blocks that other threads read meanwhile are written, so they must be right."""
    shown = FilteredSlices(image_of_array(GREY), AREAS, most=2, threads=1)
    one = [Box((z, 0, 0), (z + 1, 18, 21)) for z in range(7)]
    for z in (0, 1):
        shown.read(one[z])

    class Full:
        def __getattr__(self, name: str) -> object:
            return getattr(file, name)

        def write(self, content: object) -> None:
            raise OSError(errno.ENOSPC, "full")

    file = shown.file._opened()
    monkeypatch.setattr(shown.file, "_file", Full())
    with pytest.raises(StorageError, match="disk is full"):
        shown.read(one[2])
    monkeypatch.setattr(shown.file, "_file", file)
    for z in (3, 1, 3, 2):
        np.testing.assert_array_equal(shown.read(one[z]), WHOLE[:, z : z + 1])


def test_nothing_is_left_on_disk_and_nothing_is_filtered_before_it_is_asked_for(counted, tmp_path: Path):
    """A killed process leaves no file: it has no name."""
    shown = FilteredSlices(image_of_array(GREY), AREAS, file=PassingFile(tmp_path), most=None)
    assert not counted
    shown.read(Box((0, 0, 0), (3, 18, 21)))
    assert list(tmp_path.iterdir()) == []


def test_images_share_a_file():
    """Validation sets may have thousands of images, each filtered once, and a process may open 1024 files. Slices of
    one image go for others of its own only, whatever their size."""
    file, stacks = PassingFile(), [GREY, GREY[:, 2:, 3:], GREY[:, :9]]
    shown = [FilteredSlices(image_of_array(one), AREAS, file=file, most=2, threads=1) for one in stacks]
    for z in (0, 1, 2, 0, 2, 5):
        for grey, one in zip(stacks, shown, strict=True):
            found = one.read(Box((z, 0, 0), (z + 1, *grey.shape[1:])))
            np.testing.assert_array_equal(found[1:, 0], grain_filter(grey[z], AREAS))
    assert file._opened().seek(0, 2) == 2 * 2 * sum(grey[0].nbytes for grey in stacks)


def test_threads_get_what_they_ask_for():
    shown = FilteredSlices(image_of_array(GREY), AREAS, most=2, threads=2)
    boxes = list(Box.of_shape(GREY.shape).blocks((3, 9, 10))) * 4
    with ThreadPoolExecutor(4) as pool:
        for box, found in zip(boxes, pool.map(shown.read, boxes), strict=True):
            np.testing.assert_array_equal(found, WHOLE[(slice(None), *box.slices)])


def test_a_value_that_is_none_anywhere_in_a_slice_is_refused():
    grey = GREY.astype(np.float32)
    grey[2, 17, 20] = np.nan
    shown = FilteredSlices(image_of_array(grey), AREAS)
    shown.read(Box((0, 0, 0), (2, 5, 5)))
    with pytest.raises(VolumeError, match="slice 2 holds NaN"):
        shown.read(Box((2, 0, 0), (3, 5, 5)))


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (image_of_array(GREY[:, :5, :5]), "30 pixels: shapes in a plane of 5 x 5"),
        (image_of_array(GREY > 4), "values of type bool"),
        (replace(image_of_array(GREY), colors=3), "3 colour channels"),
        (replace(image_of_array(GREY), palette=("#000000",)), "indices of a palette"),
    ],
)
def test_what_cannot_be_filtered_is_refused_before_anything_is_read(image, text):
    with pytest.raises(VolumeError, match=text):
        FilteredSlices(image, AREAS)


def test_as_many_slices_at_once_as_memory_takes_and_never_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cristae.compiled.usable_cores", lambda: 8)
    shape = (100, 1000, 1000)
    each = bytes_of_slice(shape, 1, 2)
    assert each == 72_000_000
    assert [slices_at_once(shape, 1, 2, room) for room in (0, each, 3 * each + 5, 100 * each)] == [1, 1, 3, 8]
