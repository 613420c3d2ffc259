"""Blocks: which voxels are predicted at once, and the output patch with its halo that this takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cristae.data.box import Box, Triple
from cristae.inference.borders import Border, Borders
from cristae.inference.locality import Locality


@dataclass(frozen=True)
class Block:
    """A box of voxels that is predicted and written at once."""

    index: int
    """Place in the order of the plan, from 0."""
    core: Box
    """The voxels of the volume that this block writes; the cores of a plan are disjoint."""


def plan_blocks(region: Box, shape: Triple) -> Iterator[Block]:
    """Cut `region` into disjoint blocks of at most `shape` voxels (z, y, x), z slowest."""
    for index, core in enumerate(region.blocks(shape)):
        yield Block(index, core)


def output_box(core: Box, shape: Triple, locality: Locality) -> Box:
    """The output patch of the network that gives `core` as one pass over the whole volume does.

    The core grows by what the reach exceeds the margin, then to multiples of the total stride counted from the volume's
    first voxel, so that strided layers sample the same voxels as in one pass, and to a size that the network takes. It
    ends where one pass ends: there the network's own padding is that of one pass.

    Args:
        core: Voxels wanted, inside the volume.
        shape: The volume's (z, y, x) shape.
        locality: Of a local network.

    Returns:
        A box that starts inside the volume and may end behind it. The input is as large, plus the margin around.
    """
    start, stop = [], []
    for axis in range(3):
        step, halo = locality.stride[axis], max(0, locality.reach[axis] - locality.margin[axis])
        whole = locality.good_side(axis, shape[axis])
        low = max(0, (core.start[axis] - halo) // step * step)
        low = min(low, whole - locality.good_side(axis, 0))
        start.append(low)
        stop.append(min(whole, low + locality.good_side(axis, core.stop[axis] + halo - low)))
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def borders_of_one_pass(locality: Locality) -> Borders:
    """How one pass extends the volume: zeros at the far side, or the mirrored volume where there is a margin."""
    first: Border = "mirror" if locality.ndim == 2 else _border(locality, 0)
    return first, _border(locality, 1), _border(locality, 2)


def _border(locality: Locality, axis: int) -> Border:
    return "mirror" if locality.margin[axis] else "zeros"
