"""Other runtimes give what PyTorch gives, and say what keeps them from it."""

import sys

import numpy as np
import pytest
import torch
from small_networks import Pyramidal, member
from torch import nn

from cristae.data.box import Box
from cristae.data.image import image_of_array
from cristae.errors import RunError
from cristae.inference.arrays import ArrayModel
from cristae.inference.blocks import plan_blocks
from cristae.inference.predictor import Member, Predictor
from cristae.inference.runtimes import exported, installed, sessions
from cristae.inference.runtimes.installed import require_runtime, runtimes_here
from cristae.inference.runtimes.sessions import session_of, sessions_of
from cristae.inference.windows import Windows
from cristae.models.unet_3d import UNet3DConfig

CPU = torch.device("cpu")
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}
each_runtime = pytest.mark.parametrize("runtime", list(PACKAGES))


def require(runtime):
    pytest.importorskip("onnx", reason=f"the extra '{runtime}' is not installed")
    pytest.importorskip(PACKAGES[runtime], reason=f"the extra '{runtime}' is not installed")


def noise(*shape):
    return image_of_array(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def predicted(one: Member, image, block, runtime):
    predictor = Predictor([one], sessions=sessions_of(runtime))
    result = torch.zeros((1, *image.shape))
    with predictor.predicting():
        for each in plan_blocks(Box.of_shape(image.shape), block):
            result[(slice(None), *each.core.slices)] = predictor.probabilities(image, each.core)
    return result


@each_runtime
def test_blocks_of_slices_are_those_of_pytorch(runtime):
    require(runtime)
    one, image = member(Pyramidal().eval(), stride=4), noise(3, 50, 61)
    expected = predicted(one, image, image.shape, "torch")
    for block in ((3, 50, 61), (1, 16, 24)):
        assert (predicted(one, image, block, runtime) - expected).abs().max() < 1e-5
    assert expected.std() > 0.05, "the network tells voxels apart"


@each_runtime
def test_volumes_and_windows_are_those_of_pytorch(runtime):
    require(runtime)
    torch.manual_seed(0)
    config = UNet3DConfig(base=2, depth=3, padded=True)
    network = config.build(1, 1)
    image = noise(7, 20, 30)
    exact = member(network, stride=config.total_stride)
    windowed = member(network, stride=config.total_stride, windows=Windows("gaussian", (4, 16, 16), 3))
    for one in (exact, windowed):
        expected = predicted(one, image, image.shape, "torch")
        assert (predicted(one, image, (4, 12, 30), runtime) - expected).abs().max() < 1e-5


@each_runtime
def test_a_network_is_exported_once(runtime, monkeypatch):
    require(runtime)
    one, ways, written = member(Pyramidal().eval(), stride=4), exported.exporters(), []
    counted = tuple(lambda *given, way=way: written.append(way) or way(*given) for way in ways)
    monkeypatch.setattr(sessions, "exporters", lambda: counted)
    one.network.train()
    assert session_of(one, runtime) is session_of(one, runtime)
    assert one.network.training, "the network is left as it was"
    assert written == [ways[0]]


class Undecided(nn.Module):
    """Takes another way for dark images than for bright ones, which a model of one pass does not hold."""

    def forward(self, image):
        return image * (2.0 if image.mean() > 0.1 else 3.0)


@each_runtime
def test_an_export_of_something_else_is_noticed(runtime, monkeypatch):
    require(runtime)
    monkeypatch.setattr(sessions, "exporters", lambda: exported.exporters()[:1])
    # All voxels of the image that is compared get 3/2 of what they should.
    problem = r"\(Undecided\) cannot be used with .*; take torch.* logits differ by 5.0e-01 of the largest"
    with pytest.raises(RunError, match=problem):
        session_of(member(Undecided(), stride=1, windows=Windows("tiles", (1, 16, 16), 2)), runtime)


@pytest.mark.slow
def test_the_slower_exporter_takes_what_the_quicker_cannot(monkeypatch):
    require("onnx")
    pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")
    network = nn.Conv2d(1, 1, 3, padding=1)

    def fails(*given):
        raise RuntimeError("no such operation")

    monkeypatch.setattr(sessions, "exporters", lambda: (fails, exported.exporters()[1]))
    image = torch.rand(1, 1, 9, 14)
    with torch.inference_mode():
        found = session_of(member(network, stride=1), "onnx")(image)
        assert (found - network(image)).abs().max() < 1e-5


def test_what_a_runtime_cannot_do(monkeypatch):
    network = [nn.Identity()]
    require_runtime("torch", torch.device("cuda"), "bf16", network)
    monkeypatch.setattr(installed, "find_spec", lambda name: None if name == "openvino" else sys)
    with pytest.raises(RunError, match=r"openvino needs openvino, which is not installed; `pip install 'cristae\[open"):
        require_runtime("openvino", CPU, "fp32", network)
    assert runtimes_here() == ("torch", "onnx")
    monkeypatch.setattr(installed, "find_spec", lambda name: sys)
    require_runtime("openvino", CPU, "fp32", network)
    with pytest.raises(
        RunError, match="onnx predicts on the CPU, but the run takes the device 'cuda' here; set device"
    ):
        require_runtime("onnx", torch.device("cuda"), "fp32", network)
    with pytest.raises(RunError, match=r"computes in fp32, but the run's predict\.precision is bf16; set it to fp32"):
        require_runtime("onnx", CPU, "bf16", network)
    with pytest.raises(RunError, match="a random forest is none"):
        require_runtime("onnx", CPU, "fp32", [ArrayModel(lambda *_: None, reach=(0, 0, 0), bytes_per_vox=1)])
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libtcmalloc_minimal.so.4")
    require_runtime("onnx", CPU, "fp32", network)
    with pytest.raises(RunError, match="openvino aborts in a process that preloads tcmalloc; start without it"):
        require_runtime("openvino", CPU, "fp32", network)
    assert runtimes_here() == ("torch", "onnx")
