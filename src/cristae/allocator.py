"""What becomes of large buffers on Linux CPUs: kept by the process, which is fast, or handed back, which is small."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4


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
