"""From patches on the device to what the network and the loss get: augmented, cropped, with targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from cristae.augment import AugmentationConfig, Batch, apply, split_by_geometry
from cristae.augment.form import Generators
from cristae.targets import TargetMaps

ComputeTargets = Callable[[Tensor, Tensor], TargetMaps]
"""(target, valid) of a batch to its targets: a `TargetConfig` with its statistics."""


def prepare_batch(
    batch: Batch, augment: Sequence[AugmentationConfig], targets: ComputeTargets, generators: Generators
) -> Batch:
    """Augment a normalised batch and compute its targets, in this order:

    1. The augmentations up to the last that moves voxels, on the whole of each patch.
    2. The margin is cut off.
    3. Targets and weights of each output patch, which therefore depend neither on its margin nor on where its voxels
       were before; a volume's own weights multiply the computed ones.
    4. The remaining augmentations, which change grey values only.

    Args:
        batch: On the device that trains.
        augment: In the order of the recipe.
        targets: Computes the targets.
        generators: One for each sample, consumed.
    """
    geometry, intensity = split_by_geometry(augment)
    moved = apply(geometry, batch, generators).cropped()
    maps = targets(moved.target, moved.valid)
    weight = _product(maps.weight, moved.weight)
    return apply(intensity, replace(moved, target=maps.target, weight=weight, further=maps.further), generators)


def _product(computed: Tensor | None, own: Tensor | None) -> Tensor | None:
    """Computed weights (B, *T) or (B, K, *T) times the volumes' own (B, *T); None stands for 1."""
    if computed is None or own is None:
        return own if computed is None else computed
    return computed * (own.unsqueeze(1) if own.ndim < computed.ndim else own)
