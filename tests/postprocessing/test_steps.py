"""Each step against SciPy or scikit-image on whole arrays, by hand, and by its laws; in blocks of any shape."""

from math import prod
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage
from skimage import measure, morphology
from step_data import FOUR, MASKS, SIZE_NM, TWO, edges, label_maps, maps_of, result, run_steps

from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.errors import RunError, VoxelSizeError
from cristae.postprocessing import Close, FillHoles, Open, RemoveSmall, SplitTouching, Threshold, step_problems
from cristae.postprocessing.memory import plan_work

NEIGHBOURS = {6: 1, 18: 2, 26: 3}


@settings(max_examples=12, deadline=None)
@given(maps_of(2), edges, st.sampled_from([6, 18, 26]), st.integers(1, 12))
def test_small_objects_are_removed_as_scikit_image_does(labels, blocks, connectivity, least) -> None:
    numbers = measure.label(labels, connectivity=NEIGHBOURS[connectivity])
    sizes = np.bincount(numbers.ravel())
    expected = np.where(sizes[numbers] >= least, labels, 0)
    step = RemoveSmall(min_size_vox=least, connectivity=connectivity)
    np.testing.assert_array_equal(result(labels, step, edges=blocks), expected)


@settings(max_examples=10, deadline=None)
@given(maps_of(2), edges, st.sampled_from([4, 8]), st.integers(1, 8))
def test_small_objects_of_slices_are_removed_slice_by_slice(labels, blocks, connectivity, least) -> None:
    expected = labels.copy()
    for plane in expected:
        numbers = measure.label(plane, connectivity=1 if connectivity == 4 else 2)
        plane[np.bincount(numbers.ravel())[numbers] < least] = 0
    step = RemoveSmall(min_size_vox=least, connectivity=connectivity)
    np.testing.assert_array_equal(result(labels, step, edges=blocks), expected)


@settings(max_examples=12, deadline=None)
@given(maps_of(4), edges, st.integers(1, 12), st.sampled_from(["background", "surrounding"]))
def test_removing_small_objects_twice_removes_no_more_whatever_the_blocks(labels, blocks, least, becomes) -> None:
    step = RemoveSmall(min_size_vox=least, becomes=becomes, connectivity=6)
    once = result(labels, step, edges=blocks, classes=FOUR)
    np.testing.assert_array_equal(once, result(labels, step, classes=FOUR))
    np.testing.assert_array_equal(once, result(once, step, edges=blocks, classes=FOUR))


def test_a_removed_object_becomes_what_surrounds_it_most() -> None:
    """By hand: the er voxel has three faces on mito and one on background; the granule touches only the er voxel,
    which goes too, and the background."""
    labels = np.array([[[0, 1, 1, 0, 0], [1, 1, 2, 3, 0], [0, 1, 1, 0, 0]]], np.uint8)
    expected = np.array([[[0, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 1, 1, 0, 0]]], np.uint8)
    step = RemoveSmall(min_size_vox=2, becomes="surrounding", classes=("er", "granule"))
    for blocks in [(1, 3, 5), (1, 1, 1), (1, 2, 3)]:
        outcome = run_steps(label_maps(labels, classes=FOUR), step, edges=blocks)
        np.testing.assert_array_equal(outcome.maps.images[0].read(), expected)
        er, granule = outcome.changes
        assert (er.class_name, er.objects, er.lost, er.gained) == ("er", 1, 1, 0)
        assert (granule.class_name, granule.objects, granule.lost) == ("granule", 1, 1)


def test_without_a_background_small_objects_become_their_surrounding_class() -> None:
    labels = np.array([[[0, 0, 1, 0], [0, 0, 0, 0]]], np.uint8)
    classes = Classes(names=("a", "b"), background=False)
    step = RemoveSmall(min_size_vox=3, becomes="surrounding")
    assert not result(labels, step, classes=classes).any()
    assert step_problems([RemoveSmall(min_size_vox=3)], classes) == [
        "0.becomes: the classes have no background; set `becomes: surrounding`"
    ]


