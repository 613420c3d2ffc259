"""The L2 penalty that belongs to a network rather than to its logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def kernel_l2(network: nn.Module) -> Tensor:
    """Sum of squared convolution kernels, transposed ones and the last layer included.

    No biases, no normalisation, no fully connected layers such as those of DeepVess and of transformers.

    Keras's `l2`: without the factor 1/2 that others put before it.
    """
    kernels = [module.weight for module in network.modules() if isinstance(module, nn.modules.conv._ConvNd)]
    return torch.stack([kernel.square().sum() for kernel in kernels]).sum() if kernels else torch.zeros(())
