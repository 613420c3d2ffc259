"""How the workers of one computer share its cores and GPUs."""

from __future__ import annotations

import os
from collections.abc import Sequence


def threads_each(workers: int) -> int:
    """Threads of each of several workers, which together take no more than the cores there are, or than
    OMP_NUM_THREADS allows a single process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    most = int(allowed) if allowed.isdecimal() and int(allowed) > 0 else cores
    return max(1, min(most, cores // workers))


def gpu_of(worker: int, visible: Sequence[str]) -> str | None:
    """The GPU of a worker, counted from 0, as CUDA_VISIBLE_DEVICES names it; None where there are none.

    Example:
        >>> [gpu_of(worker, ["2", "5"]) for worker in range(3)]
        ['2', '5', '2']
    """
    return visible[worker % len(visible)] if visible else None


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [one.strip() for one in named.split(",") if one.strip() not in ("", "-1")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def environment(worker: int, workers: int, visible: Sequence[str]) -> dict[str, str]:
    """What a worker's environment says before it imports any library."""
    threads, gpu = str(threads_each(workers)), gpu_of(worker, visible)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return dict.fromkeys(names, threads) | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
