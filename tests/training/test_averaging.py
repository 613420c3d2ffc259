"""Averaged weights: by hand, in a training, and resumed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from test_fit import Notes, Stopped, same, train_once
from torch import nn

from cristae.models import create_model
from cristae.training.averaging import AveragedWeights, share_of_latest
from cristae.training.config import TrainingConfig
from cristae.training.epoch_end import Best, Counts
from cristae.training.feed import Worker
from cristae.training.validation_config import Criterion

SCORES = [0.5, 0.6, 0.4, 0.7]


def test_the_ramp_by_hand() -> None:
    shares = share_of_latest(0.9, torch.tensor([0, 1, 8, 79, 80, 81, 10**6]))
    assert shares.tolist() == pytest.approx([9 / 10, 9 / 11, 9 / 18, 9 / 89, 0.1, 0.1, 0.1])
    assert float(share_of_latest(0.9999, torch.tensor(10**6))) == pytest.approx(1e-4, rel=1e-6)


def test_the_average_is_the_recursion() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    average = AveragedWeights(network, 0.3)
    expected = {name: value.double().numpy().copy() for name, value in network.state_dict().items()}
    for update in range(6):
        with torch.no_grad():
            for value in network.parameters():
                value.add_(torch.randn_like(value))
        network(torch.randn(4, 1, 3, 3))  # which moves running statistics
        average.update(network, torch.tensor(False))
        kept = min(0.3, (1 + update) / (10 + update))
        for name, value in network.state_dict().items():
            latest = value.double().numpy()
            expected[name] = kept * expected[name] + (1 - kept) * latest if value.is_floating_point() else latest
    for name, value in average.network.state_dict().items():
        np.testing.assert_allclose(value.double().numpy(), expected[name], rtol=2e-6, atol=1e-7)
    assert average.network.state_dict()["1.num_batches_tracked"] == 6
    assert not any(value.requires_grad for value in average.network.parameters())


class Watching(Notes):
    """Keeps what is validated and what is saved."""

    def __init__(self, scores: list[float], *, dies_in: int = -1) -> None:
        super().__init__(scores, dies_in=dies_in)
        self.validated: list[dict[str, torch.Tensor]] = []
        self.saved: dict[str, torch.Tensor] = {}

    def validate(self, network: nn.Module, epoch: int, worker: Worker) -> Counts:
        self.validated.append({name: value.clone() for name, value in network.state_dict().items()})
        return super().validate(network, epoch, worker)

    def save_best(self, network: nn.Module, criterion: Criterion, kept: Mapping[Criterion, Best]) -> None:
        super().save_best(network, criterion, kept)
        self.saved = {name: value.clone() for name, value in network.state_dict().items()}


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_training_goes_on_with_its_own_weights_and_the_average_is_kept(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=4, learning_rate=1e-2)
    raw, watching = Watching(SCORES), Watching(SCORES)
    plain = train_once(tmp_path / "a", raw, config=config)
    averaged = train_once(tmp_path / "b", watching, config=config.model_copy(update={"ema_decay": 0.9}))
    assert same(plain, averaged)
    assert all(not equal(one, two) for one, two in zip(raw.validated, watching.validated, strict=True))
    assert equal(watching.saved, watching.validated[3])
    assert equal(raw.saved, raw.validated[3])
    expected = create_model("unet_bn", in_channels=1, out_channels=1, widths=(4, 8))
    expected.load_state_dict(watching.saved)  # its names are those of the network


def test_the_average_follows_updates_and_not_batches(tmp_path: Path) -> None:
    torch.manual_seed(4)
    network = nn.Conv2d(1, 1, 3, padding=1)
    before = network.weight.detach().clone()
    watching = Watching([0.5])
    config = TrainingConfig(epochs=1, learning_rate=1e-2, ema_decay=0.9, accumulate=3)
    after = train_once(tmp_path, watching, config=config, network=network)
    expected = 0.1 * before + 0.9 * after.weight.detach()  # type: ignore[operator]
    assert not torch.equal(before, after.weight)  # type: ignore[arg-type]
    torch.testing.assert_close(watching.saved["weight"], expected)


@pytest.mark.parametrize("dies_in", [1, 2, 3])
def test_a_killed_training_ends_with_the_same_averages(tmp_path: Path, dies_in: int) -> None:
    config = TrainingConfig(epochs=4, learning_rate=1e-2, ema_decay=0.9)
    whole = Watching(SCORES)
    undisturbed = train_once(tmp_path / "one", whole, config=config)
    with pytest.raises(Stopped):
        train_once(tmp_path / "two", Watching(SCORES, dies_in=dies_in), config=config)
    rest = Watching(SCORES)
    rest.epoch = dies_in - 1
    continued = train_once(tmp_path / "two", rest, config=config)
    assert same(undisturbed, continued)
    assert all(map(equal, whole.validated[dies_in - 1 :], rest.validated))
    assert equal(whole.saved, rest.saved)
