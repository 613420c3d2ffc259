"""A loss written as a weighted sum: its value by hand, the papers' losses as sums, and what is refused."""

import math

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from cristae.data.classes import Classes
from cristae.errors import RecipeError
from cristae.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    CrossEntropyDice,
    DenseCellLoss,
    Dice,
    JaccardDistance,
    Loss,
    LossConfig,
    LossTerm,
    SegETLoss,
    SumLoss,
    kernel_l2,
)
from cristae.losses.term import SumOfTerms

ONE = Classes(names=("background", "mito"))
THREE = Classes(names=("background", "mito", "membrane"))
OVERLAPPING = Classes(names=("mito", "cell"), exclusive=False)


def test_a_sum_by_hand() -> None:
    written = {
        "name": "sum",
        "terms": [
            {"name": "binary_cross_entropy"},
            {"name": "jaccard_distance", "weight": 0.5, "over": "batch"},
            {"name": "dice", "weight": 2},
        ],
        "l2": 0.25,
    }
    config = TypeAdapter(Loss).validate_python(written)
    logits = torch.tensor([math.log(3), 0.0], dtype=torch.float64).view(1, 1, 1, 2)  # p = 3/4, 1/2
    target, valid = torch.tensor([[[1, 0]]]), torch.ones(1, 1, 2, dtype=torch.bool)
    entropy, jaccard, dice = (math.log(4 / 3) + math.log(2)) / 2, 1 - 0.75 / 1.5, 1 - 1.5 / 2.25
    value = config.build(ONE)(logits, target, valid, None)
    assert value.item() == pytest.approx(entropy + 0.5 * jaccard + 2 * dice, abs=1e-6)
    network = nn.Conv2d(1, 1, (1, 2))
    nn.init.constant_(network.weight, 3.0)
    assert config.penalty(network).item() == 0.25 * 18 == 0.25 * kernel_l2(network).item()


def test_terms_average_the_classes_that_they_name() -> None:
    probability = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.6, 0.2]], dtype=torch.float64)
    logits, target = probability.log().T.reshape(1, 3, 1, 2), torch.tensor([[[0, 1]]])
    valid = torch.ones(1, 1, 2, dtype=torch.bool)
    background, mito, membrane = 1 - 0.5 / 1.2, 1 - 0.6 / 1.25, 1.0
    for which, expected in (("foreground", (mito + membrane) / 2), ("all", (background + mito + membrane) / 3)):
        value = SumLoss(terms=(JaccardDistance(classes=which),)).build(THREE)(logits, target, valid, None)
        assert value.item() == pytest.approx(expected, abs=1e-6)


WRITTEN_OUT: dict[str, tuple[LossConfig, tuple[LossTerm, ...], Classes]] = {
    "seget": (SegETLoss(), (BinaryCrossEntropy(), JaccardDistance()), ONE),
    "seget-sample-both": (
        SegETLoss(jaccard="sample", weights="both"),
        (BinaryCrossEntropy(), JaccardDistance(over="sample", voxel_weights=True)),
        OVERLAPPING,
    ),
    "cross_entropy_dice-one": (CrossEntropyDice(), (BinaryCrossEntropy(), Dice()), ONE),
    "cross_entropy_dice-three": (
        CrossEntropyDice(cross_entropy_weight=0.3, dice_weight=0.7, dice_classes="all"),
        (CrossEntropy(weight=0.3), Dice(weight=0.7, classes="all")),
        THREE,
    ),
    "dense_cell": (DenseCellLoss(), (CrossEntropy(reduction="sum"),), THREE),
}


@pytest.mark.parametrize(("named", "terms", "classes"), WRITTEN_OUT.values(), ids=WRITTEN_OUT)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_named_loss_is_its_written_out_sum_bit_for_bit(
    named: LossConfig, terms: tuple[LossTerm, ...], classes: Classes, weighted: bool
) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(3, classes.n_logits, 9, 11, generator=generator)
    shape = (3, 9, 11) if classes.exclusive else logits.shape
    target = torch.randint(0, len(classes.names) if classes.exclusive else 2, shape, generator=generator)
    valid = torch.rand(3, 9, 11, generator=generator) < 0.8
    weight = torch.rand(shape, generator=generator) if weighted else None
    values, gradients = [], []
    for config in (named, SumLoss(terms=terms)):
        free = logits.clone().requires_grad_()
        value = config.build(classes)(free, target, valid, weight)
        value.backward()
        values.append(value)
        gradients.append(free.grad)
    assert torch.equal(*values)
    assert torch.equal(*gradients)  # type: ignore[arg-type]


def test_a_term_may_read_a_further_target() -> None:
    class Boundary(LossTerm):
        """Mean over valid voxels of the probability times the signed distance (Kervadec et al. 2019)."""

        def build(self, classes: Classes):
            return lambda voxels: (voxels.logits.sigmoid() * voxels.further["distance"]).sum() / voxels.valid.sum()

    loss = SumOfTerms((Boundary(weight=3.0),), ONE)
    logits, target = torch.zeros(1, 1, 1, 3), torch.zeros(1, 1, 3)
    valid = torch.tensor([[[True, True, False]]])
    distance = torch.tensor([-1.0, 4.0, float("nan")]).view(1, 1, 1, 3)
    assert loss(logits, target, valid, None, {"distance": distance}).item() == pytest.approx(3 * 0.5 * 3 / 2)


@pytest.mark.parametrize(
    ("term", "classes", "message"),
    [
        (BinaryCrossEntropy(), THREE, r"terms\.1: .*'binary_cross_entropy'.* 3 exclusive.*use 'cross_entropy'"),
        (CrossEntropy(), ONE, r"terms\.1: .*'cross_entropy'.*one foreground class.*use 'binary_cross_entropy'"),
        (CrossEntropy(), OVERLAPPING, r"terms\.1: .*overlapping classes.*use 'binary_cross_entropy'"),
    ],
)
def test_a_term_that_does_not_suit_the_classes_names_one_that_does(
    term: BinaryCrossEntropy | CrossEntropy, classes: Classes, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        SumLoss(terms=(Dice(), term)).build(classes)


@pytest.mark.parametrize("weight", [0, -1, float("inf")])
def test_weights_of_terms_are_above_zero(weight: float) -> None:
    with pytest.raises(ValidationError, match="weight"):
        Dice(weight=weight)
    with pytest.raises(ValidationError, match="terms"):
        SumLoss(terms=())
