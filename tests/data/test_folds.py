"""Folds: what stays together, that classes are spread, and that training keeps away from what is validated."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.description import DataConfig, IdLabels, VolumeConfig
from cristae.data.folds import units
from cristae.data.folds.assignment import cut_blocks, deal
from cristae.data.folds.config import FoldsConfig
from cristae.data.folds.fold import Fold
from cristae.data.folds.plan import FoldPlan, plan_folds, regions_of
from cristae.data.image import image_of_array
from cristae.data.open import open_data
from cristae.data.public import find_set
from cristae.data.splits import Part, labelled_boxes, parts_of
from cristae.data.volume import Volume
from cristae.errors import VolumeError

CLASSES = Classes(names=("background", "mito", "nucleus"))


def volume(labels: np.ndarray, name: str = "a", labelled: Sequence[int] | None = None) -> Volume:
    return Volume(
        name,
        image_of_array(np.zeros(labels.shape, np.uint8)),
        labels=(image_of_array(labels.astype(np.uint8)),),
        labelled_slices=None if labelled is None else tuple(labelled),
    )


def whole(one: Volume) -> Part:
    return Part(one, Box.of_shape(one.image.shape))


def described(*volumes: Volume, **fields: object) -> dict[str, VolumeConfig]:
    names = dict.fromkeys(one.name.split("/")[0] for one in volumes)
    return {name: VolumeConfig.model_validate({"name": name, "image": "x", **fields}) for name in names}


def plan(
    config: FoldsConfig,
    parts: Sequence[Part],
    guard: Triple = (0, 0, 0),
    volumes: Mapping[str, VolumeConfig] | None = None,
    test: Sequence[Part] = (),
) -> FoldPlan:
    known = volumes or described(*(part.volume for part in parts))
    splits = {"train": parts, "validate": (), "test": test}
    return plan_folds(config, splits, known, CLASSES, dict.fromkeys(known, guard))


@pytest.mark.parametrize(("fields", "slices", "made"), [({}, 9, 5), ({"at_most": 6}, 9, 6), ({"at_most": 6}, 4, 4)])
def test_auto_makes_as_many_folds_as_the_data_allow_up_to_a_number(
    fields: dict[str, int], slices: int, made: int
) -> None:
    labels = np.broadcast_to(np.eye(8, dtype=np.uint8) + 1, (slices, 8, 8))
    assert len(plan(FoldsConfig(by="slices", **fields), [whole(volume(labels))]).folds) == made


def marked(one: Volume, parts: Sequence[Part]) -> np.ndarray:
    """The voxels of a volume whose labels count in some parts."""
    found = np.zeros(one.image.shape, bool)
    for part in parts:
        if part.volume is one:
            for box in labelled_boxes(part):
                found[box.slices] = True
    return found


def too_near(one: Volume, fold: Fold, guard: Triple) -> int:
    """Training voxels that lie within the guard of a validation voxel: an independent count, by dilation."""
    size = [2 * side + 1 for side in guard]
    near = ndimage.maximum_filter(marked(one, fold.validate), size=size, mode="constant")
    return int(np.count_nonzero(near & marked(one, fold.train)))


sides = st.tuples(st.integers(8, 16), st.integers(3, 9), st.integers(3, 9))
guards = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))


@st.composite
def pools(draw: st.DrawFn) -> tuple[Volume, tuple[Part, ...]]:
    """A volume with some labelled slices, and disjoint regions of it."""
    shape = draw(sides)
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    slices = draw(st.none() | st.sets(st.integers(0, shape[0] - 1), min_size=6).map(sorted))
    one = volume(rng.integers(0, 3, shape), labelled=slices)
    cut = draw(st.integers(1, shape[2] - 1))
    boxes = [Box((0, 0, 0), (shape[0], shape[1], cut)), Box((0, 0, cut), shape)]
    if draw(st.booleans()):
        boxes = [Box((0, 0, 0), shape)]
    return one, tuple(Part(one, box) for box in boxes)


@given(
    pools(),
    guards,
    st.sampled_from([{"by": "slices"}, {"by": "slices", "order": "interleaved"}, {"by": "slices", "order": "shuffled"},
                     {"by": "boxes"}, {"by": "boxes", "axis": "x"}, {"by": "boxes", "axis": "y"}]),
    st.integers(2, 3),
)  # fmt: skip
def test_no_training_voxel_lies_within_the_guard_of_a_validation_voxel(
    pool: tuple[Volume, tuple[Part, ...]], guard: Triple, how: dict[str, str], count: int
) -> None:
    one, parts = pool
    config = FoldsConfig.model_validate({"count": count, **how})
    try:
        found = plan(config, parts, guard)
    except VolumeError:  # the guard may eat all there is, which is said
        with pytest.raises(VolumeError, match=r"fold \d .* guard_vox"):
            plan(config, parts, guard)
        return
    everything = marked(one, parts)
    validated = np.zeros_like(everything, int)
    for fold in found.folds:
        assert too_near(one, fold, guard) == 0
        train, validate = marked(one, fold.train), marked(one, fold.validate)
        validated += validate
        assert not (train & ~everything).any()
        # Nothing is given away: what is neither trained on nor validated lies in the gap.
        near = ndimage.maximum_filter(validate, size=[2 * side + 1 for side in guard], mode="constant")
        assert np.array_equal(train, everything & ~near)
        labels = one.labels[0].read()
        for counts, where in [(fold.train_counts, train), (fold.validate_counts, validate)]:
            assert np.array_equal(counts[:3], np.bincount(labels[where], minlength=3))
        assert fold.gap_counts.sum() == np.count_nonzero(everything & ~train & ~validate)
    assert np.array_equal(validated, everything.astype(int)), "each labelled voxel is validated once"


def nearest(one: Volume, a: Sequence[Part], b: Sequence[Part], guard: Triple) -> int:
    """Voxels of `a` within the guard of a voxel of `b`."""
    near = ndimage.maximum_filter(marked(one, b), size=[2 * side + 1 for side in guard], mode="constant")
    return int(np.count_nonzero(near & marked(one, a)))


@given(
    pools(),
    guards,
    st.sampled_from([{"by": "slices"}, {"by": "slices", "order": "interleaved"}, {"by": "slices", "order": "shuffled"},
                     {"by": "boxes"}, {"by": "boxes", "axis": "x"}, {"by": "slices", "stratify": False}]),
    st.integers(3, 4),
)  # fmt: skip
def test_nested_folds_keep_what_they_test_validate_and_train_on_apart(
    pool: tuple[Volume, tuple[Part, ...]], guard: Triple, how: dict[str, object], count: int
) -> None:
    one, parts = pool
    config = FoldsConfig.model_validate({"count": count, "nested": True, **how})
    try:
        found = plan(config, parts, guard)
    except VolumeError:
        with pytest.raises(VolumeError, match=r"fold \d .* guard_vox|folds.count: \d nested folds cannot be made"):
            plan(config, parts, guard)
        return
    everything, labels = marked(one, parts), one.labels[0].read()
    tested = np.zeros_like(everything, int)
    for fold in found.folds:
        assert fold.tested is not None
        test, validate, train = (marked(one, part) for part in (fold.tested.parts, fold.validate, fold.train))
        for a, b in [(fold.train, fold.tested.parts), (fold.train, fold.validate), (fold.validate, fold.tested.parts)]:
            assert nearest(one, a, b, guard) == 0
        tested += test
        near = ndimage.maximum_filter(test | validate, size=[2 * side + 1 for side in guard], mode="constant")
        assert np.array_equal(train, everything & ~near), "nothing is given away"
        for counts, where in [(fold.train_counts, train), (fold.validate_counts, validate), (fold.tested.counts, test)]:
            assert np.array_equal(counts[:3], np.bincount(labels[where], minlength=3))
        assert fold.gap_counts.sum() == np.count_nonzero(everything & ~train & ~validate & ~test)
        assert validate.any()
    assert np.array_equal(tested, everything.astype(int)), "each labelled voxel is tested once, validation gives way"


def test_a_nested_fold_validates_the_next_part_which_loses_its_slices_beside_the_tested_one() -> None:
    one = volume(np.ones((12, 4, 4)))
    config = FoldsConfig(count=4, by="slices", nested=True)
    first, second, *_, last = plan(config, [whole(one)], (1, 0, 0)).folds
    assert first.tested is not None
    assert last.tested is not None
    assert (first.tested.units, first.units) == (("a z 0-2",), ("a z 4-5",))
    assert [str(part.box) for part in first.train] == ["7:12,0:4,0:4"]
    assert [str(part.box) for part in second.train] == ["0:2,0:4,0:4", "10:12,0:4,0:4"]
    assert (last.tested.units, last.units) == (("a z 9-11",), ("a z 0-2",)), "the last is followed by the first"


def test_without_the_guard_validated_and_tested_voxels_touch() -> None:
    """The law above can fail: it does for a plan that was made with a smaller guard."""
    one = volume(np.random.default_rng(0).integers(0, 3, (12, 6, 6)))
    fold = plan(FoldsConfig(count=3, by="slices", nested=True), [whole(one)]).folds[0]
    assert fold.tested is not None
    assert nearest(one, fold.validate, fold.tested.parts, (1, 0, 0)) == 36
    assert nearest(one, fold.train, fold.validate, (1, 0, 0)) == 36
    assert nearest(one, fold.train, fold.tested.parts, (1, 0, 0)) == 0, "the other side of the stack"


def test_a_nested_fold_validates_a_part_that_has_all_classes_and_leaves_them_to_train_on() -> None:
    """Parts of four slices; nucleus is in 1, 3 and 4. The first fold would validate part 2, which has none: it takes
    the next that has. Where two parts alone have it, one is left to train on."""
    labels = np.zeros((16, 4, 4))
    labels[:, 0, 0] = 1
    labels[[0, 9, 13], 1, 1] = 2
    one = volume(labels)
    validated = [fold.units for fold in plan(FoldsConfig(count=4, by="boxes", axis="z", nested=True, stratify=False),
                                             [whole(one)]).folds]  # fmt: skip
    assert validated == [("a z 4-7",), ("a z 8-11",), ("a z 12-15",), ("a z 0-3",)]
    parts = [Part(one, Box((z, 0, 0), (z + 4, 4, 4))) for z in (0, 4, 8, 12)]
    volumes = [volume(labels[part.box.slices], f"v{number}") for number, part in enumerate(parts, start=1)]
    config = FoldsConfig(by="volumes", count=4, nested=True, order="shuffled")
    for fold in plan(config, [whole(part) for part in volumes]).folds:
        assert fold.validate_counts[2] > 0
        assert fold.train_counts[2] > 0
    two = plan(config, [whole(part) for part in (*volumes[:2], volume(labels[4:8], "v5"), volumes[3])])
    for fold in two.folds:
        assert fold.tested is not None
        assert fold.train_counts[2] > 0, "learning a class comes before validating it"
        assert (fold.validate_counts[2] > 0) == (fold.tested.counts[2] == 0)
    assert any("cannot validate nucleus" in warning for warning in two.warnings)
    assert any("cannot test nucleus" in warning for warning in two.warnings)


def test_a_nested_fold_takes_a_part_that_the_gap_leaves_something_of() -> None:
    """Of interleaved slices the next ones lie in the gap around the tested ones; those after the next do not."""
    one = volume(np.ones((21, 4, 4)))
    config = FoldsConfig(count=7, by="slices", order="interleaved", nested=True)
    first = plan(config, [whole(one)], (1, 0, 0)).folds[0]
    assert (first.tested and first.tested.units, first.units) == (("a z 0, 7, 14",), ("a z 2, 9, 16",))
    assert [str(part.box) for part in first.train] == ["4:6,0:4,0:4", "11:13,0:4,0:4", "18:21,0:4,0:4"]
    even = config.model_copy(update={"stratify": False})
    with pytest.raises(VolumeError, match=r"fold 1 has nothing left to validate: .* guard_vox \[1, 0, 0\]"):
        plan(even, [whole(one)], (1, 0, 0))


def test_nested_folds_need_three_parts() -> None:
    volumes = [volume(np.ones((3, 4, 4)), name) for name in "ab"]
    with pytest.raises(VolumeError, match=r"3 nested folds cannot be made of 2, .* volumes .*`nested` out"):
        plan(FoldsConfig(nested=True), [whole(one) for one in volumes])
    assert plan(FoldsConfig(nested=True, by="slices", count=3), [whole(one) for one in volumes]).count == 3


def test_nested_samples_that_are_parted_are_told() -> None:
    volumes = [volume(np.ones((3, 4, 4)), name) for name in ("a1", "a2", "b", "c")]
    known = {one.name: VolumeConfig(name=one.name, image="x", sample=one.name[0]) for one in volumes}
    found = plan(FoldsConfig(by="volumes", count=4, nested=True), [whole(one) for one in volumes], volumes=known)
    assert [warning.split(";")[0] for warning in found.warnings] == [
        f"folds: fold {fold} tests volumes of a, of which it is also trained or chosen on others" for fold in (1, 2)
    ]


def test_without_the_guard_the_law_is_broken() -> None:
    """The law above can fail: it does for a plan that was made with a smaller guard."""
    one = volume(np.random.default_rng(0).integers(0, 3, (12, 6, 6)))
    fold = plan(FoldsConfig(count=3, by="slices"), [whole(one)]).folds[1]
    assert too_near(one, fold, (0, 0, 0)) == 0
    assert too_near(one, fold, (1, 0, 0)) == 2 * 36
    assert too_near(one, fold, (2, 0, 0)) == 4 * 36


def test_training_and_validation_become_regions_of_a_recipe_that_open_as_planned() -> None:
    one = volume(np.random.default_rng(0).integers(0, 3, (12, 6, 9)), labelled=range(0, 12, 2))
    known = described(one)
    opened = {"a": (known["a"], (one,))}
    for how in ({"by": "slices"}, {"by": "boxes", "axis": "x"}):
        for fold in plan(FoldsConfig.model_validate({"count": 2, **how}), [whole(one)], (1, 1, 1)).folds:
            for parts in (fold.train, fold.validate):
                again = parts_of(regions_of(parts, known), opened, split="train")
                assert [part.box for part in again] == [part.box for part in parts]


def test_slices_are_blocked_so_that_each_class_is_in_each_block() -> None:
    labels = np.zeros((12, 4, 4))
    labels[[0, 1, 10], 0, 0] = 1
    labels[[0, 1, 10], 1, 1] = 2
    one = volume(labels)
    stratified = plan(FoldsConfig(count=3, by="slices"), [whole(one)]).folds
    assert [fold.units for fold in stratified] == [("a z 0",), ("a z 1-5",), ("a z 6-11",)]
    assert all(fold.validate_counts[1] and fold.validate_counts[2] for fold in stratified)
    even = plan(FoldsConfig(count=3, by="slices", stratify=False), [whole(one)])
    assert [fold.units for fold in even.folds] == [("a z 0-3",), ("a z 4-7",), ("a z 8-11",)]
    assert even.warnings == (
        "folds: fold 2 cannot validate mito, which 3 of 12 units hold; its mean over the folds is of the others",
        "folds: fold 2 cannot validate nucleus, which 3 of 12 units hold; its mean over the folds is of the others",
    )


def test_slices_in_between_that_have_no_labels_go_with_their_block() -> None:
    one = volume(np.ones((10, 4, 4)), labelled=(0, 3, 6, 9))
    first, second = plan(FoldsConfig(count=2, by="slices"), [whole(one)]).folds
    assert [str(part.box) for part in first.validate] == ["0:4,0:4,0:4"]
    assert [str(part.box) for part in second.train] == ["0:6,0:4,0:4"]
    guarded = plan(FoldsConfig(count=2, by="slices"), [whole(one)], (3, 0, 0)).folds[0]
    assert [str(part.box) for part in guarded.train] == ["7:10,0:4,0:4"], "slice 6 lies in the gap"


def test_whole_volumes_stay_together_and_the_rare_class_is_dealt_first() -> None:
    sizes = [(4, 1), (4, 1), (4, 2), (4, 2)]
    volumes = []
    for number, (depth, entry) in enumerate(sizes):
        labels = np.ones((depth, 4, 4))
        labels[0, 0, 0] = entry
        volumes.append(volume(labels, f"v{number}"))
    found = plan(FoldsConfig(count=2), [whole(one) for one in volumes])
    assert (found.by, found.why) == ("volumes", "the regions lie in 4 volumes")
    assert all(fold.validate_counts[2] == 1 for fold in found.folds)
    assert not any(fold.gap_counts.any() for fold in found.folds)


def test_equal_images_are_dealt_so_that_no_fold_gets_most_of_a_class() -> None:
    counts = np.array([[amount] for amount in (90, 80, 70, 60, 50, 40)])
    found = np.array(deal(counts, [100] * 6, 3))
    assert [int(counts[found == fold].sum()) for fold in range(3)] == [130, 130, 130]


def test_samples_stay_together_and_one_is_left_out_at_a_time() -> None:
    names = {"a1": "anna", "a2": "anna", "b": "berta", "c": "clara"}
    volumes = [volume(np.ones((3, 4, 4)), name) for name in names]
    known = {name: VolumeConfig(name=name, image="x", sample=sample) for name, sample in names.items()}
    found = plan(FoldsConfig(), [whole(one) for one in volumes], volumes=known)
    assert (found.by, found.count) == ("samples", 3)
    held = [sorted(part.volume.name for part in fold.validate) for fold in found.folds]
    assert sorted(held) == [["a1", "a2"], ["b"], ["c"]]
    for fold in found.folds:
        trained = {names[part.volume.name] for part in fold.train}
        assert trained == set(names.values()) - {names[part.volume.name] for part in fold.validate}
    parted = plan(FoldsConfig(by="volumes", count=2), [whole(one) for one in volumes], volumes=known)
    assert [warning.split(";")[0] for warning in parted.warnings] == [
        f"folds: fold {fold} validates volumes of anna, of which it is also trained on others" for fold in (1, 2)
    ]
    assert not found.warnings
    half = known | {"c": VolumeConfig(name="c", image="x")}
    assert plan(FoldsConfig(), [whole(one) for one in volumes], volumes=half).why == (
        "the regions lie in 4 volumes; not every volume names its sample"
    )
    with pytest.raises(VolumeError, match=r"need the sample of 'c'.*`sample: NAME`"):
        plan(FoldsConfig(by="samples"), [whole(one) for one in volumes], volumes=half)


def flat(name: str) -> Volume:
    image = image_of_array(np.zeros((1, 4, 4), np.uint8))
    labels = image_of_array(np.ones((1, 4, 4), np.uint8))
    from dataclasses import replace

    return Volume(f"set/{name}", replace(image, path=Path(f"/data/{name}.png"), format="png"), labels=(labels,))


def test_images_are_folded_one_by_one_or_by_the_sample_that_patterns_name() -> None:
    images = [flat(name) for name in ("s1_a", "s1_b", "s2_a", "s2_b", "s3[1]")]
    known = described(*images, kind="images")
    found = plan(FoldsConfig(), [whole(one) for one in images], volumes=known)
    assert (found.by, found.count) == ("images", 5)
    samples = {"s1*": "one", "s2*": "two", "s3*": "three"}
    named = described(*images, kind="images", samples=samples)
    by_sample = plan(FoldsConfig(), [whole(one) for one in images], volumes=named)
    assert (by_sample.by, by_sample.count) == ("samples", 3)
    regions = [regions_of(fold.validate, named) for fold in by_sample.folds]
    assert sorted(one.images or () for (one,) in regions) == [("s1_a", "s1_b"), ("s2_a", "s2_b"), ("s3[[]1]",)]
    (fold,) = [fold for fold in by_sample.folds if len(fold.validate) == 1]
    again = parts_of(regions_of(fold.validate, named), {"set": (named["set"], tuple(images))}, split="validate")
    assert [part.volume.name for part in again] == ["set/s3[1]"]


def test_test_regions_stay_out_and_may_not_overlap_the_pool() -> None:
    one = volume(np.ones((12, 4, 4)))
    pool, test = Part(one, Box((0, 0, 0), (8, 4, 4))), Part(one, Box((8, 0, 0), (12, 4, 4)))
    found = plan(FoldsConfig(count=4, by="slices"), [pool], test=[test])
    for fold in found.folds:
        assert not any(part.box.intersect(test.box).size for part in (*fold.train, *fold.validate))
    with pytest.raises(VolumeError, match=r"data.train and data.test overlap"):
        plan(FoldsConfig(count=4, by="slices"), [whole(one)], test=[test])


def test_a_fold_whose_voxels_do_not_count_is_refused() -> None:
    from dataclasses import replace

    mask = np.ones((8, 4, 4), np.uint8)
    mask[:2] = 0
    one = replace(volume(np.ones((8, 4, 4))), valid=image_of_array(mask))
    config = FoldsConfig(count=4, by="slices", stratify=False)
    with pytest.raises(VolumeError, match=r"fold 1 has nothing to validate: no voxel of a z 0-1 counts"):
        plan(config, [whole(one)])
    assert plan(config.model_copy(update={"only": (2, 3)}), [whole(one)]).folds[0].train_counts[1] == 4 * 16
    assert plan(FoldsConfig(count=4, by="slices"), [whole(one)]).folds[0].validate_counts[1] > 0


def test_only_some_folds_are_those_of_all() -> None:
    one = volume(np.ones((10, 4, 4)))
    every = plan(FoldsConfig(count=5, by="slices"), [whole(one)])
    some = plan(FoldsConfig(count=5, by="slices", only=(4, 2)), [whole(one)])
    assert [fold.number for fold in some.folds] == [2, 4]
    assert [fold.units for fold in some.folds] == [every.folds[1].units, every.folds[3].units]


def test_volumes_with_few_slices_are_dealt_to_the_folds_that_have_least() -> None:
    volumes = [volume(np.ones((depth, 4, 4)), f"v{depth}") for depth in (1, 2, 3)]
    found = plan(FoldsConfig(count=3, by="slices"), [whole(one) for one in volumes])
    assert [sum(part.box.shape[0] for part in fold.validate) for fold in found.folds] == [2, 2, 2]


@given(st.integers(2, 40), st.data())
def test_blocks_are_all_there_and_follow_each_other(n: int, data: st.DataObject) -> None:
    blocks = data.draw(st.integers(1, n))
    counts = np.array(data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=n, max_size=n)))
    found = cut_blocks(counts, range(n), blocks)
    assert list(found) == sorted(found)
    assert set(found) == set(range(blocks))


def test_cuts_are_the_best_of_all() -> None:
    """The dynamic program against trying every way to cut."""
    from itertools import combinations, pairwise

    def missing(counts: np.ndarray, ends: Sequence[int]) -> int:
        sides = [0, *ends, len(counts)]
        pieces = [counts[a:b] for a, b in pairwise(sides)]
        there = counts.sum(axis=0) > 0
        return sum(int((piece.sum(axis=0)[there] == 0).sum()) for piece in pieces)

    for seed in range(20):
        counts = (np.random.default_rng(seed).random((9, 2)) < 0.3).astype(int)
        fewest = min(missing(counts, ends) for ends in combinations(range(1, 9), 2))
        blocks = cut_blocks(counts, range(9), 3, elsewhere=np.full(2, 99))
        assert missing(counts, [blocks.index(1), blocks.index(2)]) == fewest


def test_a_long_row_is_cut_into_even_blocks() -> None:
    found = np.bincount(cut_blocks(np.ones((5000, 1)), range(5000), 5))
    assert found.sum() == 5000
    assert np.ptp(found) < 30


@given(st.integers(2, 12), st.data())
def test_no_fold_stays_empty_and_shuffling_is_by_the_seed(n: int, data: st.DataObject) -> None:
    folds = data.draw(st.integers(2, n))
    counts = np.array(data.draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=n, max_size=n)))
    for seed in (None, 3):
        found = deal(counts, [10] * n, folds, seed=seed)
        assert set(found) == set(range(folds))
        assert found == deal(counts, [10] * n, folds, seed=seed)


def test_shuffled_folds_differ_with_their_seed() -> None:
    one = volume(np.arange(20 * 16).reshape(20, 4, 4) % 23 < 9)
    plans = [
        plan(FoldsConfig(count=4, by="slices", order="shuffled", seed=seed), [whole(one)]).folds for seed in (0, 0, 1)
    ]
    units = [[fold.units for fold in folds] for folds in plans]
    assert units[0] == units[1] != units[2]
    interleaved = plan(FoldsConfig(count=4, by="slices", order="interleaved"), [whole(one)]).folds
    assert interleaved[1].units == ("a z 1, 5, 9, 13, 17",)


def test_blocks_lie_along_the_longest_edge_in_nm() -> None:
    from dataclasses import replace

    one = replace(volume(np.ones((6, 12, 8))), voxel_size_nm=(50.0, 5.0, 5.0))
    assert [str(p.box) for f in plan(FoldsConfig(count=2, by="boxes"), [whole(one)]).folds for p in f.validate] == [
        "0:3,0:12,0:8", "3:6,0:12,0:8",
    ]  # fmt: skip
    bare = replace(one, voxel_size_nm=None)
    assert [str(p.box) for f in plan(FoldsConfig(count=2, by="boxes"), [whole(bare)]).folds for p in f.validate] == [
        "0:6,0:6,0:8", "0:6,6:12,0:8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"by": "slices", "axis": "x"}, "axis is for `by: boxes`"),
        ({"by": "boxes", "order": "shuffled"}, "boxes are always blocked"),
        ({"by": "images", "order": "blocked"}, "is for slices"),
        ({"only": []}, "at least one fold"),
        ({"only": [1, 1]}, "each once"),
        ({"count": 3, "at_most": 4}, "at_most is for `count: auto`"),
        ({"nested": True, "at_most": 2}, "give at_most: 3 or more"),
        ({"count": 3, "only": [4]}, "only names fold 4, but there are 3"),
        ({"count": 1}, "greater than or equal to 2"),
        ({"count": 2, "nested": True}, "count: 3 or more"),
        ({"guard_vox": [1, -1, 0]}, "greater than or equal to 0"),
    ],
)
def test_folds_that_make_no_sense_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FoldsConfig.model_validate(fields)


def test_samples_are_for_images_and_stand_alone() -> None:
    with pytest.raises(ValidationError, match="samples is for `kind: images`"):
        VolumeConfig(name="a", image="x", samples={"*": "s"})
    with pytest.raises(ValidationError, match="give one of sample and samples"):
        VolumeConfig(name="a", image="x", kind="images", sample="s", samples={"*": "s"})
    assert IdLabels(path="x").kind == "ids"


def test_planes_that_the_gap_cuts_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions side by side, shifted along the axis that blocks are cut along: the gap of one cuts many planes of the
    other, and a format that decodes whole slices would decode all of them for each plane."""
    one = volume(np.random.default_rng(0).integers(0, 3, (2, 60, 20)))
    parts = [Part(one, Box((0, 0, 0), (2, 40, 10))), Part(one, Box((0, 13, 10), (2, 60, 20)))]
    read: list[int] = []
    real = units.class_counts
    monkeypatch.setattr(units, "class_counts", lambda *args, **how: read.append(1) or real(*args, **how))
    found = plan(FoldsConfig(count=4, by="boxes", axis="y"), parts, (0, 2, 3))
    assert sum(int(fold.gap_counts.sum()) for fold in found.folds) > 0
    assert 0 < len(read) <= 4 * len(found.folds)
    for fold in found.folds:
        labels = one.labels[0].read()
        assert fold.train_counts[:3].tolist() == np.bincount(labels[marked(one, fold.train)], minlength=3).tolist()


