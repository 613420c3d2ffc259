"""What is said before a prediction and after it; memory that runs out."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_networks import MITO, UNCHANGED, Pyramidal, member
from torch import nn

from cristae.data.box import Box
from cristae.data.image import image_of_array
from cristae.inference import forecast
from cristae.inference.blocks import plan_blocks
from cristae.inference.forecast import Forecast, forecast_of
from cristae.inference.job import Job
from cristae.inference.locality import Locality
from cristae.inference.predictor import Member, Predictor
from cristae.inference.working_grid import working_grid_at
from cristae.progress import Progress

LAYOUT = SimpleNamespace(bytes_per_vox=1.5)


def forecast_for(one, shape, monkeypatch, *, block=(4, 600, 700)):
    """Where measuring the part takes two seconds."""
    seconds = iter([10.0, 12.0])
    monkeypatch.setattr(forecast, "_WORTH", 32)
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: next(seconds))
    image = image_of_array(np.zeros(shape, np.uint8))
    predictor, blocks = Predictor([one]), list(plan_blocks(Box.of_shape(shape), block))
    return forecast_of(predictor, working_grid_at(image, None), image, LAYOUT, blocks)


def plain(reach=0):
    return Member(nn.Identity(), Locality(True, "", (0, reach, reach), (1, 1, 1), 2), UNCHANGED, MITO)


def test_time_follows_the_voxels_that_networks_take_in(monkeypatch):
    found = forecast_for(plain(), (40, 600, 700), monkeypatch)
    assert found.seconds == pytest.approx(2 * 40 * 600 * 700 / 512**2)
    assert found.disk_bytes == 1.5 * 40 * 600 * 700
    # With a reach of 30 the part of 512 x 512 pixels takes in 572 x 572, and each of two blocks 30 columns more.
    found = forecast_for(plain(30), (40, 600, 1400), monkeypatch)
    assert found.seconds == pytest.approx(2 * 40 * 600 * (1400 + 60) / 572**2)


def test_little_work_is_not_measured(monkeypatch):
    assert forecast_for(plain(), (10, 512, 512), monkeypatch) is None
    empty = image_of_array(np.zeros((1, 8, 8), np.uint8))
    assert forecast_of(Predictor([plain()]), working_grid_at(empty, None), empty, LAYOUT, []) is None


def test_what_is_said():
    found = Forecast(100.0, 3 * 2**20)
    assert found.text(2**30) == "forecast: 1 min 40 s, 1.0 GiB of memory, at most 3 MiB on disk"
    assert found.text(0) == "forecast: 1 min 40 s, at most 3 MiB on disk"
    assert found.outcome(110.0, 2**29) == "the blocks took 1 min 50 s, +10% of the forecast, and 512 MiB of memory"


class Full(nn.Module):
    """Memory runs out for inputs of more than some voxels."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.inner, self.most = Pyramidal(), most

    def forward(self, image):
        if image.device.type != "meta" and image[0, 0].numel() * len(image) > self.most:
            raise torch.OutOfMemoryError("none is left")
        return self.inner(image)


def test_less_goes_through_the_networks_where_memory_runs_out(noise):
    """A streamed network never sees the whole slice; what it gives stays the same."""
    image, box = noise(2, 1100, 600), Box((0, 0, 0), (2, 1100, 600))
    small, enough = Predictor([member(Full(600 * 1000), stride=4)]), Predictor([member(Full(10**9), stride=4)])
    with small.predicting(), enough.predicting():
        with pytest.raises(torch.OutOfMemoryError):
            small.probabilities(image, box)
        tries = 0
        while small.take_less_memory():
            tries += 1
        assert 1 < tries < 8
        found, whole = small.probabilities(image, box), enough.probabilities(image, box)
    assert (found - whole).abs().max() < 1e-5


class Warned(Progress):
    """Counts warnings."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def warn(self, message: str) -> None:
        self.messages.append(message)


@pytest.mark.parametrize(("failures", "steps"), [(0, 0), (2, 3), (2, 2), (2, 1)])
def test_a_job_takes_less_memory_until_it_cannot(failures, steps):
    tries, left = iter(range(100)), iter([True] * steps)
    block, progress = SimpleNamespace(core="core"), Warned()

    def probabilities(_, raw, core):
        if next(tries) < failures:
            raise torch.OutOfMemoryError("none is left")
        return raw, core

    predictor = SimpleNamespace(device=torch.device("cpu"), take_less_memory=lambda: next(left, False))
    job = Job(predictor, SimpleNamespace(probabilities=probabilities), None, None, None, None)
    if steps < failures:
        with pytest.raises(torch.OutOfMemoryError):
            job._probabilities(SimpleNamespace(raw="raw", block=block), progress)
    else:
        assert job._probabilities(SimpleNamespace(raw="raw", block=block), progress) == ("raw", "core")
    assert len(progress.messages) == min(failures, steps)
    assert all("smaller passes" in message for message in progress.messages)
