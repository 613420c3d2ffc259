"""The machine that a proposal is for: this one."""

from __future__ import annotations

import os

from cristae.inference.device import choose_device
from cristae.inference.memory import find_budget
from cristae.recipe.proposal.facts import Machine


def find_machine(max_ram: str | None = None) -> Machine:
    """What this machine offers.

    Args:
        max_ram: Ceiling for the memory of the training, such as 8GiB; None takes half of what is free. A GPU has its
            own, of which most of what is free is taken.

    Raises:
        RunError: `max_ram` is no size of memory.
    """
    device = choose_device("auto")
    budget = find_budget(device, max_ram=max_ram)
    memory = budget.device if budget.device is not None else budget.ram + budget.used
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(device.type, cores, memory)
