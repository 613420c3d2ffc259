"""What workers are worth for predictions: two of one thread each against one, and what a group of blocks costs besides.

The blocks of one volume are predicted with one thread, in turn: by one call in this process; in this process in the
groups that workers get; by two workers of Dask, from when they are there; and, as the ceiling of the machine, by two
plain processes that have every other block. The cost of a group is that of this process, plus that of a job without
work on a worker of Dask. From it follows the efficiency that 64 workers have at best, where files are as quick for all.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.cluster import overhead
from benchmarks.machine import write_result
from benchmarks.prediction import make_run, write_noise
from cristae.cluster.groups import groups_of
from cristae.cluster.jobs import Job
from cristae.cluster.options import ClusterOptions
from cristae.cluster.run import run_jobs
from cristae.inference.request import PredictionRequest
from cristae.workflows.predict import plan_prediction
from cristae.workflows.predict_parts import begin_prediction, predict_part

MANY = 64
EACH = 100
"""Blocks of each of many workers in the forecast."""
TWO = ClusterOptions(workers=2)


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--slices", type=int, default=16)
    options.add_argument("--side", type=int, default=1024)
    options.add_argument("--block", type=int, default=512, help="side of the blocks, which are slices")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--note", default="", help="what else the machine did meanwhile")
    options.add_argument("--part", nargs=2, help="be one of the two plain processes: request, and 0 or 1")
    asked = options.parse_args()
    torch.set_num_threads(1)
    if asked.part:
        part(Path(asked.part[0]), int(asked.part[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = make_run(folder / "unet_bn", "unet_bn", "cpu")
        recipe, side = run.path / "recipe.yaml", asked.block
        recipe.write_text(recipe.read_text().replace("block_vox: null", f"block_vox: [1, {side}, {side}]"))
        volume = write_noise(folder / "cell.zarr", (asked.slices, asked.side, asked.side))

        def fresh() -> PredictionRequest:
            request = plan_prediction([run.path], volume, out=folder / f"{uuid.uuid4().hex}.zarr", cluster=TWO).request
            begin_prediction(request)
            return request

        ways: dict[str, Callable[[PredictionRequest], float]] = {
            "at_once": at_once, "in_groups": in_groups, "on_two_workers": on_two_workers, "in_two_processes": plain,
        }  # fmt: skip
        at_once(request := fresh())  # what is only done once
        found: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(asked.rounds):
            for way, function in ways.items():
                found[way].append(function(fresh()))
                print(way, round(found[way][-1], 2), flush=True)
    figures = {
        "blocks": request.block_count,
        "block": list(request.plan.block),
        "groups": len(list(groups_of(request.block_count, 2))),
        **{f"seconds_{way}": [round(one, 2) for one in seconds] for way, seconds in found.items()},
        **judge(found, request.block_count, overhead()),
        **({"note": asked.note} if asked.note else {}),
    }
    print(figures)
    write_result("prediction-workers", figures)


def judge(found: dict[str, list[float]], blocks: int, job: float) -> dict[str, Any]:
    """What follows from the seconds of each way, and from those of a job without work."""
    middle = {way: statistics.median(seconds) for way, seconds in found.items()}
    block = middle["at_once"] / blocks
    group = max(0.0, middle["in_groups"] - middle["at_once"]) / len(list(groups_of(blocks, 2)))
    groups = len(list(groups_of(EACH * MANY, MANY))) / MANY
    busy = EACH * block + groups * (group + job)
    return {
        "ratio": round(middle["at_once"] / middle["on_two_workers"], 3),
        "ceiling": round(middle["at_once"] / middle["in_two_processes"], 3),
        "seconds_per_block": round(block, 4),
        "overhead_seconds_per_group": round(group, 4),
        "overhead_seconds_per_job": round(job, 4),
        f"efficiency_of_{MANY}_workers": round(EACH * block / max(busy, groups * MANY * job), 3),
    }


def at_once(request: PredictionRequest) -> float:
    """All blocks by one call; like those of workers, from when files are open."""
    return in_groups(request, [range(request.block_count)])


def in_groups(request: PredictionRequest, groups: list[range] | None = None) -> float:
    """Group after group in this process."""
    return _seconds(request, groups or list(groups_of(request.block_count, 2)), ClusterOptions())


def on_two_workers(request: PredictionRequest) -> float:
    """By two workers, from the beginning of the first group."""
    return _seconds(request, list(groups_of(request.block_count, 2)), TWO)


def _seconds(request: PredictionRequest, groups: list[range], options: ClusterOptions) -> float:
    function = import_module("cristae.workflows.predict_parts").predict_group
    session, text, times = uuid.uuid4().hex, request.to_json(), []
    jobs = [Job(str(group), function, (session, text, group), len(group), main_task="Predicting") for group in groups]
    failed = run_jobs(
        jobs,
        options,
        on_done=lambda *_: times.append(time.perf_counter()),
        on_start=lambda _: times.append(time.perf_counter()),
        each=False,
    )
    assert not failed, failed
    return times[-1] - times[0]


def plain(request: PredictionRequest) -> float:
    """By two processes that know of nothing, from when both are ready."""
    path = Path(request.out).with_suffix(".json")
    path.write_text(request.to_json())
    command = [sys.executable, "-m", "benchmarks.prediction_workers", "--part", str(path)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    both = [subprocess.Popen([*command, str(n)], cwd=Path(__file__).parents[1], **pipes) for n in range(2)]
    for one in both:
        one.stdout.readline()
    began = time.perf_counter()
    for one in both:
        one.stdin.write(b"\n")
        one.stdin.flush()
    assert [one.wait() for one in both] == [0, 0]
    return time.perf_counter() - began


def part(path: Path, which: int) -> None:
    """Every other block."""
    request = PredictionRequest.from_json(path.read_text())
    print("ready", flush=True)
    sys.stdin.readline()
    predict_part(request, blocks=range(which, request.block_count, 2))


if __name__ == "__main__":
    main()
