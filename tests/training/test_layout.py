"""Channels side by side, for any number of axes, with the values as they were."""

import torch
from torch import nn

from cristae.training.layout import channels_last, put_channels_last


def test_networks_of_both_kinds_of_convolution_are_laid_out() -> None:
    network = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv3d(3, 4, 3), nn.Linear(2, 2)])
    before = [parameter.clone() for parameter in network.parameters()]
    put_channels_last(network)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    image = torch.rand(2, 3, 4, 5, 6)
    assert torch.equal(channels_last(image), image)
    assert channels_last(image).stride(1) == 1
