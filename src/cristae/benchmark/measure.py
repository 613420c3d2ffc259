"""What a job costs: memory, processor time and energy of this process while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

WATTS_PER_CORE = 10.0
"""Assumed of a busy core where the machine has no counter of energy: a server's 150 to 300 W over 16 to 32 cores."""
_EVERY_S = 0.1
_RAPL = Path("/sys/class/powercap")


@dataclass
class Cost:
    """Of one job; complete when the measured block has ended."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    """The most memory that the process held at once, whatever it held before."""
    energy_wh: float = 0.0
    energy_source: str = ""

    def __add__(self, later: Cost) -> Cost:
        """Of this and what followed it."""
        return Cost(
            self.seconds + later.seconds,
            self.cpu_seconds + later.cpu_seconds,
            max(self.peak_bytes, later.peak_bytes),
            self.energy_wh + later.energy_wh,
            later.energy_source,
        )


@contextmanager
def measuring() -> Iterator[Cost]:
    """Measure this process until the block ends. Yields what it cost."""
    cost, process, done = Cost(), psutil.Process(), threading.Event()

    def sample() -> None:
        while True:
            cost.peak_bytes = max(cost.peak_bytes, process.memory_info().rss)
            if done.wait(_EVERY_S):
                return

    began, cpu, joules = time.monotonic(), _cpu_seconds(process), _joules()
    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield cost
    finally:
        done.set()
        sampler.join()
        cost.seconds, cost.cpu_seconds = time.monotonic() - began, _cpu_seconds(process) - cpu
        cost.energy_wh, cost.energy_source = _energy(joules, _joules(), cost.cpu_seconds)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _energy(before: float | None, after: float | None, cpu_seconds: float) -> tuple[float, str]:
    if before is not None and after is not None and after >= before:
        return (after - before) / 3600, "counter of the processor packages (all that ran on them)"
    return cpu_seconds * WATTS_PER_CORE / 3600, f"assumed: {WATTS_PER_CORE:g} W for each busy core"


def _joules() -> float | None:
    """What the processors' packages have used since an arbitrary time; None where it cannot be read."""
    try:
        packages = [one for one in _RAPL.glob("intel-rapl:*") if one.name.count(":") == 1]
        found = [int((one / "energy_uj").read_text()) for one in packages]
    except (OSError, ValueError):
        return None
    return sum(found) / 1e6 if found else None
