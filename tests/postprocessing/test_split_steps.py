"""Touching objects cut by what the network has learned: a boundary class, and affinities."""

from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from skimage import measure, segmentation
from step_data import SIZE_NM, TWO, edges, label_maps, run_steps, shapes

from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.errors import RunError
from cristae.postprocessing import FillHoles, SplitAtBoundary, SplitByAffinities, parse_steps, step_problems
from cristae.postprocessing.form import LabelMaps
from cristae.postprocessing.memory import plan_work

SEAM = Classes(names=("background", "mito", "contact"))
OVER = Classes(names=("mito", "contact"), exclusive=False)
HELD = Classes(names=("mito", "up", "left", "far"), exclusive=False)
OFFSETS = {"up": (0, -1, 0), "left": (0, 0, -1), "far": (0, 0, -3)}
AT = SplitAtBoundary(boundary="contact")
BY = SplitByAffinities(affinities=OFFSETS)


def numbers(maps: LabelMaps, step: SplitAtBoundary | SplitByAffinities, blocks=None) -> list[list[int]]:
    found = run_steps(maps, step, edges=blocks).instances["mito"].read()
    return found[0].tolist()


def test_a_seam_tells_two_objects_apart_and_belongs_to_the_nearer_one() -> None:
    """By hand: four voxels of seam between two objects, two for each; a seam without an object is none, one behind an
    object belongs to it."""
    row = np.array([[[1, 1, 2, 2, 2, 2, 1, 0, 2, 2, 0, 1, 2]]], np.uint8)
    maps = label_maps(row, classes=SEAM)
    assert numbers(maps, AT) == [[1, 1, 1, 1, 3, 3, 3, 0, 0, 0, 0, 2, 2]]
    (change,) = run_steps(maps, AT).changes
    assert (change.class_name, change.objects, change.instances, change.gained, change.lost) == ("mito", 1, 3, 0, 0)


def test_a_seam_is_shared_where_it_is_most_probable() -> None:
    """By hand: the ridge of the seam is at its right end, so that the left object takes all before it."""
    row = np.array([[[1, 1, 2, 2, 2, 2, 1]]], np.uint8)
    ridge = np.array([[[0, 10, 140, 150, 160, 250, 20]]], np.uint8)
    maps = label_maps(row, classes=SEAM, probabilities={"contact": ridge})
    assert numbers(maps, AT)[0][:5] == [1, 1, 1, 1, 1]
    assert numbers(maps, AT)[0][6] == 2


def test_a_lower_threshold_closes_gaps_in_a_seam() -> None:
    """The seam has a gap of one voxel, where it is a little less probable than the object."""
    labels = np.ones((1, 5, 7), np.uint8)
    labels[0, :, 3] = [2, 2, 1, 2, 2]
    kept = np.where(labels == 2, 200, 20).astype(np.uint8)
    kept[0, 2, 3] = 100
    maps = label_maps(labels, classes=SEAM, probabilities={"contact": kept})
    assert set(map(tuple, numbers(maps, AT))) == {(1,) * 7}
    closed = np.array(numbers(maps, AT.model_copy(update={"boundary_above": 0.3})))
    assert (closed[:, :3] == 1).all()
    assert (closed[:, 4:] == 2).all()


def test_small_seeds_are_none() -> None:
    """By hand: of the pieces of 3, 1 and 2 voxels, from two voxels on two are left; from three on one, from four on
    none, and the object stays whole."""
    row = np.array([[[1, 1, 1, 2, 1, 2, 1, 1]]], np.uint8)
    maps = label_maps(row, classes=SEAM)
    in_voxels = [("min_seed_vox", value, count) for value, count in ((1, 3), (2, 2), (3, 1), (4, 1))]
    for field, value, count in (*in_voxels, ("min_seed_nm3", 4.0, 2), ("min_seed_nm3", 2.0, 3)):
        (found,) = numbers(maps, AT.model_copy(update={field: value}))
        assert max(found) == count, (field, value)
        assert min(found) == 1


def test_overlapping_classes_are_cut_within_their_mask() -> None:
    mask = np.array([[[1, 1, 1, 1, 1, 1, 0]]], np.uint8)
    seam = np.array([[[0, 0, 1, 1, 0, 0, 1]]], np.uint8)
    maps = label_maps(mask, seam, classes=OVER)
    assert numbers(maps, AT) == [[1, 1, 1, 2, 2, 2, 0]]
    er = Classes(names=("er", "contact", "mito"), exclusive=False)
    outcome = run_steps(label_maps(np.zeros_like(mask), seam, mask, classes=er), AT)
    assert outcome.instances["mito"].read().tolist() == [[[1, 1, 1, 2, 2, 2, 0]]]
    assert not outcome.instances["er"].read().any()
    assert set(outcome.instances) == {"er", "mito"}


