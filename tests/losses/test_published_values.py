"""Losses against numbers worked by hand and those of the specification."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cristae.data.classes import Classes
from cristae.errors import RecipeError
from cristae.losses import CrossEntropyDice, SegETLoss, kernel_l2
from cristae.losses.cross_entropy import binary_cross_entropy
from cristae.losses.jaccard_distance import jaccard_distance
from cristae.losses.voxels import align

ONE = Classes(names=("background", "mito"))
THREE = Classes(names=("background", "mito", "membrane"))
OVERLAPPING = Classes(names=("mito", "cell"), exclusive=False)


def pixels(logits: list[float], target: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """One sample of one row: logits (1, 1, 1, n), ids (1, 1, n), all valid."""
    y = torch.tensor(logits, dtype=torch.float64).view(1, 1, 1, -1)
    t = torch.tensor(target, dtype=torch.uint8).view(1, 1, -1)
    return y, t, torch.ones_like(t, dtype=torch.bool)


def bce(logits: list[float], target: list[int], weight: Tensor | None = None) -> float:
    y, t, valid = pixels(logits, target)
    return binary_cross_entropy(align(y, t, valid, weight)).item()


@pytest.mark.parametrize(
    ("logit", "target", "value"),
    [(2, 1, 0.126928), (-3, 0, 0.048587), (0, 1, 0.693147), (50, 0, 50.0), (1.5, 0, 1.701413)],
)
def test_stable_cross_entropy(logit, target, value):
    assert bce([logit], [target]) == pytest.approx(value, abs=5e-7)


@pytest.mark.parametrize(("logit", "target"), [(-50, 0), (50, 1)])
def test_cross_entropy_keeps_its_digits_when_it_is_right(logit, target):
    assert bce([logit], [target]) == pytest.approx(math.exp(-50), rel=1e-12)


@given(st.floats(-300, 300), st.sampled_from([0, 1]))
def test_cross_entropy_is_the_naive_formula_where_that_does_not_overflow(y, t):
    assert bce([y], [t]) == pytest.approx(y - y * t + math.log(1 + math.exp(-y)), rel=1e-9, abs=1e-12)


def test_foreground_weight_multiplies_without_renormalising():
    y, t = [2.0, -1.0, 0.5, -2.0], [1, 0, 1, 0]
    assert bce(y, t) == pytest.approx(0.260299, abs=5e-7)
    weight = torch.tensor([3.0, 1.0, 3.0, 1.0]).view(1, 1, -1)
    assert bce(y, t, weight) == pytest.approx(0.560801, abs=5e-7)


def test_jaccard_distance():
    t = torch.tensor([1, 0, 1, 0]).view(1, 1, 1, -1) > 0
    every = torch.ones(1, 1, 1, 4, dtype=torch.float64)
    p = torch.tensor([0.9, 0.1, 0.8, 0.2], dtype=torch.float64).view(1, 1, 1, -1)
    assert jaccard_distance(p, t, every).item() == pytest.approx(0.260870, abs=5e-7)
    y = torch.tensor([2.0, -1.0, 0.5, -2.0], dtype=torch.float64).view(1, 1, 1, -1)
    assert jaccard_distance(y.sigmoid(), t, every).item() == pytest.approx(0.370534, abs=5e-7)


def test_seget_loss_is_the_sum_of_both_and_weights_count_in_the_first_alone():
    y, t, valid = pixels([2.0, -1.0, 0.5, -2.0], [1, 0, 1, 0])
    loss = SegETLoss().build(ONE)
    assert loss(y, t, valid, None).item() == pytest.approx(0.260299 + 0.370534, abs=1e-6)
    weight = torch.tensor([3.0, 1.0, 3.0, 1.0]).view(1, 1, -1)
    assert loss(y, t, valid, weight).item() == pytest.approx(0.560801 + 0.370534, abs=1e-6)


def test_weights_may_count_in_the_jaccard_distance_too():
    y, t, valid = pixels([math.log(3), 0.0], [1, 0])  # p = 3/4, 1/2
    weight = torch.tensor([2.0, 1.0]).view(1, 1, -1)
    # shared 2 * 3/4 = 1.5; either 2 * (3/4 + 1) + 1/2 - 1.5 = 2.5; distance 0.4. Cross-entropy: (2 ln 4/3 + ln 2) / 2.
    expected = (2 * math.log(4 / 3) + math.log(2)) / 2 + 0.4
    assert SegETLoss(weights="both").build(ONE)(y, t, valid, weight).item() == pytest.approx(expected, abs=1e-6)


def test_jaccard_of_the_batch_or_the_mean_over_samples():
    p = torch.tensor([[0.5, 0.5], [1.0, 0.0]], dtype=torch.float64).view(2, 1, 1, 2)
    t = torch.tensor([[1, 0], [1, 0]]).view(2, 1, 1, 2) > 0
    every = torch.ones(2, 1, 1, 2, dtype=torch.float64)
    # Sample 1: 0.5 / 1.5 = 1/3; sample 2: 1. Batch: 1.5 / (2 + 2 - 1.5) = 0.6.
    assert jaccard_distance(p, t, every).item() == pytest.approx(0.4, abs=1e-6)
    assert jaccard_distance(p, t, every, per_sample=True).item() == pytest.approx(1 / 3, abs=1e-6)
    every[1] = 0
    assert jaccard_distance(p, t, every, per_sample=True).item() == pytest.approx(2 / 3, abs=1e-6)


def test_two_by_two_pixels_of_three_classes_by_hand():
    probability = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.6, 0.2], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]])
    target = torch.tensor([[0, 1], [1, 2]]).unsqueeze(0)
    logits = probability.double().log().T.reshape(1, 3, 2, 2)
    valid = torch.ones(1, 2, 2, dtype=torch.bool)
    entropy = -(math.log(0.5) + math.log(0.6) + math.log(0.8) + math.log(0.5)) / 4
    # Dice: background 2 * 0.5 / (1.05 + 1); mito 2 * 1.4 / (1.9 + 2); membrane 2 * 0.5 / (1.05 + 1).
    background, mito, membrane = 1 / 2.05, 2.8 / 3.9, 1 / 2.05
    for which, dice in (("foreground", (mito + membrane) / 2), ("all", (background + mito + membrane) / 3)):
        loss = CrossEntropyDice(dice_classes=which).build(THREE)(logits, target, valid, None)
        assert loss.item() == pytest.approx(entropy + 1 - dice, abs=1e-6)
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).unsqueeze(0)
    weighted = -(math.log(0.5) + 2 * math.log(0.6) + 3 * math.log(0.8) + 4 * math.log(0.5)) / 4
    loss = CrossEntropyDice(dice_weight=0).build(THREE)(logits, target, valid, weight)
    assert loss.item() == pytest.approx(weighted, abs=1e-6)


def test_one_logit_of_cross_entropy_dice_by_hand():
    y, t, valid = pixels([math.log(3), 0.0], [1, 0])  # p = 3/4, 1/2
    dice, background = 1.5 / 2.25, 1 / 1.75
    loss = CrossEntropyDice(cross_entropy_weight=0).build(ONE)(y, t, valid, None)
    assert loss.item() == pytest.approx(1 - dice, abs=1e-6)
    loss = CrossEntropyDice(cross_entropy_weight=0, dice_classes="all").build(ONE)(y, t, valid, None)
    assert loss.item() == pytest.approx(1 - (dice + background) / 2, abs=1e-6)
    loss = CrossEntropyDice(cross_entropy_weight=2, dice_weight=0).build(ONE)(y, t, valid, None)
    assert loss.item() == pytest.approx(math.log(4 / 3) + math.log(2), abs=1e-6)


def test_a_class_that_the_batch_lacks_is_left_out_of_dice():
    probability = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.6, 0.2]]).double()
    logits, target = probability.log().T.reshape(1, 3, 1, 2), torch.tensor([[[0, 1]]])
    loss = CrossEntropyDice(cross_entropy_weight=0).build(THREE)(logits, target, torch.ones(1, 1, 2) > 0, None)
    assert loss.item() == pytest.approx(1 - 1.2 / 1.85, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_softmax_cross_entropy_is_that_of_torch_with_an_ignored_id(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 3, 4, 5, generator=generator)
    target = torch.randint(0, 4, (2, 4, 5), generator=generator)
    target[0, 0, 0] = 0
    loss = CrossEntropyDice(dice_weight=0).build(THREE)(logits, target, target < 3, None)
    torch.testing.assert_close(loss, F.cross_entropy(logits, target, ignore_index=3))


@pytest.mark.parametrize("config", [SegETLoss(), CrossEntropyDice()])
def test_overlapping_classes_are_worked_one_by_one_and_averaged(config):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 3, 4, generator=generator)
    masks = torch.randint(0, 2, (2, 2, 3, 4), generator=generator).byte()
    weight = torch.rand(2, 2, 3, 4, generator=generator)
    valid = torch.rand(2, 3, 4, generator=generator) < 0.7
    both = config.build(OVERLAPPING)(logits, masks, valid, weight)
    single = [config.build(ONE)(logits[:, k : k + 1], masks[:, k], valid, weight[:, k]) for k in (0, 1)]
    torch.testing.assert_close(both, torch.stack(single).mean())


def test_seget_loss_refuses_a_softmax_and_names_the_cure():
    with pytest.raises(RecipeError, match="3 exclusive ones; use 'cross_entropy_dice'"):
        SegETLoss().build(THREE)


def test_two_factors_of_zero_are_refused():
    with pytest.raises(ValueError, match="nothing would be learnt"):
        CrossEntropyDice(cross_entropy_weight=0, dice_weight=0)


def test_kernel_l2_counts_kernels_alone():
    network = nn.Sequential(
        nn.Conv2d(1, 1, (1, 2)), nn.BatchNorm2d(1), nn.ConvTranspose2d(1, 1, 1), nn.Conv3d(1, 1, 1), nn.Linear(1, 1)
    )
    for parameter in network.parameters():
        nn.init.constant_(parameter, 100.0)
    network[0].weight.data = torch.tensor([1.0, -2.0]).view(1, 1, 1, 2)
    network[2].weight.data.fill_(3.0)
    network[3].weight.data.fill_(-1.0)
    penalty = kernel_l2(network)
    assert penalty.item() == 1 + 4 + 9 + 1
    penalty.backward()
    np.testing.assert_array_equal(network[0].weight.grad.flatten(), [2.0, -4.0])
    assert network[0].bias.grad is None


def test_l2_is_on_for_seget_alone():
    assert (SegETLoss().l2, CrossEntropyDice().l2) == (1e-4, 0.0)
