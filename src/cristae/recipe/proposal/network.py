"""Which network, and how wide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.dimensions import Dimensions
from cristae.recipe.proposal.facts import DataFacts

LEVELS = 5
NARROWEST, USUAL_WIDTH = 8, 16
"""Channels of the finest level."""
_LONG = 1.25
"""Voxels longer than this along z, compared to the plane, change how the network is planned."""


def choose_network(facts: DataFacts, dimensions: Choice[Dimensions], size: Sequence[int]) -> Choice[Mapping[str, Any]]:
    """A U-Net with batch normalisation for slices, alone or with one neighbour on each side; for boxes nnU-Net's with a
    residual encoder, which is planned from the patch and the anisotropy."""
    why = f"{dimensions.value}: {dimensions.reason}"
    if dimensions.value == "3D":
        model: dict[str, Any] = {"name": "resenc_unet", "ndim": 3, "window_vox": [*size], "base": USUAL_WIDTH}
        if facts.anisotropy is not None and facts.anisotropy >= _LONG:
            model["anisotropy"] = round(facts.anisotropy, 2)
        return Choice(model, why)
    return Choice({"name": "unet_bn", **({"slices": 3} if dimensions.value == "2.5D" else {})}, why)


def with_width(model: Mapping[str, Any], width: int) -> Mapping[str, Any]:
    """The same network with so many channels at its finest level, twice as many at each coarser one."""
    if model["name"] == "resenc_unet":
        return {**model, "base": width}
    return {**model, "widths": [width * 2**level for level in range(LEVELS)]}
