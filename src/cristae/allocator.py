"""Memory of the process: whether large buffers are kept, which is fast, or handed back, which is small; its peak."""

from __future__ import annotations

import ctypes
import gc
import platform
import sys
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8


def keep_large_buffers() -> None:
    """Let glibc reuse the memory of activations instead of handing it back and faulting it in again every step.

    Training steps on a CPU become a fifth to a third shorter; the process holds up to half more memory. It lasts until
    the process ends and does nothing where the C library is another one.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(_MMAP_MAX, 0)


def share_one_arena() -> None:
    """Let all threads take memory from one place, so that large buffers of other threads than the first are kept, too.

    Where glibc gives a thread an arena of its own, that has heaps of at most 64 MiB: what is larger is mapped anew
    every time. It is for processes whose work is not done in their first thread, and does nothing where the C library
    is another one.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def return_large_buffers() -> None:
    """Let glibc hand every buffer of 1 MiB or more back at once, so that the process holds no more than it uses.

    Otherwise buffers of many sizes leave holes, and the process grows by half. It lasts until the process ends or
    `keep_large_buffers` is called, and does nothing where the C library is another one.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 1 << 16)
    libc.mallopt(_MMAP_THRESHOLD, 1 << 20)
    libc.mallopt(_TRIM_THRESHOLD, 1 << 20)


def hand_back_free_memory() -> None:
    """Hand back what earlier work in this process has freed and glibc kept, so that only what comes is measured. Does
    nothing where the C library is another one."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def peak_memory_bytes(device: torch.device) -> dict[str, int]:
    """The most memory that this process has held so far: 'ram', and 'gpu' on a CUDA device."""
    info = psutil.Process().memory_info()
    peak = {"ram": int(getattr(info, "peak_wset", 0)) or _peak_rss()}
    if device.type == "cuda":
        import torch

        peak["gpu"] = int(torch.cuda.max_memory_allocated(device))
    return peak


def _peak_rss() -> int:
    import resource  # not there on Windows, which has peak_wset

    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(rss if sys.platform == "darwin" else rss * 1024)
