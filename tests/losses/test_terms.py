"""Terms against numbers worked by hand, those of the papers, and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.morphology import skeletonize
from torch import Tensor

from cristae.data.classes import Classes
from cristae.errors import RecipeError
from cristae.losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    ClDice,
    CrossEntropy,
    Dice,
    Focal,
    JaccardLog,
    LossTerm,
    PrintedDice,
    SquaredError,
    SumLoss,
    Tversky,
    WeightedDice,
)
from cristae.losses.cl_dice import soft_skeleton

ONE = Classes(names=("background", "mito"))
FOUR = Classes(names=("background", "mito", "er", "membrane"))
MEYER = WeightedDice(class_weights={"background": 0.1, "mito": 0.7, "er": 1.0, "membrane": 0.9})
P, T = [0.9, 0.1, 0.8, 0.2], [1, 0, 1, 0]


def value(term: LossTerm, logits: Tensor, target: Tensor, classes: Classes) -> float:
    """Of logits (1, K, *S) and ids (1, *S), all valid, in float64."""
    return float(SumLoss(terms=(term,)).build(classes)(logits.double(), target, torch.ones_like(target).bool(), None))


def of_probabilities(term: LossTerm, p: list[float], t: list[int]) -> float:
    return value(term, torch.logit(torch.tensor(p).double()).view(1, 1, 1, -1), torch.tensor([[t]]), ONE)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (JaccardLog(), -math.log((1.7 + 1) / (2 + 2 - 1.7 + 1))),
        (PrintedDice(), -(1.7 + 1) / (2 + 2 + 1)),
        (Tversky(), (0.3 * 0.3 + 0.7 * 0.3) / (1.7 + 0.3 * 0.3 + 0.7 * 0.3)),
        (Tversky(gamma=4 / 3), ((0.3 * 0.3 + 0.7 * 0.3) / (1.7 + 0.3 * 0.3 + 0.7 * 0.3)) ** 0.75),
        (SquaredError(), (0.01 + 0.01 + 0.04 + 0.04) / 4),
        (AbsoluteError(), (0.1 + 0.1 + 0.2 + 0.2) / 4),
        (Focal(), -(0.25 + 0.75) * (0.01 * math.log(0.9) + 0.04 * math.log(0.8)) / 4),
    ],
)  # fmt: skip
def test_by_hand(term: LossTerm, expected: float) -> None:
    assert of_probabilities(term, P, T) == pytest.approx(expected, rel=1e-6)


def test_the_printed_dice_has_its_floor_at_about_minus_one_half() -> None:
    assert of_probabilities(PrintedDice(), [1 - 1e-9] * 4000 + [1e-9] * 4000, [1] * 4000 + [0] * 4000) == pytest.approx(
        -4001 / 8001
    )


def one_hot(labels: list[list[int]], scale: float = 40.0) -> Tensor:
    return scale * F.one_hot(torch.tensor([labels]), 4).movedim(-1, 1).double()


@pytest.mark.parametrize(
    ("labels", "logits", "expected"),
    [
        ([[0, 1], [2, 3]], one_hot([[0, 1], [2, 3]]), 0.325),
        ([[0, 1], [2, 3]], torch.zeros(1, 4, 2, 2), 0.831247),
        ([[0, 0], [0, 1]], one_hot([[0, 0], [0, 1]]), 0.325),
        ([[0, 0], [0, 1]], one_hot([[0, 0], [1, 1]]), 0.388333),
    ],
)
def test_weighted_dice_of_the_paper(labels: list[list[int]], logits: Tensor, expected: float) -> None:
    assert value(MEYER, logits, torch.tensor([labels]), FOUR) == pytest.approx(expected, abs=5e-7)


def test_terms_that_are_others_in_special_cases() -> None:
    generator = torch.Generator().manual_seed(3)
    logits, target = torch.randn(1, 4, 5, 6, generator=generator), torch.randint(0, 4, (1, 5, 6), generator=generator)
    even = Tversky(false_positives=0.5, false_negatives=0.5)
    assert value(even, logits, target, FOUR) == pytest.approx(value(Dice(), logits, target, FOUR), rel=1e-6)
    plain = Focal(alpha=None, gamma=0)
    assert value(plain, logits, target, FOUR) == pytest.approx(value(CrossEntropy(), logits, target, FOUR), rel=1e-6)
    logits, target = logits[:, :1], (target > 1).long()
    cross_entropy = value(BinaryCrossEntropy(), logits, target, ONE)
    assert value(plain, logits, target, ONE) == pytest.approx(cross_entropy, rel=1e-6)


def test_focal_of_two_softmax_logits_is_that_of_their_difference() -> None:
    two = Classes(names=("a", "b"), background=False)
    generator = torch.Generator().manual_seed(4)
    logits, target = torch.randn(1, 2, 5, 6, generator=generator), torch.randint(0, 2, (1, 5, 6), generator=generator)
    focal = Focal(alpha=None, gamma=1.5)
    difference = value(focal, logits[:, 1:] - logits[:, :1], target, ONE)
    assert value(focal, logits, target, two) == pytest.approx(difference, rel=1e-6)


def test_focal_keeps_its_digits_when_it_is_right() -> None:
    found = value(Focal(alpha=None, gamma=0), torch.full((1, 1, 1, 1), 50.0), torch.ones(1, 1, 1).long(), ONE)
    assert found == pytest.approx(math.exp(-50), rel=1e-9)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"nucleus": 2.0}, "class 'nucleus'; the classes are background, mito"),
        ({"background": 0, "mito": 0}, "every class"),
    ],
)
def test_weights_that_do_not_fit(weights: dict[str, float], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        SumLoss(terms=(WeightedDice(class_weights=weights),)).build(ONE)


def line(width: int, size: int = 21) -> Tensor:
    mask = torch.zeros(1, 1, size, size)
    first = size // 2 - width // 2
    mask[..., first : first + width, 3:-3] = 1
    return mask


@pytest.mark.parametrize("width", [1, 3, 5])
def test_the_soft_skeleton_of_a_bar_is_its_middle(width: int) -> None:
    found = soft_skeleton(line(width), 5)[0, 0].numpy()
    hard = skeletonize(line(width)[0, 0].numpy() > 0)
    middle = slice(6, -6)
    np.testing.assert_array_equal(found[:, middle] > 0, hard[:, middle])


def test_a_gap_costs_more_than_a_thinner_line() -> None:
    true = line(5)[:, 0].long()
    broken, thin = line(5), line(3)
    broken[..., 9:12] = 0
    loss = [value(ClDice(), 40 * (mask - 0.5), true, ONE) for mask in (line(5), thin, broken)]
    assert loss[0] == pytest.approx(0, abs=1e-6)
    assert loss[0] <= loss[1] < loss[2]


def test_the_soft_skeleton_in_three_dimensions_has_neighbours_in_z() -> None:
    rod = torch.zeros(1, 1, 9, 9, 9)
    rod[..., 3:6, 3:6, 1:8] = 1
    found = soft_skeleton(rod, 3)[0, 0]
    assert found[4, 4, 4] > 0
    assert found[:, :, 4].sum() == found[4, 4, 4]
