"""The order in memory at which convolutions are quickest: the channels of a voxel side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LAYOUT = {4: torch.channels_last, 5: torch.channels_last_3d}


def channels_last(tensor: Tensor) -> Tensor:
    """The same values (B, C, *S) with the channels innermost; tensors of fewer axes as they are."""
    layout = _LAYOUT.get(tensor.ndim)
    return tensor if layout is None else tensor.contiguous(memory_format=layout)


def put_channels_last(network: nn.Module) -> None:
    """Lay out the kernels of a network's convolutions like that; 2D and 3D ones may be mixed."""
    for kernel in network.parameters():
        kernel.data = channels_last(kernel.data)
