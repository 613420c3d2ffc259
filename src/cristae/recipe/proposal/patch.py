"""How large patches are."""

from __future__ import annotations

from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.dimensions import Dimensions
from cristae.recipe.proposal.facts import DataFacts, Machine

STRIDE = 16
"""U-Nets of five levels halve sides four times."""
_SEES = 215
"""Voxels that one output voxel of such a U-Net depends on (`cristae models show unet_bn`)."""
_USUAL = 256
_LARGEST = {False: 320, True: 512}
"""Side of the largest patch in the plane, without a GPU and with one."""
_CUBE, _SMALLEST = 96, 32
_ROOM = 1.5
"""A patch is so many times as wide as the objects in it, so that their surroundings are seen."""


def choose_patch(facts: DataFacts, dimensions: Dimensions, machine: Machine) -> Choice[tuple[int, ...]]:
    """Voxels (y, x) or (z, y, x) of a patch.

    256 x 256 covers the receptive field; more where objects are larger than two thirds of that, up to 320 without a GPU
    and 512 with one; never more than the smallest training region holds. Boxes are 96 voxels wide, and as deep as that
    in nm.
    """
    if dimensions == "3D":
        return _box(facts)
    wanted, why = _USUAL, f"covers the {_SEES} x {_SEES} voxels that decide one output voxel"
    largest = facts.largest_vox
    if largest is not None and _ROOM * largest > _USUAL:
        wanted = min(_LARGEST[machine.accelerated], _multiple(_ROOM * largest))
        why = f"typical objects are {largest:.0f} voxels wide"
    sides = tuple(min(wanted, _inside(side)) for side in facts.sides)
    if min(sides) < wanted:
        why = f"the smallest training region has {facts.sides[0]} x {facts.sides[1]} voxels"
        sides = (min(sides),) * 2
    return Choice(sides, f"output voxels (y, x): {why}")


def _box(facts: DataFacts) -> Choice[tuple[int, ...]]:
    side = min(_CUBE, *(_inside(one) for one in facts.sides))
    depth = round(side / (facts.anisotropy or 1.0) / STRIDE) * STRIDE
    deep = max(STRIDE, min(depth, facts.consecutive // STRIDE * STRIDE))
    return Choice((deep, side, side), "output voxels (z, y, x): a box about as deep as wide in nm")


def _multiple(side: float) -> int:
    """The least multiple of 32 that is not below."""
    return -(-int(side) // 32) * 32


def _inside(side: int) -> int:
    """The largest multiple of the stride that fits in, or 32 where nothing does."""
    return max(_SMALLEST, side // STRIDE * STRIDE)
