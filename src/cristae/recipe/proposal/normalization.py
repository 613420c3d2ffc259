"""How grey values become numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.dimensions import Dimensions
from cristae.recipe.proposal.facts import DataFacts

_STEADY = 0.1


def choose_normalization(facts: DataFacts, dimensions: Dimensions) -> Choice[Mapping[str, Any]]:
    """The z-score of each slice; of each volume where boxes are seen and slices are recorded alike, so that what is
    brighter in one slice than in the next stays so."""
    if facts.drift is None:
        said = "each slice by itself keeps most accuracy on other brightness, contrast and drift"
        return Choice({"name": "z_score", "scope": "slice"}, said)
    said = f"mean grey values of slices lie {facts.drift:.2f} of a slice's standard deviation apart"
    if dimensions == "3D" and facts.drift < _STEADY:
        return Choice({"name": "z_score", "scope": "volume"}, f"{said}: each volume by itself")
    return Choice(
        {"name": "z_score", "scope": "slice"},
        f"{said}; each slice by itself forgives other brightness, contrast and drift",
    )
