"""How far training voxels have to keep from validation voxels, so that no network sees the one when it learns or
predicts the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cristae.classical.config import RandomForestConfig
from cristae.data.affinities import Affinities
from cristae.data.box import Triple
from cristae.data.description import DataConfig, InstanceLabels, Labels
from cristae.data.folds.units import name_in_recipe
from cristae.data.image import VoxelSize
from cristae.data.instances import boundary_reach
from cristae.data.splits import Part
from cristae.inference.locality import Locality
from cristae.recipe.recipe import Recipe
from cristae.sampling import as_triple
from cristae.training.framing import Framing

_SAME = 1e-9
"""Fraction by which two voxel sizes may differ and volumes not be resampled at all."""
_WHOLE_SLICE = 1 << 20
"""Further than any slice reaches."""


@dataclass(frozen=True)
class Guard:
    """The gap that folds keep."""

    reach_vox: Triple
    """(z, y, x) on the working grid."""
    rule: str
    """How it was found, in words."""


def guard_of(recipe: Recipe, locality: Locality | None, affinities: Affinities | None, size: VoxelSize | None) -> Guard:
    """How far a voxel of a recipe's model, its normalisation and its targets sees.

    Args:
        recipe: Complete.
        locality: Of its network; None for a random forest.
        affinities: What its classes are, if they are affinities: partners are seen too.
        size: Of a voxel of the working grid (z, y, x) in nm, for the filters of a forest.
    """
    (z, y, x), rule = _of_model(recipe, locality, size)
    reach = [a + b for a, b in zip((z, y, x), recipe.normalize.reach, strict=True)]
    if any(recipe.normalize.reach):
        rule += " and of the normalisation"
    if recipe.network_input.areas_px:
        reach, rule = [reach[0], _WHOLE_SLICE, _WHOLE_SLICE], f"{rule}; filters of whole slices see all of a slice"
    if affinities is not None:
        reach, rule = [a + b for a, b in zip(reach, affinities.frame, strict=True)], f"{rule}, and affinities' partners"
    return Guard((reach[0], reach[1], reach[2]), rule)


def _of_model(recipe: Recipe, locality: Locality | None, size: VoxelSize | None) -> tuple[Triple, str]:
    if isinstance(recipe.model, RandomForestConfig):
        from cristae.classical.features import FeaturePlan

        reach = FeaturePlan.on_grid(recipe.model.features, recipe.model.ndim, size).reach
        if recipe.model.objects is not None:
            return (
                reach[0],
                _WHOLE_SLICE,
                _WHOLE_SLICE,
            ), "the objects of the forest's second stage, anywhere in a slice"
        return reach, "the reach of the forest's filters"
    assert locality is not None
    network = recipe.network
    neighbours = Framing.of(network).context[0] if network.ndim == 2 else None
    if locality.local:
        z, y, x = locality.reach
        rule = "the reach of the receptive field"
    else:
        margin = (0, *network.margin) if network.ndim == 2 else network.margin
        patch = as_triple(tuple(recipe.sampling.size or network.window))
        z, y, x = (side - 1 + around for side, around in zip(patch, margin, strict=True))
        rule = "all but one voxel of the patch, since the network is not local"
    return (z if neighbours is None else neighbours, y, x), rule


def guards_in_files(guard: Guard, parts: Sequence[Part], data: DataConfig, *, flat: bool) -> Mapping[str, Triple]:
    """The gap in voxels of each volume's files, by its name in the recipe.

    Where a volume is resampled, the gap is as wide in nm, and one voxel of each grid wider, because resampled voxels
    are made of several. Where labels are boundaries of object ids, it is wider by what decides about a boundary voxel.
    The largest where images of one folder differ.

    Args:
        guard: On the working grid.
        parts: The regions that are folded.
        data: Their volumes, and the working voxel size.
        flat: Whether slices are kept as they are.
    """
    volumes, found = {volume.name: volume for volume in data.volumes}, dict[str, Triple]()
    for part in parts:
        name, own = name_in_recipe(part), part.volume.voxel_size_nm
        reach = list(guard.reach_vox)
        if own is not None and data.voxel_size_nm is not None:
            for axis in range(1 if flat else 0, 3):
                ratio = data.voxel_size_nm[axis] / own[axis]
                if abs(ratio - 1) > _SAME:
                    reach[axis] = math.ceil((reach[axis] + 1) * ratio) + 1
        z, y, x = (a + b for a, b in zip(reach, _of_labels(volumes[name].labels, own), strict=True))
        before = found.get(name, (0, 0, 0))
        found[name] = (max(z, before[0]), max(y, before[1]), max(x, before[2]))
    return found


def _of_labels(labels: Labels | None, size: VoxelSize | None) -> Triple:
    """How far around a voxel object ids decide about its class."""
    if not isinstance(labels, InstanceLabels) or labels.to not in ("boundary", "interior_and_boundary"):
        return (0, 0, 0)
    return boundary_reach(size or (1.0, 1.0, 1.0), labels.width_nm)  # a width needs a size, which opening asks for
