"""Which network, and how wide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.dimensions import Dimensions
from cristae.recipe.proposal.facts import DataFacts

LEVELS = 5
WIDTHS = (8, 16, 32)
"""Channels of the finest level: narrow, usual, wide."""
USUAL_WIDTH = 16


def choose_network(
    facts: DataFacts, dimensions: Choice[Dimensions], size: Sequence[int], width: int = USUAL_WIDTH
) -> Choice[Mapping[str, Any]]:
    """A U-Net with batch normalisation for slices, alone or with one neighbour on each side; for boxes nnU-Net's with a
    residual encoder, which is planned from the patch and the anisotropy."""
    why = f"{dimensions.value}: {dimensions.reason}"
    if dimensions.value == "3D":
        model: dict[str, Any] = {"name": "resenc_unet", "ndim": 3, "window_vox": [*size], "base": width}
        if facts.anisotropy is not None and facts.anisotropy >= 1.25:
            model["anisotropy"] = round(facts.anisotropy, 2)
        return Choice(model, why)
    model = {"name": "unet_bn"}
    if dimensions.value == "2.5D":
        model["slices"] = 3
    if width != USUAL_WIDTH:
        model["widths"] = [width * 2**level for level in range(LEVELS)]
    return Choice(model, why)
