"""Whether a network sees slices, slices with their neighbours, or volumes."""

from __future__ import annotations

from typing import Literal

from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.facts import DataFacts, Machine

Dimensions = Literal["2D", "2.5D", "3D"]

_ISOTROPIC = 3.0
"""A volume whose voxels are longer along z than this is seen slice by slice."""
_DEEP = 16
"""Fewer labelled slices in a row give a 3D network next to nothing along z."""
_LONG_MINUTES = 240
"""Without a GPU a 3D network of a useful size learns for hours."""
_ALIKE = 0.5
"""Neighbours whose grey values correlate less show other things, or are not well aligned."""
_FLAT = 2.0
"""Objects that span fewer slices are gone in the next one."""


def choose_dimensions(facts: DataFacts, machine: Machine, minutes: float) -> Choice[Dimensions]:
    """2D, 2.5D (a slice with its neighbours) or 3D.

    3D needs nearly cubic voxels, 16 labelled slices in a row, and a GPU or four hours. Neighbouring slices help where
    they look alike (correlation of at least 0.5) and objects span at least 2 of them.
    """
    if not facts.stacked:
        return Choice("2D", "the images have no neighbouring slices")
    depth = _depth(facts)
    like = _likeness(facts)
    if depth is not None and depth < _FLAT:
        return Choice("2D", f"objects span only {depth:.1f} slices on average, so each slice is seen by itself")
    if facts.likeness is None or facts.likeness < _ALIKE:
        return Choice("2D", f"{like}, so each slice is seen by itself")
    if _fits_3d(facts) and (machine.accelerated or minutes >= _LONG_MINUTES):
        return Choice("3D", f"{_voxels(facts)} and {facts.consecutive} labelled slices follow each other")
    return Choice("2.5D", f"{like}, so each slice is seen with its neighbours; {_why_not_3d(facts)}")


def _fits_3d(facts: DataFacts) -> bool:
    return facts.anisotropy is not None and facts.anisotropy <= _ISOTROPIC and facts.consecutive >= _DEEP


def _depth(facts: DataFacts) -> float | None:
    """How many slices the class spans that spans the most."""
    return max((one.depth_slices for one in facts.classes if one.depth_slices is not None), default=None)


def _likeness(facts: DataFacts) -> str:
    if facts.likeness is None:
        return "no neighbouring slices were compared"
    return f"grey values of neighbouring slices correlate by {facts.likeness:.2f}"


def _voxels(facts: DataFacts) -> str:
    ratio = facts.anisotropy or 1.0
    return "voxels are cubes" if 0.8 < ratio < 1.25 else f"voxels are {ratio:.1f} times as long along z as in the plane"


def _why_not_3d(facts: DataFacts) -> str:
    if facts.anisotropy is None:
        return "whether 3D is better follows from the voxel size, which is not known"
    if facts.anisotropy > _ISOTROPIC:
        return f"for 3D voxels are too long along z ({facts.anisotropy:.1f} times as long as in the plane)"
    if facts.consecutive < _DEEP:
        return f"for 3D too few labelled slices follow each other ({facts.consecutive})"
    return "voxels are good for 3D, which takes a GPU or hours: `model: {name: resenc_unet, ndim: 3}`"
