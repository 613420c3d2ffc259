"""DeepVess against its published sizes and a straight-line reading."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cristae.errors import NetworkError
from cristae.models import DeepVessConfig, parameter_count


def random_image(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_parameters_of_each_layer():
    with torch.device("meta"):
        network = DeepVessConfig().build(1, 7)
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv3d, nn.Linear))]
    counts = [896, 27_680, 27_680, 18_496, 36_928, 1024 * 1024 + 1024, 1024 * 175 + 175]
    assert [parameter_count(layer) for layer in layers] == counts


def test_shapes_inside():
    network, seen = DeepVessConfig(base=2, hidden=8).build(1, 7), []
    for layer in network.features:
        if isinstance(layer, (nn.Conv3d, nn.MaxPool3d)):
            layer.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[2:]))
    assert network(torch.zeros(3, 1, 7, 33, 33)).shape == (3, 7, 1, 5, 5)
    sides = [(5, 31, 31), (3, 29, 29), (1, 27, 27), (1, 13, 13), (1, 11, 11), (1, 9, 9), (1, 4, 4)]
    assert seen == sides


def test_wiring_equals_a_straight_line_reading(randomised):
    network, x = randomised(DeepVessConfig(base=4, hidden=16).build(2, 3)), random_image(2, 2, 7, 33, 33)
    a, b, c, d, e = [m for m in network.modules() if isinstance(m, nn.Conv3d)]
    hidden, head = [m for m in network.modules() if isinstance(m, nn.Linear)]
    with torch.no_grad():
        found = network(x)
        for conv in (a, b, c):
            x = F.conv3d(x, conv.weight, conv.bias).relu()
        x = F.max_pool3d(x, (1, 2, 2))
        for conv in (d, e):
            x = F.conv3d(x, conv.weight, conv.bias).relu()
        x = F.max_pool3d(x, (1, 2, 2)).reshape(2, 128)
        x = F.linear(x, hidden.weight, hidden.bias).relu()
        expected = F.linear(x, head.weight, head.bias)
    assert torch.allclose(found.flatten(1), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found[1, 2, 0, 3, 1], expected[1, 2 * 25 + 3 * 5 + 1])


@pytest.mark.parametrize("size", [(7, 34, 33), (8, 33, 33), (7, 38, 38), (6, 33, 33)])
def test_the_only_good_size_is_told(size):
    with pytest.raises(NetworkError, match="the only good size is 7 x 33 x 33, which gives logits of 1 x 5 x 5"):
        DeepVessConfig(base=1, hidden=1).build(1, 1)(torch.zeros(1, 1, *size))
    assert DeepVessConfig().input_size((1, 5, 5)) == (7, 33, 33)


def test_weights_start_glorot_uniform_and_biases_at_zero():
    torch.manual_seed(0)
    network = DeepVessConfig().build(1, 1)
    for layer, fans in ((network.hidden[0], 2048), (network.features[2], 64 * 27)):
        limit = (6 / fans) ** 0.5
        assert limit * 0.999 < layer.weight.abs().max() <= limit
        assert layer.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
    assert all(torch.count_nonzero(v) == 0 for name, v in network.named_parameters() if name.endswith("bias"))
