"""Plain averages of the weights that epochs end with, and running statistics estimated for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_averaging import Watching, equal
from test_fit import Stopped, same, train_once
from torch import nn

from cristae.models import create_model
from cristae.progress import Progress
from cristae.training.batch_statistics import estimate_statistics
from cristae.training.config import TrainingConfig

SCORES = [0.5, 0.6, 0.4, 0.7]
CONFIG = TrainingConfig.model_validate({"epochs": 4, "learning_rate": 1e-2, "swa": {"from_epoch": 2}})


def statistics_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in network.state_dict().items() if "running" in name}


def test_the_average_is_that_of_the_epochs_ends(tmp_path: Path) -> None:
    """From the second epoch on it equals numpy's mean of the weights that an ordinary training has there; that
    training is not disturbed, and what is validated is what is saved."""
    raw, watching = Watching(SCORES), Watching(SCORES)
    plain = train_once(tmp_path / "a", raw, config=CONFIG.model_copy(update={"swa": None}))
    averaged = train_once(tmp_path / "b", watching, config=CONFIG)
    assert same(plain, averaged)
    assert equal(watching.validated[0], raw.validated[0])
    parameters = {name for name, _ in plain.named_parameters()}
    for epoch in (1, 2, 3):
        for name in parameters:
            ends = [raw.validated[one][name].double().numpy() for one in range(1, epoch + 1)]
            found = watching.validated[epoch][name].numpy()
            np.testing.assert_allclose(found, np.mean(ends, axis=0), rtol=1e-5, atol=1e-7)
    assert equal(watching.saved, watching.validated[3])
    assert not all(torch.equal(watching.saved[name], raw.validated[3][name]) for name in parameters)


@pytest.mark.parametrize("dies_in", [1, 2, 3])
def test_a_killed_training_ends_with_the_same_average(tmp_path: Path, dies_in: int) -> None:
    whole = Watching(SCORES)
    undisturbed = train_once(tmp_path / "one", whole, config=CONFIG)
    with pytest.raises(Stopped):
        train_once(tmp_path / "two", Watching(SCORES, dies_in=dies_in), config=CONFIG)
    rest = Watching(SCORES)
    rest.epoch = dies_in - 1
    continued = train_once(tmp_path / "two", rest, config=CONFIG)
    assert same(undisturbed, continued)
    assert all(map(equal, whole.validated[dies_in - 1 :], rest.validated))
    assert equal(whole.saved, rest.saved)


def test_statistics_are_those_of_a_pass_over_the_patches() -> None:
    """The means over batches of the mean and of the unbiased variance of what enters each normalisation, by hand."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(3, 2, 1))
    network.append(nn.BatchNorm2d(2, momentum=0.7))
    network[1].eval()
    images = [torch.randn(4, 1, 9, 9) * scale for scale in (0.5, 1.0, 3.0)]
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.named_parameters()}
    estimate_statistics(network, images)
    first = [network[0](image).detach() for image in images]
    torch.testing.assert_close(network[1].running_mean, torch.stack([one.mean((0, 2, 3)) for one in first]).mean(0))
    variances = torch.stack([one.transpose(0, 1).flatten(1).var(1) for one in first])
    torch.testing.assert_close(network[1].running_var, variances.mean(0))
    second = []
    for one in first:  # normalised by the batch, without dropout
        mean, var = one.mean((0, 2, 3), keepdim=True), one.var((0, 2, 3), unbiased=False, keepdim=True)
        second.append(network[4](((one - mean) / (var + 1e-5).sqrt()).relu()).detach())
    torch.testing.assert_close(network[5].running_mean, torch.stack([one.mean((0, 2, 3)) for one in second]).mean(0))
    assert [module.training for module in network.modules()] == modes
    assert network[5].momentum == 0.7
    assert all(torch.equal(before[name], value) for name, value in network.named_parameters())


def test_networks_without_statistics_take_no_image() -> None:
    def never() -> torch.Tensor:
        raise AssertionError

    estimate_statistics(nn.Conv2d(1, 1, 1), (never() for _ in range(1)))


def test_statistics_after_training_belong_to_the_average(tmp_path: Path) -> None:
    """They differ from those of the latest network, and are the same whoever estimates them again."""
    raw, watching = Watching([0.5, 0.6]), Watching([0.5, 0.6])
    config = CONFIG.model_copy(update={"epochs": 2})
    train_once(tmp_path / "a", raw, config=config.model_copy(update={"swa": None}))
    train_once(tmp_path / "b", watching, config=config)
    network = create_model("unet_bn", in_channels=1, out_channels=1, widths=(4, 8))
    network.load_state_dict(watching.validated[1])
    latest = raw.validated[1]
    differing = [name for name, value in statistics_of(network).items() if not torch.equal(value, latest[name])]
    assert len(differing) == len(statistics_of(network))


def test_statistics_of_frozen_normalisations_stay(tmp_path: Path) -> None:
    """They are what the other weights were trained with, so the average is used with them, too."""
    frozen = TrainingConfig.model_validate(
        {
            "epochs": 2,
            "learning_rate": 1e-2,
            "swa": {"from_epoch": 1},
            "groups": [{"match": "encoder", "learning_rate_factor": 0}],
        }
    )
    watching = Watching([0.5, 0.6])
    network = train_once(tmp_path / "a", watching, config=frozen)
    still = {name for name, _ in network.named_buffers() if name.startswith("encoder") and "running" in name}
    assert still
    for name, value in statistics_of(network).items():
        assert torch.equal(watching.validated[1][name], value) == (name in still)


class Warned(Progress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.mark.parametrize(("from_epoch", "warned"), [(4, True), (2, False)])
def test_a_training_that_ends_before_the_average_begins_says_so(tmp_path: Path, from_epoch: int, warned: bool) -> None:
    config = {"epochs": 4, "swa": {"from_epoch": from_epoch}, "early_stop_patience": 2}
    progress = Warned()
    notes = Watching([0.6, 0.5, 0.4, 0.3])
    train_once(tmp_path / "a", notes, config=TrainingConfig.model_validate(config), progress=progress)
    assert len(notes.validated) == 3
    assert any("training.swa" in one for one in progress.warnings) == warned