@given(
    st.tuples(*[st.integers(0, 6)] * 3), st.tuples(*[st.integers(0, 6)] * 3), st.tuples(*[st.integers(1, 5)] * 3),
    st.tuples(*[st.integers(1, 5)] * 3),
)  # fmt: skip
def test_a_box_without_another_is_its_other_voxels_once(a: Triple, b: Triple, size: Triple, hole: Triple) -> None:
    box, other = Box(a, tuple(np.add(a, size))), Box(b, tuple(np.add(b, hole)))
    space = np.zeros((12, 12, 12), int)
    for rest in box.without(other):
        space[rest.slices] += 1
    expected = np.zeros_like(space)
    expected[box.slices] = 1
    expected[other.slices] = 0
    assert np.array_equal(space, expected)


@pytest.mark.data
def test_tiles_of_a_section_stay_together_on_a_published_set() -> None:
    """The 20 labelled tiles of EM-net's cardiac set are of five sections, which their numbers tell."""
    if not os.environ.get("CRISTAE_DATA"):
        pytest.skip("CRISTAE_DATA does not name a folder with the public data sets")
    numbers = ("0000", "0001", "0002", "0003", "0005")
    _, task = find_set("emnet-cardiac").find_task(None)
    (bare,) = task.volumes
    config = bare.model_copy(update={"samples": {f"?{number}": number for number in numbers}})
    found = open_data(DataConfig(set="emnet-cardiac", volumes=(config,)), Path())
    splits = {"train": found.train, "validate": found.validate}
    folds = plan_folds(FoldsConfig(), splits, {"tiles": config}, found.classes, {"tiles": (0, 0, 0)})
    assert (folds.by, folds.count) == ("samples", 5)
    for fold in folds.folds:
        trained, held = ({part.volume.name[-4:] for part in parts} for parts in (fold.train, fold.validate))
        assert (len(fold.train), len(fold.validate)) == (16, 4)
        assert len(held) == 1
        assert trained == set(numbers) - held
