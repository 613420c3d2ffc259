"""Ensembles that are chosen on some slices and scored on others: members of known errors, planted bests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import Image, image_of_array
from cristae.errors import RunError, ScoreError
from cristae.evaluation.ensembles.fused import fused
from cristae.evaluation.ensembles.left_out import rank_members, spread, stretches
from cristae.evaluation.ensembles.member_maps import MemberMaps
from cristae.evaluation.ensembles.selection import select_greedily, survey_members
from cristae.inference.prediction import Prediction
from cristae.metrics.ensembling.criterion import class_score_of, score_of

BINARY = Classes(names=("background", "cell"))
THREE = Classes(names=("background", "cell", "mito"))
MASKS = Classes(names=("cell", "mito"), exclusive=False)
JACCARD = class_score_of(BINARY, "Jaccard", "cell")


def members(errors: list[float], seed: int, *, units: int = 6, voxels: int = 400, shared: float = 0.0) -> MemberMaps:
    """Members that are each wrong at such a share of the voxels, at others than the rest but for a `shared` part."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, (1, units * voxels)).astype(np.uint8)
    common, maps = rng.random(truth.shape[1]), []
    for error in errors:
        drawn = np.where(rng.random(truth.shape[1]) < shared, common, rng.random(truth.shape[1]))
        right = drawn >= error
        sure = rng.integers(20, 120, truth.shape)  # how far from 127.5
        maps.append(np.where(right == (truth == 1), 128 + sure, 127 - sure).astype(np.uint8))
    return MemberMaps(BINARY, 0.5, truth, tuple(maps), np.arange(units + 1) * voxels)


def score(maps: MemberMaps, weights: tuple[int, ...]) -> float:
    """Of the weighted average, in full arrays."""
    mean = sum(weight * one.astype(float) for weight, one in zip(weights, maps.maps, strict=True)) / sum(weights)
    found, truth = mean > 127.5, maps.truth == 1
    chosen = np.zeros(truth.shape, bool)
    for unit in range(len(maps.units) - 1) if maps.only is None else maps.only:
        chosen[:, maps.units[unit] : maps.units[unit + 1]] = True
    return float((found & truth & chosen).sum() / ((found | truth) & chosen).sum())


def left_out_scores(maps: MemberMaps) -> tuple[float, float]:
    """Mean scores of the chosen ensemble, and of the best member, each on units that it was not chosen by."""
    groups = [{unit} for unit in range(maps.n_units)]
    pairs = list(zip(groups, rank_members(maps, groups, JACCARD, steps=8), strict=True))
    return (
        fmean(score(maps.of_units(sorted(group)), one.weights) for group, one in pairs),
        fmean(score(maps.of_units(sorted(group)), one.top(1)) for group, one in pairs),
    )


def test_units_that_are_kept_are_all_that_counts() -> None:
    maps = members([0.1, 0.3], 0)
    part = maps.of_units([4, 1])
    assert part.n_units == 2
    assert [block.unit for block in part.blocks()] == [0, 1]
    assert np.array_equal(next(part.blocks()).truth, maps.truth[:, 1600:2000])
    assert survey_members(part, JACCARD).scores == pytest.approx([score(part, (1, 0)), score(part, (0, 1))])
    with pytest.raises(ScoreError, match="keep at least one"):
        maps.of_units([])


def test_thinned_units_are_every_nth_voxel_of_all() -> None:
    maps = members([0.1, 0.3], 0, units=3, voxels=50)
    thin = maps.thinned(40)  # 150 voxels: every fifth, an odd step from four
    assert thin.truth.shape == (1, 30)
    assert thin.units.tolist() == [0, 10, 20, 30]
    assert np.array_equal(thin.maps[1], maps.maps[1][:, ::5])
    odd = MemberMaps(BINARY, 0.5, maps.truth, maps.maps, np.array([0, 7, 8, 150])).thinned(50)
    assert odd.units.tolist() == [0, 3, 3, 50], "voxels 0, 3, 6 are of the first unit, and none of the second"
    assert maps.thinned(150).truth.shape == maps.truth.shape


def test_what_is_left_out_has_no_part_in_the_choice() -> None:
    """Another truth in a slice changes only choices that see it."""
    maps = members([0.2, 0.22, 0.25, 0.4], 1)
    changed = maps.truth.copy()
    changed[:, 400:800] = 1 - changed[:, 400:800]
    groups = [{0}, {1}, {1, 2}, set()]
    before = rank_members(maps, groups, JACCARD, steps=6)
    after = rank_members(replace(maps, truth=changed), groups, JACCARD, steps=6)
    assert [one == other for one, other in zip(before, after, strict=True)][1:3] == [True, True]
    seen = maps.of_units([0, 2, 3, 4, 5])
    assert before[1].weights == select_greedily(seen, criterion=JACCARD, steps=6).weights
    assert before[1].order == survey_members(seen, JACCARD).order
    assert before[3].top(2) == tuple(int(place in before[3].order[:2]) for place in range(4))


def test_independent_errors_make_an_ensemble_better_than_its_best_member() -> None:
    gains = [ensemble - best for seed in range(6) for ensemble, best in [left_out_scores(members([0.15] * 5, seed))]]
    assert min(gains) > 0.03


