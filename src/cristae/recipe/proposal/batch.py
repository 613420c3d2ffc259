"""How many patches are seen at once, and what they take."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.facts import Machine
from cristae.words import memory

_VOXELS = {False: 2**18, True: 2**20}
"""Voxels of a batch without a GPU and with one: four patches of 256 x 256, and sixteen."""
_LEAST, _MOST = 4, 16
_FITTING = 2
"""Patches that are seen at once however little memory there is."""
_BYTES_PER_VOXEL = 6_000
"""What a step of a U-Net of the usual width holds for each voxel of a patch, with room to spare."""


def choose_batch(size: Sequence[int], machine: Machine) -> Choice[int]:
    """Patches in a batch: as many as hold 262,144 voxels (with a GPU 1,048,576), from 4 (of boxes 2) to 16, as far as
    memory allows.

    Args:
        size: Voxels (*S) of a patch.
        machine: Whose memory it is.
    """
    voxels = prod(size)
    wanted = max(_LEAST if len(size) == 2 else _FITTING, min(_MOST, _VOXELS[machine.accelerated] // voxels))
    fitting = max(_FITTING, machine.memory_bytes // (voxels * _BYTES_PER_VOXEL))
    if fitting < wanted:
        return Choice(
            fitting,
            f"more patches in a batch would not surely fit into the {memory(machine.memory_bytes)} that may be used",
        )
    return Choice(wanted, "")
