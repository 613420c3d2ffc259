"""The pieces that the networks of EM-stellar share."""

import math

import pytest
import torch
from straight_line import Layers, random_image, up
from torch import nn

from cristae.models import EMNetConfig, UNetStellarConfig, VGGUNetConfig
from cristae.models.blocks import TRUNCATED_STD
from cristae.models.stellar_blocks import DecoderStep, head_width, initialise_he, up_conv


def test_two_by_two_convolution_sees_below_and_to_the_right():
    block = up_conv(1, 1)
    nn.init.zeros_(block[-1].bias)
    block[-1].weight.data = torch.tensor([[[[1.0, 10.0], [100.0, 1000.0]]]])
    image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    enlarged = torch.tensor([[1, 1, 2, 2, 0], [1, 1, 2, 2, 0], [3, 3, 4, 4, 0], [3, 3, 4, 4, 0], [0] * 5])
    expected = enlarged[:4, :4] + 10 * enlarged[:4, 1:] + 100 * enlarged[1:, :4] + 1000 * enlarged[1:, 1:]
    assert torch.equal(block(image)[0, 0], expected.float())


def test_decoder_step_puts_the_skip_behind(randomised):
    step = randomised(DecoderStep(3, 4, 5, 6))
    coarse, skip = random_image(2, 3, 4, 6), random_image(2, 4, 8, 12)
    layers = Layers(step)
    x = torch.relu(layers.norm(layers.conv2(up(coarse))))
    expected = layers.cbr(layers.cbr(torch.cat([x, skip], 1)))
    layers.require_done()
    with torch.no_grad():
        found = step(coarse, skip)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        step.features[0][0].weight[:, 5:] = 0
        assert torch.equal(step(coarse, skip), step(coarse, torch.zeros_like(skip)))


def test_standard_deviation_of_what_truncation_leaves():
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    assert pytest.approx(math.sqrt(1 - 4 * density / math.erf(2 / math.sqrt(2))), abs=1e-12) == TRUNCATED_STD


@pytest.mark.parametrize(
    "config",
    [EMNetConfig(base=8), EMNetConfig(base=4, variant="v2_4x"), UNetStellarConfig(base=8), VGGUNetConfig(base=8)],
    ids=lambda config: config.name,
)
def test_kernels_start_he_normal_cut_at_two_deviations_and_the_last_glorot_uniform(config):
    torch.manual_seed(0)
    network = config.build(1, 1)
    kernels = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    for conv in kernels[:-1]:
        std = math.sqrt(2 / conv.weight[0].numel())
        assert conv.weight.abs().max() <= 2 * std / TRUNCATED_STD
        if conv.weight.numel() > 20_000:
            assert conv.weight.std().item() == pytest.approx(std, rel=0.03)
            assert conv.weight.abs().max() > 1.95 * std / TRUNCATED_STD
    assert kernels[-1] is network.head
    assert network.head.weight.shape == (1, 2, 1, 1)
    assert all(torch.count_nonzero(conv.bias) == 0 for conv in kernels)


def test_last_kernel_fills_the_glorot_limits():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 700, 1))
    initialise_he(network, network[1])
    limit = math.sqrt(6 / 705)
    assert 0.99 * limit < network[1].weight.abs().max() <= limit
    assert network[1].weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.03)


def test_head_is_two_wide_until_there_are_more_logits():
    assert [head_width(logits) for logits in (1, 2, 3, 7)] == [2, 2, 3, 7]
