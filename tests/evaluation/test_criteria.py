"""The numbers that epochs are judged by, against values by hand and pairs of voxels counted one by one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.data.classes import Classes
from cristae.evaluation.criteria import scores_of_epoch
from cristae.inference.ensemble import plan_ensemble
from cristae.inference.labels import labels_of
from cristae.metrics.ranking import auc_roc_of
from cristae.training.epoch_counts import EpochCounts
from cristae.training.epoch_end import Counts
from cristae.training.rank_counts import BINS, rank_counts

BINARY = Classes(names=("background", "mito"))
THREE = Classes(names=("background", "mito", "er"))
OVERLAPPING = Classes(names=("mito", "er"), exclusive=False)
TRUTH = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
SCORE = [0.9, 0.8, 0.6, 0.4, 0.7, 0.5, 0.3, 0.2, 0.1, 0]


def counted(classes: Classes, truth: object, probabilities: object, valid: object = None) -> Counts:
    counts = EpochCounts(classes)
    found = torch.tensor(probabilities, dtype=torch.float32)
    labels = labels_of(found, plan_ensemble([classes]), 0.5)
    mask = None if valid is None else torch.tensor(valid, dtype=torch.bool)
    counts.add(torch.tensor(truth, dtype=torch.uint8), found, labels, mask)
    return counts.arrays()


def test_the_worked_example_of_ten_pixels() -> None:
    """TP 3, FP 1, FN 1, TN 5: accuracy 0.8, F1 0.75, mIoU (0.6 + 5/7) / 2, AUC-ROC 21/24."""
    scores = scores_of_epoch(counted(BINARY, [TRUTH], [SCORE]), BINARY)
    assert scores["val_accuracy"] == pytest.approx(0.8)
    assert scores["val_f1"] == pytest.approx(0.75)
    assert scores["val_miou"] == pytest.approx((0.6 + 5 / 7) / 2)
    assert scores["val_auc_roc"] == pytest.approx(21 / 24)
    assert (scores["val_iou_mito"], scores["val_iou_background"]) == pytest.approx((0.6, 5 / 7))
    assert np.isnan(scores["val_loss"])
    assert "val_f1_mito" not in scores, "one foreground class is the mean"


def test_a_voxel_that_does_not_count_changes_nothing() -> None:
    valid = [True] * 10 + [False] * 2
    with_more = counted(BINARY, [[*TRUTH, 1, 0]], [[*SCORE, 0.01, 0.99]], valid)
    for name, array in counted(BINARY, [TRUTH], [SCORE]).items():
        np.testing.assert_array_equal(array, with_more[name])


def test_means_of_several_classes_leave_out_the_background_and_absent_classes() -> None:
    truth = [[0, 0, 0, 1, 1, 1]]
    probabilities = np.array([[0.8, 0.6, 0.1, 0.2, 0.1, 0.5], [0.1, 0.3, 0.8, 0.7, 0.8, 0.4], [0.1] * 6])
    scores = scores_of_epoch(counted(THREE, truth, probabilities), THREE)
    mito = 2 * 2 / (2 * 2 + 1 + 1)  # TP 2, FP 1, FN 1
    assert scores["val_f1"] == scores["val_f1_mito"] == pytest.approx(mito)
    assert np.isnan(scores["val_f1_er"])
    assert np.isnan(scores["val_auc_roc_er"])
    # mito 0.7, 0.8, 0.4 against 0.1, 0.3, 0.8: above two, above two and equal to one, above two
    assert scores["val_auc_roc"] == scores["val_auc_roc_mito"] == pytest.approx(6.5 / 9)
    assert scores["val_accuracy"] == pytest.approx(4 / 6)


def test_overlapping_classes_have_means_of_their_masks() -> None:
    truth = [[1, 1, 0, 0], [0, 1, 1, 0]]
    probabilities = [[0.9, 0.2, 0.1, 0.1], [0.2, 0.9, 0.8, 0.7]]
    scores = scores_of_epoch(counted(OVERLAPPING, truth, probabilities), OVERLAPPING)
    assert scores["val_accuracy"] == pytest.approx((3 / 4 + 3 / 4) / 2)
    assert scores["val_f1_mito"] == pytest.approx(2 / 3)
    assert scores["val_f1_er"] == pytest.approx(4 / 5)
    assert scores["val_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores["val_auc_roc_mito"] == pytest.approx(1.0)
    assert scores["val_auc_roc_er"] == pytest.approx(1.0)


def test_losses_are_weighted() -> None:
    counts = EpochCounts(BINARY)
    counts.add_loss(torch.tensor(1.0), torch.tensor(30))
    counts.add_loss(torch.tensor(4.0), 10.0)
    assert scores_of_epoch(counts.arrays(), BINARY)["val_loss"] == pytest.approx((30 + 40) / 40)


def pairs_right(truth: np.ndarray, score: np.ndarray) -> float:
    """AUC-ROC by its definition."""
    positive, negative = score[truth == 1][:, None], score[truth == 0][None]
    return float(((positive > negative) + 0.5 * (positive == negative)).mean())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.1, 1.0, 5.0]), shift=st.sampled_from([0.0, 1.0, 4.0]))
def test_auc_roc_in_bins_is_near_that_of_all_pairs(seed: int, spread: float, shift: float) -> None:
    """The error is at most half the share of pairs in one bin, also where all probabilities are near 0 or 1."""
    rng = np.random.default_rng(seed)
    truth = np.arange(800) % 2
    odds = rng.normal(-6, spread, 800) + shift * spread * truth
    score = (1 / (1 + np.exp(-odds))).astype(np.float32)
    counts = rank_counts(torch.from_numpy(truth), torch.from_numpy(score))
    lost = (counts[0] * counts[1]).sum() / (400 * 400) / 2
    assert abs(float(auc_roc_of(counts)) - pairs_right(truth, score)) <= lost + 1e-12
    assert lost < 0.02


def test_saturated_and_undefined_probabilities_have_a_place() -> None:
    score = torch.tensor([0.0, 1.0, float("nan"), 1e-30, 1 - 6e-8, 0.5])
    counts = rank_counts(torch.ones(6, dtype=torch.bool), score)
    assert counts.shape == (2, BINS)
    assert (counts[1, 0], counts[1, BINS // 2]) == (3, 1)
    assert counts[1, -40:].sum() == 2


def test_large_arrays_are_counted_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    truth, valid = (torch.from_numpy(rng.random((5, 30, 31)) > 0.4) for _ in range(2))
    score = torch.from_numpy(rng.random((5, 30, 31), np.float32))
    whole = rank_counts(truth, score, valid)
    monkeypatch.setattr("cristae.training.rank_counts._AT_ONCE", 1000)
    np.testing.assert_array_equal(rank_counts(truth, score, valid), whole)
    assert whole.sum() == valid.sum()
