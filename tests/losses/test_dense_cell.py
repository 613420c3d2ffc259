"""The loss for dense cells against numbers worked by hand and the published ones."""

import math

import pytest
import torch
from torch import nn

from cristae.data.classes import Classes
from cristae.losses import DenseCellLoss, with_auxiliary_outputs

ONE = Classes(names=("background", "cell"))
THREE = Classes(names=("background", "cell", "mito"))
SEVEN = Classes(names=("background", "cell", "mito", "canal", "alpha", "dense", "core"))
OVERLAPPING = Classes(names=("mito", "cell"), exclusive=False)


def test_uniform_logits_over_the_published_window():
    size = (5, 296, 296)
    logits, target = torch.zeros(1, 7, *size, dtype=torch.float64), torch.zeros(1, *size, dtype=torch.uint8)
    weight = torch.full((1, *size), 1.01, dtype=torch.float64)
    loss = with_auxiliary_outputs(DenseCellLoss().build(SEVEN), (1.0, 0.33))
    value = loss((logits, logits), target, torch.ones_like(target, dtype=torch.bool), weight)
    assert value.item() == pytest.approx(1_145_115.32, abs=5e-3)


def test_two_by_two_pixels_of_three_classes_by_hand():
    probability = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.6, 0.2], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]])
    logits = probability.double().log().T.reshape(1, 3, 2, 2)
    target = torch.tensor([[0, 1], [1, 2]]).unsqueeze(0)
    valid = torch.tensor([[[True, True], [True, False]]])
    weight = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    total = -(math.log(0.5) + 2 * math.log(0.6) + 3 * math.log(0.8))
    assert DenseCellLoss().build(THREE)(logits, target, valid, weight).item() == pytest.approx(total, abs=1e-6)
    mean = DenseCellLoss(reduction="mean").build(THREE)(logits, target, valid, weight)
    assert mean.item() == pytest.approx(total / 3, abs=1e-6)


def test_two_by_two_pixels_of_one_sigmoid_by_hand():
    logits = torch.tensor([[math.log(3), 0.0], [-math.log(3), math.log(3)]]).double().view(1, 1, 2, 2)  # p 3/4 1/2 1/4
    target = torch.tensor([[[1, 0], [0, 0]]])
    weight = torch.tensor([[[2.0, 1.0], [1.0, 0.5]]])
    total = 2 * math.log(4 / 3) + math.log(2) + math.log(4 / 3) + 0.5 * math.log(4)
    value = DenseCellLoss().build(ONE)(logits, target, torch.ones(1, 2, 2) > 0, weight)
    assert value.item() == pytest.approx(total, abs=1e-6)


def test_overlapping_classes_add_up():
    logits = torch.tensor([0.0, math.log(3)]).double().view(1, 2, 1, 1)
    value = DenseCellLoss().build(OVERLAPPING)(logits, torch.ones(1, 2, 1, 1), torch.ones(1, 1, 1) > 0, None)
    assert value.item() == pytest.approx(math.log(2) + math.log(4 / 3), abs=1e-6)


class ThreeParts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.planar, self.volumetric, self.head = nn.Conv2d(1, 1, 1), nn.Conv3d(1, 1, 1), nn.Conv2d(1, 1, 1)

    def parameter_parts(self):
        return tuple(list(part.parameters()) for part in (self.planar, self.volumetric, self.head))


def test_each_part_has_its_own_factor_and_biases_count():
    network = ThreeParts()
    values = dict(zip(network.state_dict(), (2.0, 1.0, 4.0, 2.0, 6.0, 0.0), strict=True))
    network.load_state_dict({k: torch.full_like(v, values[k]) for k, v in network.state_dict().items()})
    config = DenseCellLoss(lambda_2d=1.0, lambda_3d=10.0, lambda_predictors=100.0)
    penalty = config.penalty(network)
    assert penalty.item() == 0.5 * (1 * (4 + 1) + 10 * (16 + 4) + 100 * 36)
    penalty.backward()
    assert network.volumetric.bias.grad.item() == 10 * 2
    assert DenseCellLoss(lambda_2d=0, lambda_3d=0, lambda_predictors=0).penalty(network).item() == 0
    kernels_too = config.model_copy(update={"l2": 1.0}).penalty(network)
    assert kernels_too.item() == penalty.item() + 4 + 16 + 36


def test_a_network_without_parts_is_all_2d_and_its_normalisation_is_free():
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.ConvTranspose2d(1, 1, 1), nn.Linear(1, 1))
    for parameter in network.parameters():
        nn.init.constant_(parameter, 2.0)
    config = DenseCellLoss(lambda_2d=1.0, lambda_3d=10.0, lambda_predictors=100.0)
    assert config.penalty(network).item() == 0.5 * 6 * 4


def test_factors_are_those_of_the_paper():
    config = DenseCellLoss()
    assert config.lambda_2d == pytest.approx(1.995262e-5, rel=1e-6)
    assert (config.lambda_3d, config.lambda_predictors, config.l2) == (1e-5, 1e-9, 0.0)
    assert config.reduction == "sum"
