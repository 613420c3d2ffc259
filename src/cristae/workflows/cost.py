"""What a piece of work took."""

from __future__ import annotations

import sys

import psutil
import torch


def peak_memory_bytes(device: torch.device) -> dict[str, int]:
    """The most memory that this process has held so far, by kind."""
    info = psutil.Process().memory_info()
    peak = {"ram": int(getattr(info, "peak_wset", 0)) or _peak_rss()}
    if device.type == "cuda":
        peak["gpu"] = int(torch.cuda.max_memory_allocated(device))
    return peak


def _peak_rss() -> int:
    import resource  # not there on Windows, which has peak_wset

    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(rss if sys.platform == "darwin" else rss * 1024)
