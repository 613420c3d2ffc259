"""Where patches come from: coverage, fractions and independence of who asks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled_parts import part_of

from cristae.data.box import Box
from cristae.sampling import GridPatches, IndexedPatches, JitteredPatches, RandomPatches


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    step=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_grid_covers_every_voxel(shape: tuple[int, int, int], size: tuple[int, int], step: tuple[int, int]) -> None:
    stride = (min(step[0], size[0]), min(step[1], size[1]))
    plan = GridPatches(size=size, stride=stride).plan([part_of(np.zeros(shape, np.uint8), n_classes=1)], seed=0)
    seen = np.zeros(shape, bool)
    for place in plan.windows():
        seen[place.box.intersect(Box.of_shape(shape)).slices] = True
        assert place.box.shape == (1, *size)
    assert seen.all()


def test_each_epoch_is_the_same_set_in_another_order() -> None:
    plan = GridPatches(size=(8, 8), stride=(8, 8)).plan([part_of(np.zeros((2, 32, 32), np.uint8), n_classes=1)], seed=3)
    first, second = ([plan.place(e, i).box for i in range(len(plan))] for e in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second)
    assert [plan.place(0, i).box for i in range(len(plan))] == first


def test_random_draws_do_not_depend_on_the_order_of_asking() -> None:
    target = np.random.default_rng(0).integers(0, 3, (5, 60, 70)).astype(np.uint8)
    plan = RandomPatches(size=(16, 16), per_epoch=50).plan([part_of(target, n_classes=3)], seed=7)
    forward = [plan.place(2, i) for i in range(50)]
    assert [plan.place(2, i) for i in reversed(range(50))][::-1] == forward
    assert len(set(forward)) > 40


def test_a_rare_class_is_in_its_share_of_patches() -> None:
    target = np.zeros((10, 200, 200), np.uint8)
    target[5, 100, 100] = 2
    target[:, :20, :20] = 1
    plan = RandomPatches(size=(32, 32), per_epoch=400, foreground_share=0.5).plan(
        [part_of(target, n_classes=3)], seed=0
    )
    with_rare = sum(bool(np.any(target[plan.place(0, i).box.slices] == 2)) for i in range(400))
    # Half the patches aim at foreground and half of those at class 2: about 100 of 400.
    assert 70 < with_rare < 130


def test_uniform_draws_stay_where_voxels_count() -> None:
    target = np.full((1, 300, 300), 255, np.uint8)
    target[0, 250:, 250:] = 0
    plan = RandomPatches(size=(40, 40), per_epoch=50, foreground_share=0).plan([part_of(target, n_classes=2)], seed=0)
    for i in range(50):
        assert np.any(target[plan.place(0, i).box.slices] != 255)


def test_windows_where_nothing_counts_are_left_out() -> None:
    target = np.full((1, 64, 64), 255, np.uint8)
    target[0, :10, :10] = 1
    plan = GridPatches(size=(16, 16), stride=(16, 16)).plan([part_of(target, n_classes=2)], seed=0)
    assert [place.box.start for place in plan.windows()] == [(0, 0, 0)]


def test_a_part_smaller_than_the_patch_is_centred() -> None:
    plan = RandomPatches(size=(64, 64), per_epoch=1).plan([part_of(np.zeros((1, 20, 100), np.uint8), n_classes=1)], 0)
    box = plan.place(0, 0).box
    assert box.start[1] == -22
    assert box.stop[1] == 42
    assert 0 <= box.start[2] <= 36


def test_window_and_stride_need_the_same_axes() -> None:
    with pytest.raises(ValueError, match="same number of axes"):
        GridPatches(size=(8, 8), stride=(1, 8, 8))


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 20)),
    spacing=st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)),
    epoch=st.integers(0, 3),
)
def test_each_bin_has_one_corner_of_an_epoch(
    shape: tuple[int, ...], size: tuple[int, ...], spacing: tuple[int, ...], epoch: int
) -> None:
    part = part_of(np.zeros(shape, np.uint8), n_classes=1)
    plan = JitteredPatches(size=size, spacing=spacing).plan([part, part], seed=5)
    places = [plan.place(epoch, i) for i in range(len(plan))]
    assert len(plan) == 2 * len({p.box.start for p in places if p.part == 0})
    for axis, (n, s, d) in enumerate(zip(shape, size, spacing, strict=True)):
        corners = sorted({place.box.start[axis] for place in places if place.part == 1})
        if n <= s:
            assert corners == [-((s - n) // 2)]
        else:
            assert [corner // d for corner in corners] == list(range(-(-(n - s + 1) // d)))
            assert corners[-1] <= n - s


def test_jittered_windows_move_from_epoch_to_epoch_and_repeat_with_the_seed() -> None:
    part = part_of(np.zeros((3, 50, 60), np.uint8), n_classes=1)
    plans = [JitteredPatches(size=(16, 16), spacing=(8, 8)).plan([part], seed=seed) for seed in (1, 1, 2)]
    first, again, other = ([plan.place(3, i) for i in range(len(plan))] for plan in plans)
    assert first == again
    assert sorted(p.box for p in first) != sorted(p.box for p in other)
    assert sorted(p.box for p in first) != sorted(plans[0].place(4, i).box for i in range(len(plans[0])))


def test_jittered_windows_hold_voxels_that_count() -> None:
    target = np.full((1, 200, 200), 255, np.uint8)
    target[0, 150:153, 20:24] = 1
    target[0, 10:60, 100:150] = 0
    plan = JitteredPatches(size=(20, 20), spacing=(40, 40)).plan([part_of(target, n_classes=2)], seed=0)
    for i in range(len(plan)):
        assert np.any(target[plan.place(0, i).box.slices] != 255)


def test_a_window_that_is_moved_onto_a_labelled_voxel_stays_in_its_bin_where_it_can() -> None:
    """Scribbles within reach of the last bin of each axis: its window holds some; the other windows are moved there."""
    target = np.full((1, 200, 200), 255, np.uint8)
    target[0, 190:192, 185:199] = 1
    plan = JitteredPatches(size=(20, 20), spacing=(40, 40)).plan([part_of(target, n_classes=2)], seed=0)
    for epoch in range(20):
        boxes = [plan.place(epoch, i).box for i in range(len(plan))]
        assert all(np.any(target[box.slices] != 255) for box in boxes)
        assert sum(box.start[1] >= 160 and box.start[2] >= 160 for box in boxes) >= 1
    last = int(np.flatnonzero(plan._epoch(0)[1] == len(plan) - 1)[0])
    starts = {plan.place(0, last).box.start}
    for epoch in range(1, 30):
        last = int(np.flatnonzero(plan._epoch(epoch)[1] == len(plan) - 1)[0])
        starts.add(plan.place(epoch, last).box.start)
    assert all(160 <= y <= 180 and 160 <= x <= 180 for _, y, x in starts)
    assert len(starts) > 20


def test_indexed_patches_take_the_voxels_of_a_class_one_after_another() -> None:
    target = np.zeros((4, 300, 300), np.uint8)
    target[1, 140:150, 140:144] = 1
    target[2, 3, 4] = 2
    target[3, 100:200, 100:200] = 3
    plan = IndexedPatches(size=(64, 64), per_epoch=300, uniform_share=0.2).plan([part_of(target, n_classes=4)], seed=3)
    boxes = [plan.place(epoch, i).box for epoch in (0, 1) for i in range(300)]
    rare = [box for box in boxes if box == Box((2, 0, 0), (3, 64, 64))]
    assert 120 <= len(rare) <= 200  # a third of 80 % of 600 is 160
    centres = [(box.start[1] + 33, box.start[2] + 33) for box in boxes if box.start[0] == 1]
    inside = [centre for centre in centres if target[(1, *centre)] == 1]
    assert len(inside) > 100
    assert len(set(inside[:40])) == 40  # all 40 voxels once before any comes again
    assert inside[40:80] == inside[:40]


def test_indexed_patches_do_not_depend_on_the_order_of_asking() -> None:
    target = np.random.default_rng(0).integers(0, 3, (5, 60, 70)).astype(np.uint8)
    config = IndexedPatches(size=(16, 16), per_epoch=50)
    forward, backward = (config.plan([part_of(target, n_classes=3)], seed=7) for _ in range(2))
    expected = [forward.place(epoch, i) for epoch in range(3) for i in range(50)]
    found = [backward.place(epoch, i) for epoch in reversed(range(3)) for i in reversed(range(50))]
    assert found[::-1] == expected


def test_indexed_patches_are_clamped_as_in_the_papers_code() -> None:
    target = np.zeros((1, 512, 512), np.uint8)
    for y, x in ((0, 0), (129, 130), (511, 300)):
        target[0, y, x] = 1
    plan = IndexedPatches(size=(256, 256), per_epoch=3, uniform_share=0).plan([part_of(target, n_classes=2)], seed=0)
    assert sorted(plan.place(0, i).box.start[1:] for i in range(3)) == [(0, 0), (0, 1), (256, 171)]


def test_indexed_patches_without_foreground_fall_anywhere() -> None:
    plan = IndexedPatches(size=(8, 8), per_epoch=5).plan([part_of(np.zeros((1, 20, 20), np.uint8), n_classes=2)], 0)
    assert all(plan.place(0, i).box.shape == (1, 8, 8) for i in range(5))
