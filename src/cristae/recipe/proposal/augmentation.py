"""How training patches are changed at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.dimensions import Dimensions
from cristae.recipe.proposal.facts import DataFacts

_SQUARE = 1.05
"""Voxels whose sides in the plane differ by more are not turned by a quarter."""


def choose_augmentation(facts: DataFacts, dimensions: Dimensions) -> Choice[Sequence[Mapping[str, Any]]]:
    """Mirror images, along z only of boxes; quarter turns where voxels are square in the plane; grey values."""
    axes = ["z", "y", "x"] if dimensions == "3D" else ["y", "x"]
    parts: list[Mapping[str, Any]] = [{"name": "flip", "axes": axes}]
    why = "mirror images along z, too, since patches are boxes" if dimensions == "3D" else "mirror images in the plane"
    if _square(facts):
        parts.append({"name": "rotate90"})
        why += ", quarter turns"
    parts += [{"name": "brightness", "amount": 0.2}, {"name": "contrast", "amount": 0.2}]
    few = facts.slices < 10 and bool(facts.classes)
    more = (
        f"; only {facts.slices} labelled slice{'' if facts.slices == 1 else 's'}, so `augment: strong` may help in a "
        "long training"
    )
    return Choice(parts, f"{why}, and grey values as of another exposure{more if few else ''}")


def _square(facts: DataFacts) -> bool:
    size = facts.voxel_size_nm
    return size is None or max(size[1:]) <= _SQUARE * min(size[1:])
