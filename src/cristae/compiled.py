"""Compiling numeric loops to machine code, and on how many cores to run them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(loop: Loop) -> Loop:
    """The same function as machine code that lets other threads run; kept on disk where a folder can be written.

    It is compiled at the first call with arguments of new types. A floating-point division by 0 gives infinity or NaN,
    as in NumPy.
    """
    fast: Any
    try:
        fast = njit(nogil=True, cache=True, error_model="numpy")(loop)
    except RuntimeError:  # no folder for the cache: each process compiles anew
        fast = njit(nogil=True, error_model="numpy")(loop)
    machine_code: Loop = fast
    return machine_code


def usable_cores() -> int:
    """Processors that this process may use, or fewer where `OMP_NUM_THREADS` says so.

    Numba's own `get_num_threads` would start its threads, and with them change the number that PyTorch trains with.
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(here, int(asked)) if asked.isdecimal() and int(asked) else here