def test_sizes_in_nm3_are_those_of_voxels() -> None:
    """Voxels of 2 nm3: objects of 3 voxels are 6 nm3."""
    labels = np.array([[[1, 1, 1, 0, 1, 1]]], np.uint8)
    np.testing.assert_array_equal(result(labels, RemoveSmall(min_size_nm3=6.0)), [[[1, 1, 1, 0, 0, 0]]])
    assert not result(labels, RemoveSmall(min_size_nm3=6.1)).any()
    with pytest.raises(VoxelSizeError, match="voxel size is not known"):
        run_steps(label_maps(labels, voxel_size_nm=None), RemoveSmall(min_size_nm3=6.0))


@settings(max_examples=12, deadline=None)
@given(maps_of(2), edges, st.sampled_from([6, 26]))
def test_all_holes_are_filled_as_scipy_does(labels, blocks, connectivity) -> None:
    thick = tuple(axis for axis, size in enumerate(labels.shape) if size > 1)
    inner = labels.squeeze(tuple({0, 1, 2} - set(thick))) if thick else labels
    structure = ndimage.generate_binary_structure(inner.ndim, 1 if connectivity == 6 else inner.ndim)
    expected = ndimage.binary_fill_holes(inner, structure).reshape(labels.shape) if len(thick) else labels
    found = result(labels, FillHoles(connectivity=connectivity), edges=blocks)
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=12, deadline=None)
@given(maps_of(4), edges, st.sampled_from([4, 8, 6, 18, 26]), st.integers(1, 6))
def test_filling_holes_twice_fills_no_more_and_changes_background_only(labels, blocks, connectivity, most) -> None:
    step = FillHoles(classes=("mito", "granule"), max_size_vox=most, connectivity=connectivity)
    once = result(labels, step, edges=blocks, classes=FOUR)
    np.testing.assert_array_equal(once, result(labels, step, classes=FOUR))
    np.testing.assert_array_equal(once, result(once, step, edges=blocks, classes=FOUR))
    assert set(np.unique(labels[once != labels])) <= {0}
    assert set(np.unique(once[once != labels])) <= {1, 3}


def test_a_hole_that_touches_two_classes_stays() -> None:
    ring = np.ones((1, 5, 5), np.uint8)
    ring[0, 1:4, 1:4] = 0
    two = ring.copy()
    two[0, 2, 2] = 2
    other = ring.copy()
    other[0, 0, 2] = 2
    assert (result(ring, FillHoles(), classes=FOUR) == 1).all()
    np.testing.assert_array_equal(result(two, FillHoles(), classes=FOUR), two)
    np.testing.assert_array_equal(result(other, FillHoles(), classes=FOUR), other)
    np.testing.assert_array_equal(result(ring, FillHoles(max_size_vox=8)), ring)
    assert result(ring, FillHoles(max_size_vox=9)).all()
    assert result(ring, FillHoles(max_size_nm3=18.0)).all()


def test_holes_of_slices_need_no_wall_above_and_below() -> None:
    tube = np.ones((3, 5, 5), np.uint8)
    tube[:, 2, 2] = 0
    np.testing.assert_array_equal(result(tube, FillHoles()), tube)
    assert result(tube, FillHoles(connectivity=4)).all()


@settings(max_examples=12, deadline=None)
@given(maps_of(2), edges, st.sampled_from([1, 1.5, 2]))
def test_opening_and_closing_are_those_of_scikit_image(labels, blocks, radius) -> None:
    """The reference is padded with what lies at its border, as 'outside the volume the class goes on' asks."""
    reach = int(radius)
    grid = np.mgrid[tuple(slice(-reach, reach + 1) for _ in range(3))]
    ball = (grid**2).sum(0) <= radius**2
    mask = labels.astype(bool)
    eroded = morphology.erosion(mask, ball, mode="ignore")
    opened = morphology.dilation(eroded, ball, mode="ignore")
    closed = morphology.erosion(morphology.dilation(mask, ball, mode="ignore"), ball, mode="ignore")
    np.testing.assert_array_equal(result(labels, Open(radius_vox=radius), edges=blocks), opened)
    np.testing.assert_array_equal(result(labels, Close(radius_vox=radius), edges=blocks), closed)


