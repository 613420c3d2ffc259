"""From patches on the device to what the network and the loss get: augmented, cropped, with targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from cristae.augment import AugmentationConfig, Batch, Interpolation, apply, move, split_by_geometry
from cristae.augment.form import Generators
from cristae.data.affinities import Affinities
from cristae.preprocess.network_input import NetworkInput
from cristae.targets import TargetMaps
from cristae.training.affinity_targets import with_affinities

ComputeTargets = Callable[[Tensor, Tensor], TargetMaps]
"""(target, valid) of a batch to its targets: a `TargetConfig` with its statistics."""


def prepare_batch(
    batch: Batch,
    augment: Sequence[AugmentationConfig],
    targets: ComputeTargets,
    generators: Generators,
    interpolation: Interpolation = "linear",
    affinities: Affinities | None = None,
    network_input: NetworkInput = NetworkInput(),
) -> Batch:
    """Augment a normalised batch and compute its targets, in this order:

    1. All augmentations that move voxels, composed into one resampling of each patch with its margin, which ends here.
    2. Targets and weights of each output patch, which therefore depend neither on its margin nor on where its voxels
       were before; a volume's own weights multiply the computed ones.
    3. The augmentations that change grey values only.
    4. The filtered copies of slices, which all of this was done to as well, come behind the image as its channels.
    5. What the network's input is made of patches, such as a normalisation of each by itself.

    Args:
        batch: On the device that trains.
        augment: In the order of the recipe.
        targets: Computes the targets.
        generators: One for each sample, consumed.
        interpolation: Of the image where voxels move.
        affinities: What object ids become before targets are computed of them; None where the batch has classes.
        network_input: The last step, without which the image stays as it is.
    """
    geometry, grey_values = split_by_geometry(augment)
    moved = move(geometry, batch, generators, interpolation)
    if affinities is not None:
        moved = with_affinities(moved, affinities)
    maps = targets(moved.target, moved.valid)
    weight = _product(maps.weight, moved.weight)
    changed = apply(grey_values, replace(moved, target=maps.target, weight=weight, further=maps.further), generators)
    return replace(changed, image=network_input.apply(changed.shown), filtered=None)


def _product(computed: Tensor | None, own: Tensor | None) -> Tensor | None:
    """Computed weights (B, *T) or (B, K, *T) times the volumes' own (B, *T); None stands for 1."""
    if computed is None or own is None:
        return own if computed is None else computed
    return computed * (own.unsqueeze(1) if own.ndim < computed.ndim else own)
