"""Members of an ensemble chosen by what they say of annotated voxels."""

from __future__ import annotations

from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest

from cristae.data.classes import Classes
from cristae.errors import ScoreError
from cristae.evaluation.ensembles.disagreement import count_doubts, disagreement
from cristae.evaluation.ensembles.member_maps import MemberMaps
from cristae.evaluation.ensembles.selection import select_greedily, survey_members, top_k_curve
from cristae.metrics.confusion import Confusion
from cristae.metrics.overlap import iou

BINARY = Classes(names=("background", "cell"))
THREE = Classes(names=("background", "cell", "mito"))
MASKS = Classes(names=("cell", "mito"), exclusive=False)


def noisy_members(classes: Classes, seed: int, *, members: int = 8, voxels: int = 300, units: int = 6) -> MemberMaps:
    """Members that know the truth more or less well."""
    rng = np.random.default_rng(seed)
    rows = 1 if classes.exclusive else len(classes.names)
    truth = rng.integers(0, len(classes.names) if classes.exclusive else 2, (rows, voxels)).astype(np.uint8)
    known = np.eye(len(classes.names))[truth[0]].T if classes.softmax else truth.astype(float)
    maps = []
    for noise in rng.uniform(0.5, 1.5, members):
        found = np.clip(known + noise * rng.normal(size=known.shape), 1e-3, 1 if not classes.softmax else 9)
        maps.append((255 * (found / found.sum(0) if classes.softmax else found)).round().astype(np.uint8))
    bounds = np.linspace(0, voxels, units + 1).astype(np.int64)
    return MemberMaps(classes, 0.5, truth, tuple(maps), bounds)


def mean_iou_by_hand(maps: MemberMaps, members: tuple[int, ...]) -> float:
    """Of the average of these members, some of them several times."""
    mean = np.mean([maps.maps[one].astype(float) for one in members], axis=0)
    if maps.classes.softmax:
        return float(np.nanmean(iou(Confusion.of(maps.truth[0], mean.argmax(0), len(maps.classes.names)))))
    found = [Confusion.of(true, one > 127.5, 2) for true, one in zip(maps.truth, mean, strict=True)]
    if maps.classes.exclusive:
        return float(np.nanmean(iou(found[0])))
    return float(np.mean([iou(one)[1] for one in found]))


@pytest.mark.parametrize("classes", [BINARY, THREE, MASKS], ids=["binary", "softmax", "masks"])
@pytest.mark.parametrize("seed", range(2))
def test_greedy_selection_against_all_choices(classes: Classes, seed: int) -> None:
    """Each step is the best of all continuations, ties to the lower member, and no choice of as many members of
    eight, with replacement, is better than the best that brute force finds; the first step is the best member."""
    maps = noisy_members(classes, seed)
    found = select_greedily(maps, steps=4)
    taken: tuple[int, ...] = ()
    for step in found.path:
        scores = [mean_iou_by_hand(maps, (*taken, one)) for one in range(8)]
        assert step.member == int(np.argmax(scores))
        assert step.score == pytest.approx(max(scores))
        taken = (*taken, step.member)
    every = {
        choice: mean_iou_by_hand(maps, choice)
        for size in range(1, 5)
        for choice in combinations_with_replacement(range(8), size)
    }
    best = max(every.values())
    assert max(every[(one,)] for one in range(8)) <= found.score + 1e-12 <= best + 2e-12
    assert found.score > best - 0.03
    assert found.score == pytest.approx(max(step.score for step in found.path))
    assert sum(found.weights) == found.best_step


def test_greedy_finds_what_brute_force_finds_where_two_members_complete_each_other() -> None:
    """Two members err at different voxels and are sure elsewhere; a third is worse than both."""
    truth = np.array([[1] * 10 + [0] * 10], np.uint8)
    right = np.where(truth == 1, 240, 15).astype(np.uint8)
    one, two, three = right.copy(), right.copy(), right.copy()
    one[0, :4], two[0, 5:9], three[0, 3:8] = 100, 100, 0
    maps = MemberMaps(BINARY, 0.5, truth, (one, two, three), np.array([0, 20]))
    found = select_greedily(maps, steps=5)
    best = max(
        (mean_iou_by_hand(maps, choice), -size)
        for size in range(1, 6)
        for choice in combinations_with_replacement(range(3), size)
    )
    assert found.score == best[0] == 1.0


def test_ties_go_to_the_lower_member_and_to_the_shorter_path() -> None:
    maps = noisy_members(BINARY, 3, members=2)
    twins = MemberMaps(BINARY, 0.5, maps.truth, (maps.maps[0], maps.maps[0], maps.maps[0]), maps.units)
    found = select_greedily(twins, steps=4)
    assert found.weights == (1, 0, 0)
    assert [step.member for step in found.path] == [0, 0, 0, 0]
    assert survey_members(twins).order == (0, 1, 2)


