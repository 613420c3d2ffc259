"""The length of a training is that of its measured pieces, and is told with the digits that an estimate has."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from cristae.training import forecast
from cristae.training.feed import Worker
from cristae.training.forecast import Forecast, Validating

GOOD = Forecast(
    device="cpu",
    cores=2,
    epochs=30,
    batches=50,
    seconds_per_batch=2.0,
    validation_seconds=20.0,
    peak_bytes=5 * 2**30,
    total_bytes=24 * 2**30,
    finite=True,
)


def test_epochs_validations_and_the_one_at_the_end_add_up() -> None:
    assert GOOD.seconds == 30 * (50 * 2 + 20) + 20
    assert GOOD.text == (
        "about 1 h 00 min for 30 epochs of 50 batches on this machine (cpu, 2 cores), 17 % of it validation; "
        "peak memory 5.0 GiB of 24.0 GiB"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (61.0, "61 s"), (400.0, "7 min"), (3590.0, "1 h 00 min"), (12000.0, "3 h 20 min")],
)
def test_durations(seconds: float, text: str) -> None:
    one = replace(GOOD, epochs=1, batches=1, seconds_per_batch=seconds, validation_seconds=0.0)
    assert one.text.startswith(f"about {text} for 1 epoch of 1 batches")


def test_what_makes_it_rough_is_said() -> None:
    assert replace(GOOD, notes=("it may stop earlier",)).text.endswith("; it may stop earlier")
    assert "(NVIDIA H200)" in replace(GOOD, device="NVIDIA H200").text


def test_validation_in_parts_stands_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of four pieces, of data of which a half was read, takes an eighth of the time."""
    now = 0.0

    def validate(network: nn.Module, worker: Worker) -> None:
        nonlocal now
        assert not network.training
        now += 100.0 / worker.world_size

    monkeypatch.setattr(forecast.time, "monotonic", lambda: now)
    network = nn.Conv2d(1, 1, 1).train()
    assert forecast._time_validation(network, Validating(validate, 4, 0.5), torch.device("cpu")) == 200.0
    assert now == 25.0
