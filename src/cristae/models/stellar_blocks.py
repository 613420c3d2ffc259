"""Pieces that the networks of EM-stellar share.

Khadangi, Boudier, Rajagopal (2021), https://doi.org/10.1093/bioinformatics/btaa1094
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cristae.models.blocks import batch_norm, conv_pair, truncated_normal_

HEAD_WIDTH = 2
"""Feature channels before the last convolution, as published for one logit."""


def head_width(out_channels: int) -> int:
    """Channels of the last hidden convolution: two as published, and no fewer than there are logits.

    With so few of them ReLU can be 0 everywhere, and then nothing before it learns any more: published so.
    """
    return max(HEAD_WIDTH, out_channels)


def up_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Nearest enlargement by two and a 2x2 convolution that sees itself and the voxels below and to the right."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2.0, mode="nearest"),
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(in_channels, out_channels, 2),
    )


class DecoderStep(nn.Module):
    """Enlarge by two, concatenate the skip behind, two convolutions.

    Args:
        in_channels: Channels of the coarser features.
        skip_channels: Channels of the skip.
        up_width: Channels that the coarser features are brought to before they meet the skip.
        width: Channels of the two convolutions.
    """

    def __init__(self, in_channels: int, skip_channels: int, up_width: int, width: int) -> None:
        super().__init__()
        self.up = nn.Sequential(up_conv(in_channels, up_width), batch_norm(up_width), nn.ReLU(inplace=True))
        self.features = conv_pair(up_width + skip_channels, width)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Features (B, width, 2 Y, 2 X) of (B, in_channels, Y, X) and the skip (B, skip_channels, 2 Y, 2 X)."""
        merged: Tensor = self.features(torch.cat([self.up(features), skip], dim=1))
        return merged


def initialise_he(network: nn.Module, last: nn.Conv2d) -> None:
    """He-normal kernels, truncated at two standard deviations, and zero biases; Glorot-uniform for the `last` one.

    The variance 2 / fan_in is that after truncation.

    References:
        He, Zhang, Ren, Sun (2015), https://arxiv.org/abs/1502.01852, eq. 10
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            truncated_normal_(module.weight, variance=2 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.xavier_uniform_(last.weight)