def test_one_good_member_among_bad_ones_is_not_diluted() -> None:
    """The planted best has nearly all of the weight, and what is lost on slices that nothing was chosen by is noise."""
    for seed in range(6):
        maps = members([0.45, 0.02, 0.47, 0.44, 0.48], seed)
        (found,) = rank_members(maps, [()], JACCARD, steps=8)
        assert found.order[0] == 1
        assert found.weights[1] / sum(found.weights) > 0.5
        ensemble, best = left_out_scores(maps)
        assert ensemble > best - 0.01


def test_members_that_err_together_gain_nothing_and_lose_nothing() -> None:
    gaps = [
        ensemble - best for seed in range(6) for ensemble, best in [left_out_scores(members([0.2] * 4, seed, shared=1))]
    ]
    assert max(map(abs, gaps)) < 0.01


def test_scores_of_what_is_chosen_by_itself_flatter_and_left_out_ones_do_not() -> None:
    """Members without any knowledge: chosen and scored by the same few voxels some look good, left out none does."""
    flattered, fair, chance = [], [], []
    for seed in range(12):
        maps = members([0.5] * 12, 100 + seed, voxels=25)
        (whole,) = rank_members(maps, [()], JACCARD, steps=8)
        flattered.append(score(maps, whole.weights))
        fair.append(left_out_scores(maps)[0])
        chance.append(fmean(survey_members(maps, JACCARD).scores))
    assert fmean(flattered) > fmean(chance) + 0.08
    assert abs(fmean(fair) - fmean(chance)) < 0.04


def test_criteria_are_those_that_cells_are_ranked_by() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 50, (5, 1, 3, 3))
    tp, true, found = (counts[:, 0].diagonal(axis1=1, axis2=2), counts[:, 0].sum(2), counts[:, 0].sum(1))
    iou = tp / (true + found - tp)
    assert class_score_of(THREE, "Jaccard", "mito")(counts) == pytest.approx(iou[:, 2])
    assert class_score_of(THREE, "Jaccard", "all")(counts.reshape(5, 9)) == pytest.approx(iou[:, 1:].mean(1))
    assert class_score_of(THREE, "sensitivity", "cell")(counts) == pytest.approx(tp[:, 1] / true[:, 1])
    masks = rng.integers(1, 50, (2, 2, 2))
    own = masks[:, 1, 1] / (masks.sum((1, 2)) - masks[:, 0, 0])
    assert class_score_of(MASKS, "Jaccard", "all")(masks) == pytest.approx(own.mean())
    assert class_score_of(MASKS, "Jaccard", "mito")(masks) == pytest.approx(own[1])
    assert score_of(THREE, class_score_of(THREE, "F1", "cell"))(counts[0]) == pytest.approx(
        2 * tp[0, 1] / (true[0, 1] + found[0, 1])
    )


def test_stretches_and_spread_slices() -> None:
    assert [list(one) for one in stretches(12)] == [[0, 1], [2, 3, 4], [5, 6], [7, 8, 9], [10, 11]]
    assert [list(one) for one in stretches(2)] == [[0], [1]]
    assert list(spread(10, voxels=1000, most=1000)) == list(range(10))
    assert list(spread(10, voxels=1001, most=1000)) == [0, 2, 4, 6, 8]


def prediction(classes: Classes, maps: np.ndarray, labels: int = 1) -> Prediction:
    """In memory: (C, Z, Y, X) maps, of the slices from 7 on."""

    def image(array: np.ndarray) -> Image:
        return image_of_array(array)

    shape = maps.shape[1:]
    box = Box((7, 0, 0), (7 + shape[0], *shape[1:]))
    blank = tuple(image(np.zeros(shape, np.uint8)) for _ in range(labels))
    return Prediction(Path("p.zarr"), blank, tuple(map(image, maps)), classes, None, box, {}, None)


@pytest.mark.parametrize(
    ("classes", "labels"), [(BINARY, 1), (THREE, 1), (MASKS, 2)], ids=["binary", "softmax", "masks"]
)
def test_predictions_are_averaged_with_the_weights_of_each_slice(classes: Classes, labels: int) -> None:
    rng = np.random.default_rng(2)
    maps = rng.integers(0, 256, (3, classes.n_logits, 4, 5, 6)).astype(np.uint8)
    weights = {7: (1, 0, 0), 8: (1, 1, 1), 9: (0, 3, 1), 10: (2, 2, 0)}
    found = fused([prediction(classes, one, labels) for one in maps], weights.__getitem__, 0.4)
    table = np.array(list(weights.values()), float)
    mean = np.einsum("zm,mczyx->czyx", table / table.sum(1, keepdims=True), maps)
    part = Box((1, 2, 0), (4, 5, 3))
    read = np.stack([image.read(part) for image in found.probabilities])
    assert np.abs(read - mean[:, 1:4, 2:5, :3]).max() <= 0.5 + 1e-9
    decided = [image.read() for image in found.labels]
    if classes.softmax:
        assert np.array_equal(decided[0], mean.argmax(0))
    else:
        assert np.array_equal(np.stack(decided), mean > 255 * 0.4 + 1e-9)


def test_predictions_of_other_boxes_or_without_maps_are_refused() -> None:
    one = prediction(BINARY, np.zeros((1, 2, 3, 3), np.uint8))
    for other in (prediction(BINARY, np.zeros((1, 3, 3, 3), np.uint8)), replace(one, probabilities=())):
        with pytest.raises(RunError, match=r"p\.zarr: cannot be averaged with p\.zarr"):
            fused([one, other], lambda _: (1, 1), 0.5)
