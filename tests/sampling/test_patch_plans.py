"""Where patches come from: coverage, fractions and independence of who asks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.sampling import GridPatches, RandomPatches, SamplePart


def part_of(target: np.ndarray, *, n_classes: int, invalid: int = 255) -> SamplePart:
    places = tuple(np.argwhere(target == k).astype(np.int32) for k in range(n_classes))
    return SamplePart(
        shape=target.shape,
        class_counts=np.array([len(p) for p in places]),
        class_voxels=places,
        has_foreground=lambda box: bool(np.any((target[box.slices] > 0) & (target[box.slices] != invalid))),
        has_valid=lambda box: bool(np.any(target[box.slices] != invalid)),
        fully_valid=not np.any(target == invalid),
    )


def test_seget_grid_has_the_papers_2940_and_784_patches() -> None:
    slice_part = part_of(np.zeros((1, 2048, 2048), np.uint8), n_classes=1)
    plan = GridPatches(size=(512, 512), stride=(256, 256)).plan([slice_part], seed=0)
    assert len(plan) == 49
    assert 60 * len(plan) == 2940
    assert 16 * len(plan) == 784


def test_golgi_copies_make_40_percent_positive() -> None:
    target = np.zeros((60, 64, 64), np.uint8)
    target[:15] = 1
    plan = GridPatches(size=(64, 64), stride=(32, 32), positive_copies=2).plan([part_of(target, n_classes=2)], seed=1)
    assert len(plan) == 75
    starts = [plan.place(0, i).box.start[0] for i in range(len(plan))]
    assert sum(z < 15 for z in starts) == 30
    assert sorted(starts) == sorted([*range(60), *range(15)])


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