def test_a_ball_of_whole_voxels_in_nm_does_not_depend_on_blocks() -> None:
    """171.51 / 57.17 is a little less than 3 in floating point, and 3 * 57.17 is not more than 171.51."""
    labels = np.zeros((1, 1, 40), np.uint8)
    labels[..., [8, 12, 18, 23, 30]] = 1
    size, step = (57.17, 57.17, 57.17), Close(radius_nm=171.51)
    maps = label_maps(labels, voxel_size_nm=size)
    whole = run_steps(maps, step).maps.images[0].read()
    assert (whole != labels).any()
    for edge in range(1, 9):
        np.testing.assert_array_equal(run_steps(maps, step, edges=(1, 1, edge)).maps.images[0].read(), whole)


def test_blocks_shrink_where_balls_reach_far(tmp_path: Path) -> None:
    """By hand: a ball of 40 voxels brings 80 on each side of a block; the smallest block of 16 x 128 x 128 becomes one
    of 176 x 288 x 288, with 64 bytes for each voxel 891 MiB."""
    image = image_of_array(np.broadcast_to(np.uint8(0), (400, 600, 600)), voxel_size_nm=(5.0, 5.0, 5.0))
    used = psutil.Process().memory_info().rss // 2**20 + 512
    ball = Open(radius_nm=200.0)
    assert prod(plan_work([image], [], tmp_path, f"{used + 1200}MiB").edges) > 1 << 21
    z, y, x = plan_work([image], [ball], tmp_path, f"{used + 1200}MiB").edges
    assert (z + 160) * (y + 160) * (x + 160) * 64 < 1250 * 2**20
    with pytest.raises(RunError, match="post-processing needs"):
        plan_work([image], [ball], tmp_path, f"{used + 800}MiB")


def test_a_ball_in_nm_stays_in_its_slice_where_slices_are_far_apart() -> None:
    labels = np.zeros((3, 5, 5), np.uint8)
    labels[1] = 1
    np.testing.assert_array_equal(result(labels, Open(radius_nm=1.9)), labels)
    assert not result(labels, Open(radius_nm=2.0)).any()


@settings(max_examples=12, deadline=None)
@given(maps_of(4), edges, st.sampled_from([Open(classes=("er",), radius_vox=1), Close(classes=("er",), radius_vox=1)]))
def test_opening_and_closing_leave_other_classes_alone(labels, blocks, step) -> None:
    found = result(labels, step, edges=blocks, classes=FOUR)
    moved = found != labels
    before, after = (2, 0) if step.name == "open" else (0, 2)
    assert set(labels[moved]) <= {before}
    assert set(found[moved]) <= {after}


def test_thresholds_decide_chosen_classes_and_background_only() -> None:
    """By hand, for two chosen classes of four at 0.4 (102 of 255)."""
    labels = np.array([[[0, 0, 1, 1, 3, 2, 0]]], np.uint8)
    mito = np.array([[[200, 102, 90, 150, 255, 110, 120]]], np.uint8)
    er = np.array([[[0, 0, 103, 160, 255, 110, 120]]], np.uint8)
    maps = label_maps(labels, classes=FOUR, probabilities={"mito": mito, "er": er})
    step = Threshold(classes=("mito", "er"), value=0.4)
    for blocks in [(1, 1, 7), (1, 1, 2)]:
        found = run_steps(maps, step, edges=blocks).maps.images[0].read()
        np.testing.assert_array_equal(found, [[[1, 0, 2, 2, 3, 1, 1]]])
    with pytest.raises(RunError, match="needs the probabilities of 'granule'"):
        run_steps(maps, Threshold(value=0.4))


