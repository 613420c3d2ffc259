"""Running statistics of batch normalisation for weights that no training step has used: averages of others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cristae.training.feed import PatchFeed
from cristae.training.layout import channels_last
from cristae.training.module import StepConfig, patch_keys, ready_batch

MOST_BATCHES = 200
"""Batches that statistics are estimated from; an epoch may have fewer."""


def has_statistics(network: nn.Module) -> bool:
    """Whether a network has batch normalisation with running statistics."""
    return any(True for _ in _tracking(network))


@torch.no_grad()
def estimate_statistics(network: nn.Module, images: Iterable[Tensor], *, bf16: bool = False) -> None:
    """Replace a network's running means and variances by the plain averages of those of batches.

    Nothing else about the network is as in training: there is no dropout, and no weight changes. The mode of every
    module is afterwards what it was.

    Args:
        network: On the device of the images. One without batch normalisation is left as it is, and no image is taken.
        images: Batches (B, C, *S) of what the network is shown in training.
        bf16: Compute with bfloat16 as a training of that precision does.

    References:
        Izmailov et al. (2018), https://arxiv.org/abs/1803.05407, section 3.2
    """
    norms = list(_tracking(network))
    if not norms:
        return
    modes = [(module, module.training) for module in network.modules()]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a plain average over batches
        norm.training = True
    try:
        for image in images:
            with torch.autocast(image.device.type, torch.bfloat16, enabled=bf16):
                network(channels_last(image))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes:
            module.training = mode


def estimate_from_training(network: nn.Module, step: StepConfig, feed: PatchFeed, epoch: int) -> None:
    """Estimate a network's running statistics from the batches that training sees in an epoch, augmented alike; the
    first 200 at most. Every process does the same.

    Args:
        network: What to change.
        step: How batches are made.
        feed: Of the training regions. Its own place in the epoch stays.
        epoch: Which, from 0.
    """
    if has_statistics(network):
        network.to(step.device)
        images = training_images(step, feed, epoch)
        estimate_statistics(network, images, bf16=step.config.precision == "bf16")


def training_images(step: StepConfig, feed: PatchFeed, epoch: int) -> Iterator[Tensor]:
    """The batches (B, C, *S) that the network is shown in an epoch, on the device."""
    groups = [feed.whole(number) for number in range(min(len(feed), MOST_BATCHES))]
    for indices, raw in zip(groups, feed.batches(epoch, groups), strict=True):
        yield ready_batch(step, raw.to(step.device), patch_keys(step.seed, epoch, indices)).image


def _tracking(network: nn.Module) -> Iterator[_BatchNorm]:
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            yield module
