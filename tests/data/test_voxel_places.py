"""Where the voxels of two files lie, and voxel sizes that nobody meant."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.data.geometry import (
    IN_PLANE,
    Geometry,
    check_same_place,
    common_size,
    corrected_size,
    placement_hint,
)
from cristae.data.image import VoxelSize, image_of_array, same_voxel_size
from cristae.data.unit_slips import check_typed_size, far_apart, slip_between, unit_slip
from cristae.errors import VolumeError, VoxelSizeError
from cristae.progress import Progress

EM = st.tuples(st.floats(1, 200), st.floats(1, 40)).map(lambda edges: (max(edges), edges[1], edges[1]))
"""Voxel sizes that people work at."""
HERE = Geometry("the image a.tif", (6, 40, 56), (40.0, 4.0, 4.0), (0.0, 0.0, 0.0))


class Heard(Progress):
    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, message: str) -> None:
        self.warned.append(message)


# One voxel size


@pytest.mark.parametrize(
    ("size", "meant"),
    [
        ((0.05, 0.004, 0.004), "um was meant where nm is said, it is 50 x 4 x 4 nm"),
        ((5e4, 4e3, 4e3), "nm was meant where um is said, it is 50 x 4 x 4 nm"),
        ((0.05, 4.0, 4.0), "um was meant where nm is said, it is 50 x 4 x 4 nm"),
        ((5e4, 4.0, 4.0), "nm was meant where um is said, it is 50 x 4 x 4 nm"),
        ((40.0, 4e3, 4e3), "nm was meant where um is said, it is 40 x 4 x 4 nm"),
        ((5e-6, 5e-6, 5e-6), "mm was meant where nm is said, it is 5 x 5 x 5 nm"),
        ((4.0, 4.0, 40.0), "order x, y, z, it is 40 x 4 x 4 nm"),
        ((8.0, 8.0, 40.01), "order x, y, z, it is 40.01 x 8 x 8 nm"),
    ],
)
def test_a_slip_is_told_with_what_was_meant(size: VoxelSize, meant: str) -> None:
    assert (unit_slip(size) or "").endswith(meant)


@pytest.mark.parametrize(
    "size", [(1e3, 1e3, 1e3), (1e6, 1e6, 1e6), (1e3, 4.0, 4.0), (352778.0, 352778.0, 352778.0), (1.0, 20.0, 20.0)]
)
def test_sizes_that_programs_write_where_nobody_set_one_are_slips(size: VoxelSize) -> None:
    assert unit_slip(size) is not None


@pytest.mark.parametrize(
    "size",
    [
        (0.1, 0.1, 0.1),  # cryo-EM
        (1.0, 1.0, 1.0),
        (0.8, 0.8, 0.8),
        (4.0, 4.0, 4.0),  # FIB-SEM
        (5.0, 4.9, 4.0),  # tilted milling
        (40.0, 4.0, 4.0),
        (30.0, 30.0, 30.0),
        (50.0, 0.5, 0.5),
        (250.0, 2.0, 2.0),  # thick sections
        (2.0, 10.0, 10.0),  # finely milled
        (400.0, 46.0, 59.0),
        (500.0, 500.0, 500.0),
    ],
)
def test_voxels_of_electron_microscopes_are_none(size: VoxelSize) -> None:
    assert unit_slip(size) is None
    check_typed_size(size)


@given(EM)
def test_sizes_that_people_work_at_are_no_slips_and_their_thousandth_is_one(size: VoxelSize) -> None:
    assert unit_slip(size) is None
    z, y, x = size
    assert unit_slip((z / 1000, y / 1000, x / 1000)) is not None


def test_a_single_slice_has_any_thickness() -> None:
    assert unit_slip((1e6, 4.0, 4.0), flat=True) is None
    assert "4 x 4 x 4" not in (unit_slip((1.0, 0.004, 0.004), flat=True) or "")
    assert unit_slip((1.0, 0.004, 0.004), flat=True) is not None


def test_what_is_typed_is_refused_where_it_is_a_slip() -> None:
    with pytest.raises(VoxelSizeError, match=r"0\.05 x 0\.004 x 0\.004 nm .*it is 50 x 4 x 4 nm; give it in nm"):
        check_typed_size((0.05, 0.004, 0.004))
    check_typed_size((1e3, 1e3, 1e3))


# Two voxel sizes


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ((0.04, 0.004, 0.004), "a factor of 1000, as if um and nm were confused"),
        ((400.0, 40.0, 40.0), "a factor of 10, as if angstrom and nm were confused"),
        ((4e7, 4e6, 4e6), "a factor of 1000000, as if mm and nm were confused"),
        ((4000.0, 400.0, 400.0), "a factor of 100"),
        ((0.04, 4.0, 4.0), "a factor of 1000 along z, as if um and nm were confused"),
        ((40.0, 4000.0, 4000.0), "a factor of 1000 along y and along x, as if um and nm were confused"),
        ((4.0, 4.0, 40.0), "as if one were written in the order x, y, z"),
        ((80.0, 8.0, 8.0), ""),
        ((0.04, 4000.0, 4000.0), ""),
        ((40.2, 4.02, 4.02), ""),
    ],
)
def test_what_two_sizes_have_to_do_with_each_other(other: VoxelSize, said: str) -> None:
    assert slip_between((40.0, 4.0, 4.0), other) == said
    assert slip_between(other, (40.0, 4.0, 4.0)) == said


@given(EM, EM)
def test_a_slip_between_sizes_is_one_in_both_directions(one: VoxelSize, other: VoxelSize) -> None:
    assert slip_between(one, other) == slip_between(other, one)
    assert far_apart(one, other) == far_apart(other, one)
    if same_voxel_size(one, other):
        assert not slip_between(one, other)
        assert not far_apart(one, other)


def test_far_is_more_than_eight_times() -> None:
    assert not far_apart((40.0, 4.0, 4.0), (40.0, 32.0, 32.0))
    assert far_apart((40.0, 4.0, 4.0), (40.0, 33.0, 33.0))
    assert not far_apart((400.0, 4.0, 4.0), (4.0, 4.0, 4.0))


# Two files


def test_files_that_say_nothing_agree_with_all() -> None:
    silent = replace(HERE, who="b.tif", voxel_size_nm=None, origin_nm=None)
    assert check_same_place(HERE, silent) == check_same_place(silent, HERE) == ()


def test_other_voxel_sizes_are_refused_with_both_files_sizes_and_a_cure() -> None:
    there = replace(HERE, who="the mask b.tif", voxel_size_nm=(0.04, 0.004, 0.004))
    with pytest.raises(
        VoxelSizeError,
        match=r"the image a\.tif says 40 x 4 x 4 nm, the mask b\.tif says 0\.04 x 0\.004 x 0\.004 nm .*um and nm.*; do",
    ):
        check_same_place(HERE, there, cure="do")
    flat = replace(HERE, voxel_size_nm=(1.0, 4.0, 4.0))
    assert check_same_place(HERE, flat, axes=IN_PLANE) == ()


@given(st.tuples(*[st.floats(-3, 3)] * 3))
def test_origins_half_a_voxel_apart_are_warned_of(shift: tuple[float, float, float]) -> None:
    assume(all(abs(abs(voxels) - 0.5) > 0.01 for voxels in shift))
    z, y, x = shift
    there = replace(HERE, who="the mask b.tif", origin_nm=(z * 40, y * 4, x * 4))
    found = check_same_place(HERE, there)
    assert bool(found) == (max(map(abs, shift)) > 0.5)
    for warning in found:
        assert "the mask b.tif begins at" in warning
        assert "the image a.tif at 0 x 0 x 0 nm" in warning
        assert "crop of another place" in warning


def test_other_orientations_are_refused() -> None:
    turned = replace(HERE, who="b.nii", orientation="LPS")
    assert check_same_place(HERE, turned) == ()
    with pytest.raises(VolumeError, match=r"b\.nii has the orientation LPS, the image a\.tif RAS"):
        check_same_place(replace(HERE, orientation="RAS"), turned)


def test_a_crop_tells_its_box_by_its_origin() -> None:
    part = Geometry("b.tif", (2, 10, 20), (40.0, 4.0, 4.0), (80.0, 40.0, 8.0))
    assert "covers the box 2:4,10:20,2:22 (z, y, x; from 0, ends not included) of the image a.tif" in placement_hint(
        HERE, part
    )
    assert placement_hint(HERE, replace(part, origin_nm=None)) == ""
    assert placement_hint(HERE, replace(part, origin_nm=(4000.0, 0.0, 0.0))) == ""


@pytest.mark.parametrize(
    ("shape", "order"), [((56, 40, 6), "x, y, z"), ((6, 56, 40), "z, x, y"), ((40, 56, 6), "y, x, z")]
)
def test_axes_in_another_order_are_named(shape: tuple[int, int, int], order: str) -> None:
    assert f"in the order {order};" in placement_hint(HERE, Geometry("b.tif", shape))


def test_a_part_of_a_file_without_origin_has_none() -> None:
    box = Box((2, 10, 2), (4, 20, 22))
    assert HERE.crop(box).origin_nm == (80.0, 40.0, 8.0)
    assert replace(HERE, origin_nm=None).crop(box).origin_nm is None
    image = image_of_array(np.zeros((6, 40, 56), np.uint8), voxel_size_nm=(40.0, 4.0, 4.0))
    assert Geometry.of(image, "the mask").crop(box) == Geometry("the mask array", box.shape, (40.0, 4.0, 4.0))


# What the command states


def test_a_stated_size_holds_where_the_file_says_none_or_an_impossible_one() -> None:
    heard, size = Heard(), (40.0, 4.0, 4.0)
    assert corrected_size(replace(HERE, voxel_size_nm=None), size, heard) == size
    assert corrected_size(HERE, (40.1, 4.0, 4.0), heard) == size
    assert not heard.warned
    for wrong in ((0.04, 0.004, 0.004), (1e3, 1e3, 1e3), (4.0, 4.0, 40.0), (1e6, 1e6, 1e6)):
        assert corrected_size(replace(HERE, voxel_size_nm=wrong), size, heard) == size
        assert "no likely voxel size; 40 x 4 x 4 nm is taken" in heard.warned.pop()
    with pytest.raises(VoxelSizeError, match=r"the command says 80 x 8 x 8 nm .*leave --voxel-size-nm out"):
        corrected_size(HERE, (80.0, 8.0, 8.0), heard)
    with pytest.raises(VoxelSizeError, match="angstrom and nm"):
        corrected_size(HERE, (400.0, 40.0, 40.0), heard)


def test_several_files_have_one_size_and_warn_of_origins() -> None:
    heard = Heard()
    silent, moved = replace(HERE, voxel_size_nm=None, who="b"), replace(HERE, origin_nm=(400.0, 0.0, 0.0), who="c")
    assert common_size([silent, HERE, moved], None, heard) == (40.0, 4.0, 4.0)
    assert len(heard.warned) == 1
    assert common_size([silent], None, heard) is None
    assert common_size([silent], (50.0, 4.0, 4.0), heard) == (50.0, 4.0, 4.0)
    one_micrometre = replace(HERE, voxel_size_nm=(1e3, 1e3, 1e3))
    heard.warned.clear()
    assert common_size([one_micrometre], None, heard) == (1e3, 1e3, 1e3)
    assert "no likely voxel size" in heard.warned.pop()
    slipped = replace(HERE, voxel_size_nm=(0.04, 0.004, 0.004), origin_nm=(0.4, 0.0, 0.0))
    with pytest.raises(VoxelSizeError, match="um and nm"):
        common_size([HERE, slipped], None, heard)
    heard.warned.clear()
    assert common_size([HERE, slipped], (40.0, 4.0, 4.0), heard) == (40.0, 4.0, 4.0)
    assert len(heard.warned) == 1
    assert "no likely voxel size" in heard.warned[0]
