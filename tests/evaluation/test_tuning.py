"""Values of post-processing chosen on validation regions, by hand and by their law."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.evaluation.tuning import Region, tune_on
from cristae.postprocessing import (
    Close,
    FillHoles,
    RemoveSmall,
    SplitAtBoundary,
    SplitByAffinities,
    SplitTouching,
    Threshold,
)
from cristae.postprocessing.form import LabelMaps
from cristae.postprocessing.workplace import Workplace

TWO = Classes(names=("background", "mito"))
MASKS = Classes(names=("mito", "er"), exclusive=False)


def region(
    found: np.ndarray,
    truth: np.ndarray,
    *,
    valid: np.ndarray | None = None,
    probabilities: np.ndarray | None = None,
    voxel_size_nm: tuple[float, float, float] | None = (1.0, 2.0, 2.0),
    classes: Classes = TWO,
    folder: Path | None = None,
) -> Region:
    many = found if found.ndim == 4 else found[None]
    images = tuple(image_of_array(one, voxel_size_nm=voxel_size_nm) for one in many)
    true = tuple(image_of_array(one) for one in (truth if truth.ndim == 4 else truth[None]))
    kept = {} if probabilities is None else {"mito": image_of_array(probabilities)}
    maps = LabelMaps(images, classes, voxel_size_nm, kept)
    mask = None if valid is None else image_of_array(valid)
    return Region(maps, true, mask, Workplace(maps.shape, maps.shape, folder, voxel_size_nm))


def specks() -> tuple[np.ndarray, np.ndarray]:
    """A found object of 36 voxels that is right, one of 20 that is wrong and one of 3."""
    truth = np.zeros((1, 20, 20), np.uint8)
    truth[0, 2:8, 2:8] = 1
    found = truth.copy()
    found[0, 12:16, 12:17] = 1
    found[0, 0, 17:20] = 1
    return found, truth


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_smallest_of_the_best_sizes_is_chosen_and_kept_in_nm3(tmp_path: Path, on_disk: bool) -> None:
    """By hand: 16 removes the speck of 3, 64 all three; 20 lies between, so 16 is best."""
    folder = tmp_path / "work" if on_disk else None
    tuning = tune_on([RemoveSmall(min_size_vox="auto")], [region(*specks(), folder=folder)])
    (step,) = tuning.steps
    assert (step.min_size_vox, step.min_size_nm3) == (None, 16.0)
    (tried,) = tuning.facts["tried"]
    assert tried["chosen"] == 4
    scores = {one["value"]: one["val_miou"] for one in tried["scores"]}
    assert list(scores) == [None, 4.0, 16.0, 64.0, 256.0]
    assert scores[None] == pytest.approx((36 / 59 + 341 / 364) / 2)
    assert scores[4.0] == scores[16.0] == pytest.approx((36 / 56 + 344 / 364) / 2)
    assert scores[64.0] == scores[256.0] == pytest.approx(364 / 400 / 2)
    assert tuning.facts["val_miou"] == {"raw": scores[None], "processed": scores[4.0]}


def test_without_a_voxel_size_the_size_stays_in_voxels() -> None:
    (step,) = tune_on([RemoveSmall(min_size_vox="auto")], [region(*specks(), voxel_size_nm=None)]).steps
    assert (step.min_size_vox, step.min_size_nm3) == (4, None)


def test_voxels_that_are_not_annotated_decide_nothing() -> None:
    found, truth = specks()
    valid = np.ones_like(found)
    valid[0, 0] = 0
    tuning = tune_on([RemoveSmall(min_size_vox="auto")], [region(found, truth, valid=valid)])
    assert tuning.steps == ()
    assert tuning.facts["tried"][0]["chosen"] is None


def test_steps_are_chosen_one_after_the_other_and_the_last_may_number_objects() -> None:
    found, truth = specks()
    found[0, 4:6, 4:6] = 0
    steps = [FillHoles(max_size_vox="auto", connectivity=4), RemoveSmall(min_size_vox="auto"), SplitTouching()]
    tuning = tune_on(steps, [region(found, truth)])
    assert [step.name for step in tuning.steps] == ["fill_holes", "remove_small", "split_touching"]
    assert tuning.steps[0].max_size_nm3 == 16.0
    assert tuning.facts["val_miou"]["processed"] == pytest.approx((36 / 56 + 344 / 364) / 2)
    assert tuning.facts["asked"] == [step.model_dump(mode="json") for step in steps]


def test_a_threshold_is_chosen_by_the_probabilities() -> None:
    """The truth is where p > 0.3; of 0.3 (just below 77 of 255) and 0.35 (89) the one nearer to one half is kept."""
    kept = np.array([[[10, 70, 90, 100, 120, 140, 200, 250]]], np.uint8)
    truth = (kept > 80).astype(np.uint8)
    found = (kept > 127).astype(np.uint8)
    (step,) = tune_on([Threshold(value="auto")], [region(found, truth, probabilities=kept)]).steps
    assert step.value == 0.35


@settings(max_examples=15, deadline=None)
@given(*(arrays(np.uint8, (2, 2, 6, 6), elements=st.integers(0, 1)) for _ in range(2)), st.booleans())
def test_chosen_values_never_lower_the_score(found: np.ndarray, truth: np.ndarray, exclusive: bool) -> None:
    pairs = zip(found, truth, strict=True) if exclusive else [(found, truth)]
    regions = [region(*pair, classes=TWO if exclusive else MASKS) for pair in pairs]
    steps = [FillHoles(max_size_vox="auto", connectivity=4), RemoveSmall(min_size_vox="auto", connectivity=6)]
    scores = tune_on(steps, regions).facts["val_miou"]
    assert np.nan_to_num(scores["processed"], nan=-1) >= np.nan_to_num(scores["raw"], nan=-1)  # NaN: no class anywhere


def test_on_disk_a_step_that_is_asked_for_twice_is_tried_on_what_the_steps_between_have_left(tmp_path: Path) -> None:
    truth = np.zeros((1, 20, 20), np.uint8)
    truth[0, 5:15, 5:15] = 1
    found = truth.copy()
    found[0, 8:10, 8:10] = 0
    found[0, 0, ::3] = 1
    steps = [RemoveSmall(min_size_vox="auto"), Close(radius_vox=1.5), RemoveSmall(min_size_vox="auto")]
    memory = tune_on(steps, [region(found, truth)]).facts
    disk = tune_on(steps, [region(found, truth, folder=tmp_path / "work")]).facts
    assert memory == disk
    assert not list((tmp_path / "work").glob("trial-*"))


def test_the_size_of_seeds_is_chosen_by_the_objects_that_it_tells_apart() -> None:
    """Two true objects with a seam between them; a wrong bit of seam cuts the corner of 2 voxels off the first. All
    seeds make three objects. From 4 voxels on the corner is no seed, and there are two; with 64 there is one."""
    seamed = Classes(names=("background", "mito", "contact"))
    truth = np.zeros((1, 8, 12), np.uint8)
    truth[0, 1:7, :11] = 1
    truth[0, 1:7, 6] = 2
    found = truth.copy()
    found[0, 1:3, 1] = found[0, 3, 0] = 2
    one = region(found, truth, classes=seamed)
    asked = SplitAtBoundary(boundary="contact", min_seed_vox="auto")
    tuning = tune_on([asked], [one])
    (step,) = tuning.steps
    (tried,) = tuning.facts["tried"]
    assert (step.min_seed_vox, step.min_seed_nm3) == (None, 16.0)
    assert (tried["chosen"], tried["field"]) == (4, "min_seed_vox")
    scores = {row["value"]: row["val_pq"] for row in tried["scores"]}
    assert list(scores) == [None, 4.0, 16.0, 64.0]
    assert scores[4.0] == scores[16.0] > scores[None] > scores[64.0]
    assert tuning.facts["val_miou"]["raw"] == tuning.facts["val_miou"]["processed"]
    (kept,) = tune_on([asked], [region(truth, truth, classes=seamed)]).steps
    assert (kept.min_seed_vox, kept.min_seed_nm3) == (None, None)


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_size_of_pieces_held_by_affinities_is_chosen_likewise(tmp_path: Path, on_disk: bool) -> None:
    """Predicted affinities let a corner of one voxel drop off the second of two objects."""
    held = Classes(names=("mito", "up", "left", "far"), exclusive=False)
    offsets = {"up": (0, -1, 0), "left": (0, 0, -1), "far": (0, 0, -3)}
    ids = np.ones((1, 5, 10), int)
    ids[..., 5:] = 2
    truth = np.zeros((4, 1, 5, 10), np.uint8)
    truth[0] = 1
    for mask, (_, y, x) in zip(truth[1:], offsets.values(), strict=True):
        mask[:, -y:, -x:] = ids[:, -y:, -x:] == ids[:, : 5 + y, : 10 + x]
    kept = {name: image_of_array(mask * np.uint8(220)) for name, mask in zip(held.names, truth, strict=True)}
    loose = {name: image.read().copy() for name, image in kept.items()}
    for name in offsets:
        loose[name][0, 4, 9] = 0
    one = region(truth, truth, classes=held, folder=tmp_path / "work" if on_disk else None)
    found = replace(one, maps=replace(one.maps, probabilities={n: image_of_array(a) for n, a in loose.items()}))
    tuning = tune_on([SplitByAffinities(affinities=offsets, min_seed_vox="auto")], [found])
    assert tuning.facts["tried"][0]["chosen"] == 4
    scores = [row["val_pq"] for row in tuning.facts["tried"][0]["scores"]]
    assert scores[0] == pytest.approx(2 * (1 + 24 / 25) / 5)
    assert scores[1] == 1
    assert not list((tmp_path / "work").glob("trial-*"))