def test_overlapping_masks_are_treated_each_by_itself() -> None:
    mito, er = np.zeros((2, 1, 5, 5), np.uint8)
    mito[0, :3, :3] = 1
    mito[0, 1, 1] = 0
    er[0, 4, 4] = 1
    maps = label_maps(mito, er, classes=MASKS, probabilities={"mito": mito * 255, "er": er * 100})
    steps = FillHoles(), RemoveSmall(min_size_vox=2)
    outcome = run_steps(maps, *steps, edges=(1, 2, 2))
    assert [int(image.read().sum()) for image in outcome.maps.images] == [9, 0]
    assert [(c.step, c.class_name, c.gained, c.lost) for c in outcome.changes] == [
        ("fill_holes", "mito", 1, 0),
        ("fill_holes", "er", 0, 0),
        ("remove_small", "mito", 0, 0),
        ("remove_small", "er", 0, 1),
    ]
    low = run_steps(maps, Threshold(classes=("er",), value=0.39)).maps.images
    assert int(low[1].read().sum()) == 1
    assert low[0] is maps.images[0]
    assert not run_steps(maps, Threshold(value=0.4)).maps.images[1].read().any()


def ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius_nm: float) -> np.ndarray:
    grid = np.indices(shape)
    apart = [(g - c) * s for g, c, s in zip(grid, centre, SIZE_NM, strict=True)]
    return sum(d**2 for d in apart) <= radius_nm**2


@pytest.mark.parametrize("blocks", [(16, 40, 60), (5, 7, 11), (16, 8, 60)])
def test_touching_balls_are_two_instances_and_an_irregular_object_is_one(blocks) -> None:
    shape = (16, 40, 60)
    labels = np.zeros(shape, np.uint8)
    labels[ball(shape, (8, 12, 12), 9) | ball(shape, (8, 12, 26), 9)] = 1
    labels[4:10, 26:38, 5:50] = 1
    labels[6:9, 24:27, 20:26] = 1
    outcome = run_steps(label_maps(labels), SplitTouching(depth_nm=2), edges=blocks)
    found = outcome.instances["mito"].read()
    assert found[8, 12, 12] == 1
    assert found[8, 12, 26] == 3
    assert set(np.unique(found[:, 24:])) == {0, 2}
    np.testing.assert_array_equal(found > 0, labels > 0)
    (change,) = outcome.changes
    assert (change.objects, change.instances, change.left_whole) == (1, 3, 0)
    whole = run_steps(label_maps(labels), SplitTouching(depth_nm=2, largest_box_vox=100), edges=blocks)
    np.testing.assert_array_equal(whole.instances["mito"].read(), measure.label(labels, connectivity=3))
    assert whole.changes[0].left_whole == 2


@settings(max_examples=12, deadline=None)
@given(maps_of(3), edges)
def test_instances_do_not_depend_on_blocks(labels, blocks) -> None:
    maps = label_maps(labels, classes=FOUR)
    step = SplitTouching(classes=("mito", "er"), depth_nm=0.5)
    whole, parts = run_steps(maps, step), run_steps(maps, step, edges=blocks)
    assert whole.changes == parts.changes
    for name in ("mito", "er"):
        np.testing.assert_array_equal(whole.instances[name].read(), parts.instances[name].read())


def test_slips_in_steps_are_told() -> None:
    with pytest.raises(ValidationError, match="give one of them"):
        RemoveSmall(min_size_vox=3, min_size_nm3=4.0)
    with pytest.raises(ValidationError, match="give min_size_vox or min_size_nm3"):
        RemoveSmall()
    with pytest.raises(ValidationError, match="give radius_vox or radius_nm"):
        Open()
    assert step_problems([FillHoles(classes=("golgi",))], TWO) == [
        "0.classes: there is no class 'golgi' to change; there are mito"
    ]
    wrong = step_problems([SplitTouching(), SplitTouching(), FillHoles()], TWO)
    assert [problem.partition(":")[0] for problem in wrong] == ["0.name", "1.name", "0.name"]
    everywhere = Classes(names=("a", "b"), background=False)
    steps = [Threshold(value=0.5), FillHoles(), Open(radius_vox=1), Close(radius_vox=1)]
    assert len(step_problems(steps, everywhere)) == 4


def test_classes_without_names_are_called_by_their_ids() -> None:
    assert RemoveSmall.model_validate({"classes": [1, "mito"], "min_size_vox": 3}).classes == ("1", "mito")
