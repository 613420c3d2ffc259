"""How much memory post-processing takes: blocks from a stated ceiling, never from the size of the volume."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

import psutil

from cristae.data.block_grid import BLOCK_VOXELS, block_shape
from cristae.data.box import Triple
from cristae.data.image import Image
from cristae.errors import RunError
from cristae.postprocessing import SplitStep, Step
from cristae.postprocessing.smooth import BallStep
from cristae.postprocessing.workplace import CHUNK, Workplace, chunk_of
from cristae.words import memory, parse_size

BYTES_PER_VOXEL = 64
"""What the steps hold for each voxel of a block at the same time; blocks may be twice as large as asked for."""
_CACHES = 512 * 2**20
"""Bytes that readers and writers may keep, and machine code that is compiled."""


def plan_work(
    images: Sequence[Image], steps: Sequence[Step], folder: Path, max_ram: str | None, *, checked: bool = False
) -> Workplace:
    """The blocks that fit a ceiling of memory, and room for intermediate maps.

    Args:
        images: What is worked on, of one shape.
        steps: What will be done.
        folder: For the maps.
        max_ram: Ceiling for the whole process, such as '2GiB'; None takes half of the free memory.
        checked: Whether `require_memory` was asked before other work, which may have left less; the smallest blocks
            are taken then.

    Raises:
        RunError: Not even the smallest block fits, or an object of the largest box that may be split does not.
    """
    if not checked:
        require_memory(steps, images[0], max_ram)
    shape, first, free = images[0].shape, images[0], _free(max_ram)[0]
    voxels = min(BLOCK_VOXELS, max(prod(CHUNK), free // (2 * BYTES_PER_VOXEL)))
    edges = block_shape(images, multiple=chunk_of(shape), voxels=voxels)
    while edges != chunk_of(shape) and _with_halo(edges, steps, first) > free:
        voxels //= 2
        edges = block_shape(images, multiple=chunk_of(shape), voxels=voxels)
    return Workplace(shape, edges, folder, first.voxel_size_nm, first.origin_nm)


def require_memory(steps: Sequence[Step], image: Image, max_ram: str | None) -> None:
    """Make sure, before any work, that steps on maps like this one fit a ceiling of memory.

    Raises:
        RunError: They do not.
    """
    free, used = _free(max_ram)
    least = max(2 * prod(CHUNK) * BYTES_PER_VOXEL, _with_halo(chunk_of(image.shape), steps, image))
    if steps and free < least:
        raise RunError(
            f"--max-ram {max_ram or memory(free)}: post-processing needs {memory(used + least)} at least, of which "
            f"{memory(used)} are used already or kept for reading; give more"
        )
    for step in steps:
        if not isinstance(step, SplitStep):
            continue
        needed = step.bytes_per_voxel * min(step.largest_box_vox, prod(image.shape))
        if needed > free:
            raise RunError(
                f"--max-ram {max_ram or memory(free)}: {step.name} takes up to {memory(needed)} for an object in a "
                f"box of {step.largest_box_vox} voxels, beside {memory(used)}; give more, or set a smaller "
                "largest_box_vox, which leaves larger objects whole"
            )


def _with_halo(edges: Triple, steps: Sequence[Step], image: Image) -> int:
    """Bytes of a block with all that balls can bring into it."""
    reaches = [step.reach(image.voxel_size_nm) for step in steps if isinstance(step, BallStep)]
    boxes = [
        [min(edge + 2 * around, most) for edge, around, most in zip(edges, reach, image.shape, strict=True)]
        for reach in reaches
    ]
    return BYTES_PER_VOXEL * max(map(prod, boxes), default=0)


def _free(max_ram: str | None) -> tuple[int, int]:
    """Bytes for the work, and bytes that are used otherwise."""
    used = psutil.Process().memory_info().rss + _CACHES
    return (psutil.virtual_memory().available // 2 if max_ram is None else parse_size(max_ram) - used), used
