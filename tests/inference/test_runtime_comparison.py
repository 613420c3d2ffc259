"""A runtime that gives something else is noticed; faster ways are named, slower ones are not."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_networks import Pyramidal, member

from cristae.data.box import Box
from cristae.data.image import image_of_array
from cristae.inference.blocks import plan_blocks
from cristae.inference.predictor import Predictor
from cristae.inference.runtime_check import RuntimeCheck
from cristae.inference.runtimes import comparison, faster
from cristae.inference.runtimes.comparison import compare_with_torch
from cristae.inference.runtimes.faster import Way, faster_ways
from cristae.inference.working_grid import working_grid_at

ONE = member(Pyramidal().eval(), stride=4)
GREY = np.random.default_rng(0).integers(0, 256, (24, 20, 20), dtype=np.uint8)
IMAGE = image_of_array(GREY)
GRID = working_grid_at(IMAGE, None)
SLICES = [Box((z, 0, 0), (z + 1, 20, 20)) for z in range(24)]


def compared(error, structured=()):
    """With a runtime whose logits are larger by `error`; and the slices that were compared."""
    seen = []

    def sessions(one):
        return lambda image: one.network(image) + error

    def known_labels(box):
        seen.append(box.start[0])
        return np.full((1, *box.shape), box.start[0] in structured)

    predictor = Predictor([ONE], sessions=sessions)
    return compare_with_torch(predictor, "onnx", GRID, IMAGE, SLICES, 0.5, known_labels), seen


def test_what_differs_is_counted():
    same, looked_at = compared(0.0)
    assert same == RuntimeCheck("onnx", 3, 3 * 400, 0, 0.0)
    assert same.agrees
    assert looked_at == list(range(1, 24, 2))
    with torch.inference_mode():
        # Without structures the first three places that are looked at: slices 1, 3 and 5.
        logits = ONE.network(torch.from_numpy(GREY[[1, 3, 5], None] / np.float32(255)))
    other, _ = compared(0.3)
    assert other.differing == int(((logits > 0) != (logits + 0.3 > 0)).sum()) > 0
    expected = float((torch.sigmoid(logits + 0.3) - torch.sigmoid(logits)).max())
    assert other.largest_difference == pytest.approx(expected, abs=1e-6)
    assert not other.agrees


def test_places_with_structures_come_first(monkeypatch):
    read = []
    monkeypatch.setattr(comparison, "labels_of", lambda found, *_: read.append(found) or found > 0.5)
    found, _ = compared(0.0, structured=(3, 9, 10, 15, 17, 19, 23))  # 10 is not looked at
    with torch.inference_mode():
        # Every second of 3, 9, 15, 17, 19, 23.
        expected = torch.sigmoid(ONE.network(torch.from_numpy(GREY[[3, 15, 19], None] / np.float32(255))))
    assert (torch.stack([one[0, 0] for one in read[::2]]) - expected[:, 0]).abs().max() < 1e-6
    assert found.places == 3


def test_what_is_said_of_it():
    assert RuntimeCheck("onnx", 3, 10**6, 100, 1e-3).agrees
    assert not RuntimeCheck("onnx", 3, 10**6, 101, 1e-3).agrees
    assert not RuntimeCheck("onnx", 3, 10**6, 0, 1.1e-3).agrees
    assert RuntimeCheck("openvino", 1, 65536, 0, 2.4e-7).text() == (
        "openvino agrees with torch: in one place that both predicted, probabilities differ by at most 2.4e-07 and "
        "labels in 0 of 65536 voxels"
    )
    assert RuntimeCheck("onnx", 3, 1000, 20, 0.01).text() == (
        "onnx does not agree with torch: in 3 places that both predicted, probabilities differ by at most 1.0e-02 and "
        "labels in 20 of 1000 voxels; tolerated are 0.001 and 0.01% of the voxels"
    )


def test_only_what_is_clearly_faster_is_named(monkeypatch):
    """Of a part, PyTorch takes 2 s, one way 1 s, another 1.8 s; a third has no room, a fourth works in small blocks."""
    ways = [Way(name, "torch", "fp32", f"--{name}") for name in ("fast", "same", "large", "small")]
    began = {"usual": 2.0, "fast": 1.0, "same": 1.8, "small": 1.0}
    clock = iter([time for name in ("usual", "fast", "same", "small") for time in (0.0, began[name])])
    monkeypatch.setattr(faster, "ways_here", lambda: ways)
    monkeypatch.setattr(faster, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    whole = (1, 20, 20)
    blocks = list(plan_blocks(Box.of_shape(IMAGE.shape), whole))
    # A reach of 16: blocks of 4 x 4 pixels take in many times as much as the whole slice.
    found = faster_ways(
        Predictor([ONE]),
        GRID,
        IMAGE,
        blocks,
        600.0,
        lambda way: {"large": None, "small": (1, 4, 4)}.get(way.name, whole),
    )
    assert list(found) == ["fast would take about 5 min 00 s instead of 10 min 00 s (--fast)"]
