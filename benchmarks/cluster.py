"""What workers are worth: 16 small trainings, one after the other against two workers, and what a job costs besides.

Each job is some steps of a small U-Net with one thread, with the memory of its activations kept as trainings keep it
(else both processes wait for the kernel, which hands it out anew at every step). Measured in turn, each once the
processes are there and warm: the jobs in this process; on two workers of Dask; and, as the ceiling of the machine, in
two plain processes that do half of them each and know of nothing. The overhead of a job is that of jobs without work
on one of two workers.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import torch

from benchmarks.machine import write_result
from cristae.allocator import keep_large_buffers
from cristae.cluster.jobs import Job
from cristae.cluster.options import ClusterOptions
from cristae.cluster.run import run_jobs
from cristae.models import UNetBNConfig
from cristae.progress import Progress

NAME = "benchmarks.cluster"
"""Under this name workers import the jobs once, when they start; this module may be `__main__`."""
JOBS = 16
WARM = "warm"
"""How jobs are called that do what a process does only once."""
_EMPTY = 100
TWO = ClusterOptions(workers=2)


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=30, help="of each job")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--note", default="", help="what else the machine did meanwhile")
    options.add_argument("--half", action="store_true", help="be one of the two plain processes")
    asked = options.parse_args()
    torch.set_num_threads(1)
    if asked.half:
        half(asked.steps)
        return
    train(asked.steps, progress=Progress())  # what is only done once
    alone, workers, plain = [], [], []
    for _ in range(asked.rounds):
        alone.append(seconds_of(asked.steps, ClusterOptions()))
        workers.append(seconds_of(asked.steps, TWO))
        plain.append(plain_seconds(asked.steps))
    ratios = [one / two for one, two in zip(alone, workers, strict=True)]
    ceilings = [one / two for one, two in zip(alone, plain, strict=True)]
    figures = {
        "jobs": JOBS,
        "seconds_in_turn": [round(one, 2) for one in alone],
        "seconds_on_two_workers": [round(one, 2) for one in workers],
        "seconds_in_two_plain_processes": [round(one, 2) for one in plain],
        "ratio": round(statistics.median(ratios), 3),
        "ceiling": round(statistics.median(ceilings), 3),
        "share_of_ceiling": round(statistics.median([a / b for a, b in zip(plain, workers, strict=True)]), 3),
        "overhead_seconds_per_job": round(overhead(), 4),
        "seconds_until_workers_are_there": round(start_seconds(), 2),
        **({"note": asked.note} if asked.note else {}),
    }
    print(figures)
    write_result("cluster", figures)


def train(steps: int, *, progress: Progress) -> None:
    """A job: steps of a small U-Net, on made-up patches."""
    keep_large_buffers()
    torch.manual_seed(0)
    network = UNetBNConfig(widths=(8, 16, 32)).build(1, 2)
    optimizer = torch.optim.Adam(network.parameters())
    image, target = torch.rand(4, 1, 128, 128), torch.randint(0, 2, (4, 128, 128))
    with progress.task("Training", steps) as task:
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(image), target).backward()
            optimizer.step()
            task.advance()


def nothing(*, progress: Progress) -> None:
    """A job without work."""


class _Begun:
    """Notes when the first job was begun, and when the last was done."""

    def __init__(self) -> None:
        self.first = self.last = 0.0

    def on_start(self, key: str) -> None:
        if not key.startswith(WARM):
            self.first = self.first or time.perf_counter()

    def on_done(self, key: str, result: object) -> None:
        self.last = time.perf_counter()


def seconds_of(steps: int, options: ClusterOptions) -> float:
    """From the beginning of the first job to the end of the last, once each worker has done a short one."""
    noted, job = _Begun(), import_module(NAME).train
    warm = [Job(f"{WARM} {number}", job, (1,), cost=2.0) for number in range(2)]
    jobs = warm + [Job(str(number), job, (steps,)) for number in range(JOBS)]
    failed = run_jobs(jobs, options, on_done=noted.on_done, on_start=noted.on_start)
    assert not failed, failed
    return noted.last - noted.first


def plain_seconds(steps: int) -> float:
    """The same by two processes, from when both are ready."""
    command = [sys.executable, "-m", "benchmarks.cluster", "--half", "--steps", str(steps)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    both = [subprocess.Popen(command, cwd=Path(__file__).parents[1], **pipes) for _ in range(2)]
    for one in both:
        one.stdout.readline()
    began = time.perf_counter()
    for one in both:
        one.stdin.write(b"\n")
        one.stdin.flush()
    for one in both:
        one.stdout.readline()
    seconds = time.perf_counter() - began
    for one in both:
        one.communicate()
    return seconds


def half(steps: int) -> None:
    """Be one of two processes: say when ready, wait, do half of the jobs, say when done."""
    train(1, progress=Progress())
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(JOBS // 2):
        train(steps, progress=Progress())
    print("done", flush=True)


def overhead() -> float:
    """Seconds between two jobs without work on the same worker."""
    noted = _Begun()
    jobs = [Job(str(number), import_module(NAME).nothing) for number in range(_EMPTY)]
    run_jobs(jobs, TWO, on_done=noted.on_done, on_start=noted.on_start)
    return (noted.last - noted.first) / (_EMPTY / 2)


def start_seconds() -> float:
    """From the call until the first job is begun, with all that it needs imported."""
    noted, began = _Begun(), time.perf_counter()
    work = import_module(NAME).nothing
    run_jobs([Job("a", work), Job("b", work)], TWO, on_done=noted.on_done, on_start=noted.on_start)
    return noted.first - began


if __name__ == "__main__":
    main()
