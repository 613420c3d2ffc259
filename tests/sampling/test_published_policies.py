"""The papers' ways to choose patches, to the voxel."""

from collections import Counter

import numpy as np
import pytest
from sampled_parts import part_of

from cristae.data.box import Box
from cristae.data.synthetic import SyntheticConfig, synthetic_volume
from cristae.sampling import GridPatches, IndexedPatches, JitteredPatches, SamplePart


def empty_part(shape: tuple[int, int, int], foreground: int = 0) -> SamplePart:
    """A part whose voxels nobody looks at; windows of its first slices have foreground."""
    return SamplePart(
        shape,
        np.array([1000, 1000]),
        (np.zeros((1, 3), np.int32), np.zeros((1, 3), np.int32)),
        lambda box: box.start[0] < foreground,
        lambda box: True,
    )


def test_segets_60_and_16_slices_have_2940_and_784_patches_and_golgis_copies_make_40_percent() -> None:
    """Facts 8 and 9 of SegET: 7 x 7 windows a slice; 735 positive of 2940, twice, are 1470 of 3675."""
    train = empty_part((60, 2048, 2048), foreground=15)
    assert len(GridPatches(size=(512, 512), stride=(256, 256)).plan([train], seed=0)) == 2940
    plan = GridPatches(size=(512, 512), stride=(256, 256), positive_copies=2).plan([train], seed=0)
    positive = sum(plan.place(0, index).box.start[0] < 15 for index in range(len(plan)))
    assert (positive, len(plan)) == (1470, 3675)
    validate = [empty_part((1, 2048, 2048)) for _ in range(0, 76, 5)]
    assert len(GridPatches(size=(512, 512), stride=(256, 256)).plan(validate, seed=0)) == 784


