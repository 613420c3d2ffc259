"""U-Net + BN against published counts and a straight-line reference."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cristae.models import UNetBNConfig, parameter_count


@pytest.mark.parametrize(("base", "count"), [(16, 1_943_761), (32, 7_765_409), (64, 31_042_369)])
def test_parameter_count(base, count):
    with torch.device("meta"):
        network = UNetBNConfig(widths=tuple(base << level for level in range(5))).build(1, 1)
    assert parameter_count(network) == count


def test_default_widths_start_at_16():
    assert UNetBNConfig().widths == (16, 32, 64, 128, 256)


def test_sides_are_multiples_of_the_total_stride():
    assert UNetBNConfig().total_stride == (16, 16)
    assert UNetBNConfig(widths=(4, 8, 16)).total_stride == (4, 4)


def test_wiring_equals_a_straight_line_reading(randomised):
    network = randomised(UNetBNConfig(widths=(3, 5, 7)).build(2, 2))
    image = torch.rand(2, 2, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    ups = [m for m in network.modules() if isinstance(m, nn.ConvTranspose2d)]

    def double(x, level):
        for conv, norm in list(zip(convs, norms, strict=False))[2 * level : 2 * level + 2]:
            x = F.conv2d(x, conv.weight, conv.bias, padding=1)
            x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-3).relu()
        return x

    with torch.no_grad():
        a = double(image, 0)
        b = double(F.max_pool2d(a, 2), 1)
        c = double(F.max_pool2d(b, 2), 2)
        d = double(torch.cat([b, F.conv_transpose2d(c, ups[0].weight, ups[0].bias, stride=2)], 1), 3)
        e = double(torch.cat([a, F.conv_transpose2d(d, ups[1].weight, ups[1].bias, stride=2)], 1), 4)
        expected = F.conv2d(e, convs[-1].weight, convs[-1].bias)
        torch.testing.assert_close(network(image), expected, rtol=1e-10, atol=1e-10)
