"""N batches of b patches in an update are one of N b, where the loss is a mean over voxels."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from test_fit import Heard, Notes, train_once
from torch import nn

from cristae.losses import SumLoss
from cristae.progress import Task
from cristae.training.config import TrainingConfig
from cristae.training.schedule import Linear

MEAN = SumLoss.model_validate({"terms": [{"name": "binary_cross_entropy"}], "l2": 1e-2})
SUM = SumLoss.model_validate({"terms": [{"name": "binary_cross_entropy", "reduction": "sum"}]})


def trained(
    folder: Path, batch_size: int, accumulate: int, *, loss: SumLoss = MEAN, **fields: object
) -> tuple[torch.Tensor, Notes]:
    """All weights of a network without batch normalisation after two epochs of 12 patches, by SGD."""
    torch.manual_seed(5)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 1, 3, padding=1))
    notes = Notes([0.5, 0.6])
    config = {"epochs": 2, "optimizer": "sgd", "learning_rate": 0.05, "schedule": Linear(warmup=1, floor=0)}
    parsed = TrainingConfig.model_validate(config | {"accumulate": accumulate} | fields)
    train_once(folder, notes, config=parsed, batch_size=batch_size, network=network, loss=loss)
    return torch.cat([value.detach().flatten() for value in network.parameters()]), notes


@pytest.mark.parametrize("clip", [None, 0.05])
def test_several_small_batches_are_a_large_one(tmp_path: Path, clip: float | None) -> None:
    """Schedule, penalty and clipping included; 12 patches make two updates of 3 x 2 or 1 x 6."""
    small, notes = trained(tmp_path / "a", 2, 3, gradient_clip=clip)
    large, same_notes = trained(tmp_path / "b", 6, 1, gradient_clip=clip)
    torch.testing.assert_close(small, large, rtol=1e-5, atol=1e-7)
    assert [row["step"] for row in notes.rows] == [2, 4]
    for ours, theirs in zip(notes.rows, same_notes.rows, strict=True):
        assert ours["learning_rate"] == theirs["learning_rate"]
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-5)
    assert not torch.allclose(large, trained(tmp_path / "c", 2, 1, gradient_clip=clip)[0], rtol=1e-3)


def test_patches_that_do_not_fill_an_update_are_left_out(tmp_path: Path) -> None:
    """As in a feed of large batches: of 12 patches, 8 are seen."""
    small, notes = trained(tmp_path / "a", 4, 2)
    large, _ = trained(tmp_path / "b", 8, 1)
    torch.testing.assert_close(small, large, rtol=1e-5, atol=1e-7)
    assert [row["step"] for row in notes.rows] == [1, 2]


def test_sums_over_voxels_are_averaged_over_the_batches(tmp_path: Path) -> None:
    """The sum over N batches would be N times as much."""
    small, _ = trained(tmp_path / "a", 2, 3, loss=SUM, learning_rate=3e-5)
    large, _ = trained(tmp_path / "b", 6, 1, loss=SUM, learning_rate=1e-5)
    torch.testing.assert_close(small, large, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_running_statistics_of_a_young_network_go_by_batches(tmp_path: Path, accumulate: int) -> None:
    config = TrainingConfig(epochs=1, accumulate=accumulate)
    network = train_once(tmp_path, Notes([0.5]), config=config)
    momenta = {module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm2d)}
    assert momenta == {10 / (10 + 2)}  # in the third batch


def test_progress_counts_batches(tmp_path: Path) -> None:
    class Counting(Heard):
        @contextmanager
        def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
            began.append((total, done))
            with super().task(title, total, unit=unit, done=done) as task:
                yield task

    began: list[tuple[int, int]] = []
    for epochs in (1, 2):
        notes, heard = Notes([0.5, 0.6]), Counting()
        notes.epoch = epochs - 1
        train_once(tmp_path, notes, config=TrainingConfig(epochs=epochs, accumulate=3), progress=heard)
        assert heard.steps == 3
    assert began == [(3, 0), (6, 3)]