@pytest.mark.parametrize(
    ("size", "spacing", "windows"),
    [
        ((5, 296, 296), (2, 100, 100), (23, 6, 6)),
        ((1, 388, 388), (1, 80, 80), (50, 6, 6)),
        ((5, 296, 296), (6, 100, 100), (8, 6, 6)),
        ((16, 180, 180), (3, 150, 150), (12, 5, 5)),
        ((1, 572, 572), (1, 40, 40), (50, 6, 6)),
    ],
)
def test_dense_cells_corners_lie_one_in_each_bin(
    size: tuple[int, int, int], spacing: tuple[int, int, int], windows: tuple[int, int, int]
) -> None:
    """Fact 3 and section 7 of Guay et al.: bins [d i, min(d (i + 1), V - w + 1)); 828, 1800, 288, 300 windows."""
    shape = (50, 800, 800)
    plan = JitteredPatches(size=size, spacing=spacing).plan([empty_part(shape)], seed=4)
    assert len(plan) == np.prod(windows)
    seen: set[tuple[int, ...]] = set()
    for epoch in range(3):
        boxes = [plan.place(epoch, index).box for index in range(len(plan))]
        for axis, (length, side, step) in enumerate(zip(shape, size, spacing, strict=True)):
            usable = length - side + 1
            corners = sorted({box.start[axis] for box in boxes})
            assert len(corners) == -(-usable // step) == windows[axis]
            for number, corner in enumerate(corners):
                assert step * number <= corner < min(step * (number + 1), usable)
        assert len(set(boxes)) == len(boxes)
        seen |= {box.start for box in boxes}
    assert len(seen) > len(plan)  # drawn anew every epoch


def test_the_80_20_policy_places_every_voxel_by_the_papers_formula() -> None:
    """Section 5 of Meyer et al.: corner = voxel - 1 - half the patch, clamped to [0, size - patch]; all in turn."""
    target = np.random.default_rng(0).integers(0, 4, (3, 40, 37)).astype(np.uint8)
    target[0, 0, 0] = target[2, 39, 36] = 1
    plan = IndexedPatches(size=(16, 16), per_epoch=7000, uniform_share=0).plan([part_of(target, n_classes=4)], seed=0)
    boxes = Counter(plan.place(0, index).box for index in range(7000))
    expected = {
        Box((z, y, x), (z + 1, y + 16, x + 16))
        for z, y, x in (
            (z, int(np.clip(y - 1 - 8, 0, 40 - 16)), int(np.clip(x - 1 - 8, 0, 37 - 16)))
            for z, y, x in np.argwhere(target > 0).tolist()
        )
    }
    assert set(boxes) == expected
    for k in (1, 2, 3):
        own = IndexedPatches(size=(16, 16), per_epoch=2 * int((target == k).sum()), uniform_share=0).plan(
            [part_of(np.where(target == k, 1, 0).astype(np.uint8), n_classes=2)], seed=k
        )
        corners = [own.place(0, index).box.start for index in range(len(own))]
        assert corners[: len(own) // 2] == corners[len(own) // 2 :]  # read round and round
        once = Counter(
            (z, int(np.clip(y - 9, 0, 24)), int(np.clip(x - 9, 0, 21))) for z, y, x in np.argwhere(target == k).tolist()
        )
        assert Counter(corners[: len(own) // 2]) == once  # each voxel once


def test_the_uniform_patches_of_the_80_20_policy_have_corners_up_to_size_minus_257() -> None:
    """Corner y, x in [0, size - 257], both ends included, of any slice: the last possible corner is never drawn."""
    target = np.zeros((3, 262, 259), np.uint8)
    plan = IndexedPatches(size=(256, 256), per_epoch=3000, uniform_share=1).plan([part_of(target, n_classes=2)], 0)
    starts = [plan.place(0, index).box.start for index in range(3000)]
    assert {z for z, _, _ in starts} == {0, 1, 2}
    assert {y for _, y, _ in starts} == set(range(262 - 257 + 1))
    assert {x for _, _, x in starts} == set(range(259 - 257 + 1))
    tight = IndexedPatches(size=(256, 256), per_epoch=5, uniform_share=1).plan(
        [part_of(np.zeros((1, 256, 256), np.uint8), n_classes=2)], 0
    )
    assert {tight.place(0, index).box.start for index in range(5)} == {(0, 0, 0)}


def test_a_fifth_of_the_patches_is_uniform() -> None:
    """Fact 12 of Meyer et al.: 20 % random (integers 0 to 9 below 2). Foreground is where uniform corners never are."""
    target = np.zeros((1, 60, 60), np.uint8)
    target[0, 59, 59] = 1
    plan = IndexedPatches(size=(16, 16), per_epoch=5000).plan([part_of(target, n_classes=2)], seed=0)
    uniform = sum(plan.place(0, index).box.start != (0, 44, 44) for index in range(5000))
    assert 0.18 < uniform / 5000 < 0.22


def test_lists_that_are_samples_give_each_part_its_share() -> None:
    """3,000 voxels in one part, of which 100 are remembered, and 300 in another: a tenth as many patches."""
    large, small = np.ones((1, 50, 60), np.uint8), np.ones((1, 15, 20), np.uint8)
    parts = [part_of(large, n_classes=2, listed=100), part_of(small, n_classes=2, listed=100)]
    plan = IndexedPatches(size=(4, 4), per_epoch=110, uniform_share=0).plan(parts, seed=0)
    found = Counter(plan.place(0, index).part for index in range(110))
    assert found == {0: 100, 1: 10}


def shares(target: np.ndarray, plan: object, count: int) -> np.ndarray:
    voxels = np.concatenate([target[plan.place(0, index).box.slices].ravel() for index in range(count)])  # type: ignore[attr-defined]
    return np.bincount(voxels, minlength=7) / voxels.size


def test_the_80_20_policy_moves_patch_shares_from_background_to_every_structure() -> None:
    """Section 5 of Meyer et al. reports 77.6 % background instead of 92.0 %, and each structure 2.6 to 3.7 times as
    much in FS-1. Here the direction: less background, and more of the five rarer structures, most of the rarest."""
    volume = synthetic_volume(SyntheticConfig(shape=(6, 320, 320), seed=2))
    target = volume.labels[0].read(Box.of_shape(volume.image.shape))
    part = part_of(target, n_classes=7)
    balanced, uniform = (
        shares(target, IndexedPatches(size=(64, 64), per_epoch=400, uniform_share=share).plan([part], seed=0), 400)
        for share in (0.2, 1.0)
    )
    assert balanced[0] < uniform[0]
    ratio = balanced / uniform
    rare = np.argsort(part.class_counts[1:]) + 1
    assert (ratio[rare[:5]] > 1.2).all()
    assert ratio[rare[0]] > ratio[rare[-1]]
