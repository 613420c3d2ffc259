"""Blocks: which voxels are answered for at once, and which the network has to see for that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cristae.data.box import Box, Triple
from cristae.inference.locality import Locality


@dataclass(frozen=True)
class Block:
    """One piece of work."""

    index: int
    """Place in the order of the plan, from 0."""
    core: Box
    """The voxels of the volume that this block answers for; the cores of a plan are disjoint."""


def plan_blocks(region: Box, shape: Triple) -> Iterator[Block]:
    """Cut `region` into disjoint blocks of at most `shape` voxels (z, y, x), z slowest."""
    for index, core in enumerate(region.blocks(shape)):
        yield Block(index, core)


def padded_shape(shape: Triple, locality: Locality) -> Triple:
    """The volume's shape (z, y, x) after zeros at the far side up to the next size that the network takes."""
    z, y, x = (-(-size // step) * step for size, step in zip(shape, locality.stride, strict=True))
    return z, y, x


def input_box(core: Box, shape: Triple, locality: Locality) -> Box:
    """What the network must see so that `core` comes out as from one pass over the whole volume.

    The core grows by the reach, then to multiples of the total stride counted from the volume's first voxel, so that
    strided layers sample the same voxels as in one pass. It ends at the volume's true borders (the far one after
    padding), where the network's own zero padding is that of one pass.

    Args:
        core: Voxels wanted, inside the volume.
        shape: The volume's (z, y, x) shape.
        locality: Reach and stride of the network.

    Returns:
        A box that starts inside the volume and may end behind it, up to `padded_shape`.
    """
    start, stop = [], []
    padded = padded_shape(shape, locality)
    for axis in range(3):
        step, size = locality.stride[axis], padded[axis]
        whole = not locality.local and axis >= 3 - locality.ndim
        reach = size if whole else locality.reach[axis]
        start.append(max(0, (core.start[axis] - reach) // step * step))
        stop.append(min(size, -(-(core.stop[axis] + reach) // step) * step))
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