@settings(max_examples=20, deadline=None)
@given(data=st.data(), shape=shapes, joined=st.sampled_from([6, 18, 26]))
def test_the_pieces_are_those_of_a_watershed_of_the_whole_image(data, shape, joined) -> None:
    """scikit-image floods all objects at once; where probabilities differ everywhere, no tie is left to a rule."""
    labels = data.draw(arrays(np.uint8, shape, elements=st.integers(0, 2)))
    kept = data.draw(st.permutations(range(255)).map(np.array)) if labels.size <= 255 else np.arange(labels.size) % 255
    probable = kept[: labels.size].reshape(shape).astype(np.uint8)
    rank = {6: 1, 18: 2, 26: 3}[joined]
    seeds = measure.label((labels == 1) & (probable <= 127), connectivity=rank)
    step = SplitAtBoundary(boundary="contact", connectivity=joined)
    maps = label_maps(labels, classes=SEAM, probabilities={"contact": probable})
    found = run_steps(maps, step).instances["mito"].read()
    objects = measure.label(labels > 0, connectivity=rank)
    for number in range(1, objects.max() + 1):
        here = objects == number
        if labels.size > 255 or not (labels[here] == 1).any():
            continue
        if len(np.unique(seeds[here])) - (0 in seeds[here]) < 2:
            assert len(np.unique(found[here])) == 1
            continue
        whole = segmentation.watershed(probable, np.where(here, seeds, 0), mask=here, connectivity=rank)
        pairs = {(a, b) for a, b in zip(whole[here], found[here], strict=True)}
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@settings(max_examples=15, deadline=None)
@given(data=st.data(), shape=shapes, blocks=edges, known=st.booleans(), least=st.sampled_from([1, 3]))
def test_blocks_change_no_number(data, shape, blocks, known, least) -> None:
    bytes_of = arrays(np.uint8, shape, elements=st.sampled_from([0, 90, 128, 200, 255]))
    labels = data.draw(arrays(np.uint8, shape, elements=st.integers(0, 2)))
    kept = {"contact": data.draw(bytes_of)} if known else {}
    at = SplitAtBoundary(boundary="contact", min_seed_vox=least)
    cases = [(label_maps(labels, classes=SEAM, probabilities=kept), at)]
    cases.append((label_maps(labels.clip(max=1), labels // 2, classes=OVER, probabilities=kept), at))
    held = {name: data.draw(bytes_of) for name in OFFSETS}
    masks = [(labels > 0).astype(np.uint8), *[np.zeros_like(labels)] * 3]
    by = SplitByAffinities(affinities=OFFSETS, min_seed_vox=least)
    cases.append((label_maps(*masks, classes=HELD, probabilities=held), by))
    for maps, step in cases:
        whole, parts = run_steps(maps, step), run_steps(maps, step, edges=blocks)
        assert whole.changes == parts.changes
        found = parts.instances["mito"].read()
        np.testing.assert_array_equal(whole.instances["mito"].read(), found)
        assert (found > 0)[maps.images[0].read() == 1].all()
        assert set(np.unique(found)) - {0} == set(range(1, whole.changes[0].instances + 1))


def touching() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Two objects side by side in each of two slices, and their affinities."""
    ids = np.ones((2, 4, 8), int)
    ids[:, :, 4:] = 2
    kept = {}
    for name, (_, y, x) in OFFSETS.items():
        same = np.zeros_like(ids, bool)
        same[:, -y:, -x:] = ids[:, -y:, -x:] == ids[:, : 4 + y, : 8 + x]
        kept[name] = np.where(same, 230, 10).astype(np.uint8)
    return np.ones(ids.shape, np.uint8), kept


def test_affinities_tell_objects_apart_in_each_slice_or_in_the_volume() -> None:
    """Without a step along z each slice is numbered by itself: first the pieces, then what is cut off them."""
    mask, kept = touching()
    empty = np.zeros_like(mask)
    outcome = run_steps(label_maps(mask, empty, empty, empty, classes=HELD, probabilities=kept), BY)
    found = outcome.instances["mito"].read()
    assert found[:, 0, [0, 7]].tolist() == [[1, 3], [2, 4]]
    assert (found == found[:, :1]).all()
    assert set(outcome.instances) == {"mito"}
    deep = Classes(names=(*HELD.names, "above"), exclusive=False)
    step = SplitByAffinities(affinities={"above": (-1, 0, 0), **OFFSETS})
    kept["above"] = np.full(mask.shape, 240, np.uint8)
    maps = label_maps(mask, empty, empty, empty, empty, classes=deep, probabilities=kept)
    assert run_steps(maps, step).instances["mito"].read()[:, 0, [0, 7]].tolist() == [[1, 2], [1, 2]]
    turned = SplitByAffinities(affinities=dict(reversed(step.affinities.items())))
    np.testing.assert_array_equal(*(run_steps(maps, one).instances["mito"].read() for one in (step, turned)))


def test_small_pieces_go_to_those_that_are_held_most() -> None:
    """The voxel at the end is held by nothing: a piece of its own, unless pieces need four voxels."""
    mask, kept = touching()
    for name in OFFSETS:
        kept[name][:, 3, 7] = 0
    empty = np.zeros_like(mask)
    maps = label_maps(mask, empty, empty, empty, classes=HELD, probabilities=kept)
    assert run_steps(maps, BY).changes[0].instances == 6
    found = run_steps(maps, BY.model_copy(update={"min_seed_vox": 4})).instances["mito"].read()
    assert found[:, 3, 7].tolist() == [3, 4]
    assert run_steps(maps, BY.model_copy(update={"min_seed_vox": 40})).changes[0].instances == 2


def test_slips_are_told() -> None:
    with pytest.raises(ValidationError, match="'up' compares a voxel with itself"):
        SplitByAffinities(affinities={"up": (0, 0, 0)})
    with pytest.raises(ValidationError, match=r"'a' and 'b' are both \[0, -1, 0\]"):
        SplitByAffinities(affinities={"a": (0, -1, 0), "b": (0, -1, 0)})
    with pytest.raises(ValidationError, match="nothing would be kept apart; give one that leads farther"):
        SplitByAffinities(affinities={"up": (0, -1, 0), "left": (0, 0, 1)})
    with pytest.raises(ValidationError, match="none leads to the next voxel"):
        SplitByAffinities(affinities={"far": (0, 0, -3)})
    with pytest.raises(ValidationError, match="give one of them"):
        SplitAtBoundary(boundary="contact", min_seed_vox=3, min_seed_nm3=3.0)
    three = Classes(names=("background", "mito", "er", "contact"))
    cases = [
        (AT, TWO, "0.boundary: there is no class 'contact'; there are mito"),
        (AT.model_copy(update={"classes": ("contact",)}), SEAM, "0.classes: 'contact' is the boundary; leave it out"),
        (AT, three, "not of mito, er; name one"),
        (AT, Classes(names=("background", "contact")), "not of no other class; name one"),
        (BY, OVER, "0.affinities: there is no class 'up'"),
        (BY.model_copy(update={"classes": ("up",)}), HELD, "0.classes: 'up' is an affinity; leave it out"),
        (BY, Classes(names=("background", *HELD.names)), "exclude each other"),
        (BY, Classes(names=("up", "left", "far"), exclusive=False), "all classes are affinities"),
    ]
    for step, classes, problem in cases:
        (found,) = step_problems([step], classes)
        assert problem in found
    assert not step_problems([AT.model_copy(update={"classes": ("er",)})], three)
    (late,) = step_problems([AT, FillHoles()], SEAM)
    assert late.startswith("0.name: split_at_boundary numbers the objects")
    empty = np.zeros((1, 2, 2), np.uint8)
    with pytest.raises(RunError, match="the step 'split_by_affinities' needs the probabilities of 'up'"):
        run_steps(label_maps(empty, empty, empty, empty, classes=HELD), BY)
    plain = [BY.model_dump(mode="json"), AT.model_dump(mode="json")]
    assert parse_steps(plain) == (BY, AT)


def test_memory_for_the_largest_box_is_asked_for_before_any_work(tmp_path: Path) -> None:
    """By hand: 128 bytes for a voxel and 44 for each of three affinities are 260; of 2^24 voxels 4.1 GiB."""
    large = image_of_array(np.broadcast_to(np.uint8(0), (400, 600, 600)), voxel_size_nm=SIZE_NM)
    used = psutil.Process().memory_info().rss // 2**20 + 512
    with pytest.raises(RunError, match=r"split_by_affinities takes up to 4\.1 GiB"):
        plan_work([large], [BY], tmp_path, f"{used + 4000}MiB")
    assert plan_work([large], [AT, BY], tmp_path, f"{used + 4400}MiB").shape == large.shape


def test_objects_in_larger_boxes_stay_whole() -> None:
    row = np.array([[[1, 2, 1, 0, 1, 2, 2, 2, 1]]], np.uint8)
    outcome = run_steps(label_maps(row, classes=SEAM), AT.model_copy(update={"largest_box_vox": 4}))
    assert outcome.changes[0].left_whole == 1
    assert outcome.instances["mito"].read()[0, 0, 4:].tolist() == [2] * 5
