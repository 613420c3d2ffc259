"""Errors that members share, and doubts that say where a prediction is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from cristae.data.classes import Classes
from cristae.metrics.confusion import Confusion
from cristae.metrics.ensembling.criterion import score_of
from cristae.metrics.ensembling.error_pairs import ErrorPairs
from cristae.metrics.ensembling.selective_risk import BINS, DoubtCounts
from cristae.metrics.overlap import dice, mean_defined
from cristae.metrics.tally import mean_iou_of


def wrong_voxels(seed: int, members: int = 5, voxels: int = 400) -> np.ndarray:
    """Errors of members that have some of them in common."""
    rng = np.random.default_rng(seed)
    shared = rng.random(voxels) < 0.2
    return np.asarray((rng.random((members, voxels)) < 0.2) | (shared & (rng.random((members, voxels)) < 0.6)))


@pytest.mark.parametrize("seed", range(5))
def test_the_correlation_of_errors_is_numpys_of_the_indicators(seed: int) -> None:
    wrong = wrong_voxels(seed)
    np.testing.assert_allclose(ErrorPairs.of(wrong).correlation(), np.corrcoef(wrong), atol=1e-12)


def test_a_member_without_errors_has_no_correlation() -> None:
    found = ErrorPairs.of(np.array([[0, 1, 0], [0, 0, 0], [1, 1, 1]], bool)).correlation()
    assert found[0, 0] == 1
    assert np.isnan(found[1]).all()
    assert np.isnan(found[2]).all()


def test_double_faults_by_hand() -> None:
    """Of 10 voxels: 2 both wrong, 1 only the first, 3 only the second, 4 neither."""
    wrong = np.array([[1, 1, 1, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 1, 1, 1, 0, 0, 0, 0]], bool)
    pairs = ErrorPairs.of(wrong)
    assert pairs.double_fault().tolist() == [[0.3, 0.2], [0.2, 0.5]]


@given(st.integers(0, 1000), st.integers(1, 399))
def test_counts_of_blocks_add_up(seed: int, cut: int) -> None:
    wrong = wrong_voxels(seed)
    doubt = np.random.default_rng(seed).random(400)
    pairs = ErrorPairs.of(wrong[:, :cut]) + ErrorPairs.of(wrong[:, cut:])
    doubts = DoubtCounts.of(doubt[:cut], wrong[0, :cut]) + DoubtCounts.of(doubt[cut:], wrong[0, cut:])
    assert (pairs.both == ErrorPairs.of(wrong).both).all()
    assert pairs.voxels == 400
    assert (doubts.counts == DoubtCounts.of(doubt, wrong[0]).counts).all()


def test_the_area_under_the_risk_coverage_curve_by_hand() -> None:
    """By rising doubt right, wrong, right, wrong: risks 0, 1/2, 1/3, 1/2, whose mean is 1/3. With the two wrong ones
    last it would be 0, 0, 1/3, 1/2, whose mean is 5/24."""
    counts = DoubtCounts.of(np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, True, False, True]))
    assert counts.aurc() == pytest.approx(1 / 3)
    assert counts.excess_aurc() == pytest.approx(1 / 3 - 5 / 24)


def test_voxels_of_equal_doubt_count_as_in_random_order() -> None:
    """The mean over all orders of the voxels in each bin, drawn many times, is the exact expectation."""
    rng = np.random.default_rng(0)
    doubt, wrong = np.repeat([0.0, 0.3, 0.9], [4, 6, 5]), rng.random(15) < 0.4

    def area() -> float:
        keys = rng.random(15)
        ordered = wrong[np.lexsort((keys, doubt))]
        return float((np.cumsum(ordered) / np.arange(1, 16)).mean())

    drawn = [area() for _ in range(4000)]
    assert DoubtCounts.of(doubt, wrong).aurc() == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 63)


def test_a_doubt_that_knows_nothing_has_the_error_rate_as_its_area() -> None:
    counts = DoubtCounts.of(np.zeros(10), np.arange(10) < 3)
    assert counts.aurc() == pytest.approx(0.3)
    assert counts.auroc() == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_auroc_is_scikit_learns_on_binned_doubts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wrong = rng.random(500) < 0.3
    doubt = np.clip(rng.integers(0, BINS, 500) / (BINS - 1) * 0.7 + 0.3 * wrong, 0, 1)
    binned = np.ceil(doubt * (BINS - 1))
    assert DoubtCounts.of(doubt, wrong).auroc() == pytest.approx(roc_auc_score(wrong, binned))


def test_quantiles_never_cut_a_bin() -> None:
    """Half of the voxels have no doubt, so the first quarter is that half; its error rate is 1 of 4."""
    counts = DoubtCounts.of(np.array([0, 0, 0, 0, 0.5, 0.6, 0.7, 1]), np.array([1, 0, 0, 0, 0, 1, 1, 1], bool))
    found = counts.quantiles([0.25, 0.5, 0.75, 1])
    assert [(one.share, one.error_rate) for one in found] == [(0.5, 0.25), (0.25, 0.5), (0.25, 1.0)]
    assert sum(one.share * one.error_rate for one in found) == pytest.approx(counts.error_rate)


def test_nothing_counted_gives_nothing() -> None:
    empty = DoubtCounts.empty()
    assert math.isnan(empty.aurc())
    assert math.isnan(empty.auroc())
    assert empty.quantiles([1]) == ()


SCHEMES = (
    Classes(names=("background", "cell")),
    Classes(names=("background", "cell", "mito")),
    Classes(names=("cell", "mito"), background=False),
    Classes(names=("cell", "mito"), exclusive=False),
)


@pytest.mark.parametrize("classes", SCHEMES, ids=lambda one: one.listed)
def test_criteria_are_those_of_a_training(classes: Classes) -> None:
    """Also of several tables at once, and of flattened ones."""
    rng, size = np.random.default_rng(0), len(classes.names) if classes.exclusive else 2
    tables = rng.integers(0, 50, (3, 1 if classes.exclusive else 2, size, size))
    tables[0, 0, -1], tables[0, 0, :, -1] = 0, 0  # a class that is nowhere
    for counts in tables:
        each = tuple(Confusion(table) for table in counts)
        assert score_of(classes, "miou")(counts) == pytest.approx(mean_iou_of(each, classes).value)
        values = dice(each[0])[list(classes.foreground_ids)] if classes.exclusive else [dice(one)[1] for one in each]
        assert score_of(classes, "f1")(counts) == pytest.approx(mean_defined(values).value, nan_ok=True)
        right = [np.trace(one.counts) / one.counts.sum() for one in each]
        assert score_of(classes, "accuracy")(counts) == pytest.approx(np.mean(right))
    score = score_of(classes, "miou")
    np.testing.assert_array_equal(score(tables), [score(one) for one in tables])
    np.testing.assert_array_equal(score(tables.reshape(3, -1)), score(tables))
