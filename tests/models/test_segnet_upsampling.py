"""The network called SegNet against its layer table."""

import torch
from straight_line import Layers, counts, pool, random_image, up, watch
from torch import nn

from cristae.models import SegNetUpsamplingConfig


def full() -> nn.Module:
    with torch.device("meta"):
        return SegNetUpsamplingConfig().build(1, 1)


def test_parameters_of_each_stage():
    network = full()
    assert counts(network.encoder) == [9_696, 55_680, 369_792, 1_476_864, 1_771_776]
    assert counts(network.decoder) == [1_771_776, 1_771_776, 517_056, 55_584, 9_312]
    assert counts([network.head]) == [35]


def test_coarsest_map_of_a_512_pixel_patch():
    network = full().eval()
    seen = watch(first=network.decoder[0])
    network(torch.empty(1, 1, 512, 512, device="meta"))
    assert seen["first"][0].shape == (1, 256, 32, 32)  # enlarged from 16 x 16 before the group


def test_wiring_equals_a_straight_line_reading_of_the_table(randomised):
    network = randomised(SegNetUpsamplingConfig(base=2).build(2, 3))
    x = image = random_image(2, 2, 64, 32)
    table = Layers(network)
    with torch.no_grad():
        for convolutions in (2, 2, 3, 3, 3):
            for _ in range(convolutions):
                x = table.cbr(x)
            x = pool(x)
        for convolutions in (3, 3, 3, 2, 1):
            x = up(x)
            for _ in range(convolutions):
                x = table.cbr(x)
        torch.testing.assert_close(network(image), table.norm(table.conv(x)), rtol=1e-9, atol=1e-9)
    table.require_done()


def test_every_kernel_starts_glorot_uniform():
    torch.manual_seed(0)
    for conv in SegNetUpsamplingConfig(base=8).build(1, 1).modules():
        if isinstance(conv, nn.Conv2d):
            limit = (6 / ((conv.in_channels + conv.out_channels) * conv.kernel_size[0] ** 2)) ** 0.5
            assert 0.7 * limit < conv.weight.abs().max() <= limit
            assert torch.count_nonzero(conv.bias) == 0
