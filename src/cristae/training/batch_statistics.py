"""Running statistics of batch normalisation for weights that no training step has used: averages of others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cristae.training.feed import PatchFeed
from cristae.training.layout import channels_last
from cristae.training.module import StepConfig, patch_keys, ready_batch

MOST_BATCHES = 200
"""Batches that statistics are estimated from; an epoch may have fewer."""


def has_statistics(network: nn.Module, kept: Collection[str] = ()) -> bool:
    """Whether a network has batch normalisation with running statistics, beside those that are `kept`."""
    return any(True for _ in _tracking(network, kept))


@torch.no_grad()
def estimate_statistics(
    network: nn.Module, images: Iterable[Tensor], *, bf16: bool = False, kept: Collection[str] = ()
) -> None:
    """Replace a network's running means and variances by the plain averages of those of batches.

    Nothing else about the network is as in training: there is no dropout, and no weight changes. The mode of every
    module is afterwards what it was.

    Args:
        network: On the device of the images. One without batch normalisation is left as it is, and no image is taken.
        images: Batches (B, C, *S) of what the network is shown in training.
        bf16: Compute with bfloat16 as a training of that precision does.
        kept: Names of normalisations whose statistics stay, because they were frozen.

    References:
        Izmailov et al. (2018), https://arxiv.org/abs/1803.05407, section 3.2
    """
    norms = list(_tracking(network, kept))
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


def estimate_from_training(
    network: nn.Module, step: StepConfig, feed: PatchFeed, epoch: int, kept: Collection[str] = ()
) -> None:
    """Estimate a network's running statistics from the batches that training sees in an epoch, augmented alike; the
    first 200 at most. Every process does the same.

    Args:
        network: What to change.
        step: How batches are made.
        feed: Of the training regions. Its own place in the epoch stays.
        epoch: Which, from 0.
        kept: Names of normalisations whose statistics stay.
    """
    if has_statistics(network, kept):
        network.to(step.device)
        images = training_images(step, feed, epoch)
        estimate_statistics(network, images, bf16=step.config.precision == "bf16", kept=kept)


def training_images(step: StepConfig, feed: PatchFeed, epoch: int) -> Iterator[Tensor]:
    """The batches (B, C, *S) that the network is shown in an epoch, on the device."""
    groups = [feed.whole(number) for number in range(min(len(feed), MOST_BATCHES))]
    for indices, raw in zip(groups, feed.batches(epoch, groups), strict=True):
        yield ready_batch(step, raw.to(step.device), patch_keys(step.seed, epoch, indices)).image


def _tracking(network: nn.Module, kept: Collection[str]) -> Iterator[_BatchNorm]:
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats and name not in kept:
            yield module