def test_sorted_initialisation_begins_with_the_best() -> None:
    maps = noisy_members(BINARY, 4)
    best = survey_members(maps).order[:3]
    found = select_greedily(maps, steps=6, begin_with=best)
    assert tuple(step.member for step in found.path[:3]) == best
    assert [step.score for step in found.path[:3]] == pytest.approx(
        [mean_iou_by_hand(maps, best[:k]) for k in (1, 2, 3)]
    )
    with pytest.raises(ScoreError, match="2 steps cannot hold 3 members"):
        select_greedily(maps, steps=2, begin_with=best)


def test_the_top_k_curve_by_hand() -> None:
    """Six voxels; the best member alone errs once, the average of two not at all, that of three twice."""
    truth = np.array([[1, 1, 1, 0, 0, 0]], np.uint8)
    best = np.array([[200, 200, 120, 50, 50, 50]], np.uint8)
    second = np.array([[200, 100, 200, 50, 50, 200]], np.uint8)
    third = np.array([[0, 0, 200, 250, 0, 200]], np.uint8)
    maps = MemberMaps(BINARY, 0.5, truth, (third, best, second), np.arange(7))
    survey = survey_members(maps)
    assert survey.order == (1, 2, 0)
    # best: 1 of 6 wrong, IoU 3/4 and 2/3; second: 2 wrong, 2/4 and 2/4; third: 1/5 and 1/5
    assert survey.scores == pytest.approx((0.2, (3 / 4 + 2 / 3) / 2, 0.5))
    curve = top_k_curve(maps, survey.order)
    # of two: 200 150 160 50 50 125; of three: 133.3 100 173.3 116.7 33.3 150, so voxels 1 and 5 are wrong
    assert [one.score for one in curve] == pytest.approx([(3 / 4 + 2 / 3) / 2, 1.0, 0.5])
    assert [one.members for one in curve] == [(1,), (1, 2), (1, 2, 0)]
    assert curve[0].interval.n == 6


def test_files_read_a_few_voxels_at_a_time_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = noisy_members(THREE, 5, members=4)
    expected = [survey_members(maps), select_greedily(maps, steps=5), count_doubts(maps, [2, 0, 1, 1])]
    curve = top_k_curve(maps, expected[0].order)  # type: ignore[attr-defined]
    files = []
    for place, array in enumerate((maps.truth, *maps.maps)):
        np.save(tmp_path / f"{place}.npy", array)
        files.append(np.load(tmp_path / f"{place}.npy", mmap_mode="r"))
    monkeypatch.setattr("cristae.evaluation.ensembles.member_maps._RUN", 7)
    streamed = MemberMaps(THREE, 0.5, files[0], tuple(files[1:]), maps.units)
    survey = survey_members(streamed)
    assert survey.scores == expected[0].scores  # type: ignore[attr-defined]
    assert (survey.errors.both == expected[0].errors.both).all()  # type: ignore[attr-defined]
    assert select_greedily(streamed, steps=5) == expected[1]
    assert (count_doubts(streamed, [2, 0, 1, 1]).counts == expected[2].counts).all()  # type: ignore[attr-defined]
    assert top_k_curve(streamed, survey.order) == curve


def test_disagreement_by_hand() -> None:
    """Two members, sure of opposite things, have all there can be: ln 2 / ln 2; equal ones none, unsure or not."""
    p = np.array([[[1.0, 0.5, 0.9]], [[0.0, 0.5, 0.9]]])
    np.testing.assert_allclose(disagreement(p, [1, 1], softmax=False), [[1, 0, 0]], atol=1e-12)
    three = np.array([[[1.0], [0], [0]], [[0], [1.0], [0]], [[0], [0], [1.0]]])
    np.testing.assert_allclose(disagreement(three, [1, 1, 1], softmax=True), [[1.0]])
    # weights 3 and 1: H(3/4) in bits
    assert disagreement(p, [3, 1], softmax=False)[0, 0] == pytest.approx(0.8112781, abs=1e-6)


def test_doubts_are_of_the_weighted_average() -> None:
    maps = noisy_members(BINARY, 6, members=3)
    counts = count_doubts(maps, [2, 0, 1])
    mean = (2 * maps.maps[0].astype(float) + maps.maps[2]) / 3
    assert counts.counts[1].sum() == ((mean > 127.5) != maps.truth).sum()
    assert counts.voxels == 300
    with pytest.raises(ScoreError, match="nobody to disagree with"):
        count_doubts(maps, [3, 0, 0])


def test_maps_of_another_form_are_refused() -> None:
    maps = noisy_members(BINARY, 7, members=2)
    with pytest.raises(ScoreError, match="maps of members have shape"):
        MemberMaps(BINARY, 0.5, maps.truth, (maps.maps[0][:, :-1],), maps.units)
    with pytest.raises(ScoreError, match="the truth has shape"):
        MemberMaps(MASKS, 0.5, maps.truth, maps.maps, maps.units)
    with pytest.raises(ScoreError, match="units must begin"):
        MemberMaps(BINARY, 0.5, maps.truth, maps.maps, np.array([0, 200]))
