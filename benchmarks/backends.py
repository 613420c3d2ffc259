"""How much faster are other runtimes than PyTorch on a CPU, from Zarr to Zarr, and how much memory do they take?

For each network the same volume is predicted with each runtime in turn, each time in a process of its own: seconds of
the processor and of the clock for the prediction alone, and the peak memory of the process. Ratios are of the
processor's seconds over those of PyTorch in the same round, which other programs on the machine change less.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import peak_bytes, write_result
from benchmarks.prediction import make_run, write_noise
from cristae.inference.config import PredictOptions
from cristae.inference.runtimes.installed import runtimes_here
from cristae.workflows.predict import predict

VOLUMES = {"unet_bn": (1, 1, 1), "seget": (1, 1, 1), "hybrid_2d3d": (16, 0.25, 0.25)}
"""Networks, with the slices of their volume and its sides over the one that is asked for."""


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--side", type=int, default=1536)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.one:
        print(json.dumps(measure(*map(Path, asked.one[:2]), asked.one[2])))
        return
    figures: dict[str, Any] = {"threads": asked.threads}
    with tempfile.TemporaryDirectory() as name:
        for network, (depth, y, x) in VOLUMES.items():
            run = make_run(Path(name) / network, network, "cpu")
            shape = (int(depth), int(y * asked.side), int(x * asked.side))
            volume = write_noise(Path(name) / f"{network}.zarr", shape)
            figures[network] = {"volume": list(shape), **compare(run.path, volume, asked.threads, asked.rounds)}
            print(network, json.dumps(figures[network]), flush=True)
            write_result("backends", figures)


def compare(run: Path, volume: Path, threads: int, rounds: int) -> dict[str, Any]:
    """Each runtime in turn."""
    found: dict[str, list[dict[str, Any]]] = {runtime: [] for runtime in runtimes_here()}
    for _ in range(rounds):
        for runtime, several in found.items():
            several.append(measured_apart(run, volume, runtime, threads))
    usual = found["torch"]
    return {
        runtime: {
            "processor_seconds": round(statistics.median(one["processor_seconds"] for one in several), 2),
            "seconds": round(statistics.median(one["seconds"] for one in several), 2),
            "times_as_fast": round(
                statistics.median(
                    a["processor_seconds"] / b["processor_seconds"] for a, b in zip(usual, several, strict=True)
                ),
                2,
            ),
            "peak_mib": max(one["peak_mib"] for one in several),
            "block": several[0]["block"],
            "check": several[0]["check"],
        }
        for runtime, several in found.items()
    }


def measured_apart(run: Path, volume: Path, runtime: str, threads: int) -> dict[str, Any]:
    """What `measure` says in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.backends", "--threads", str(threads)]
    child = subprocess.run(
        [*command, "--one", str(run), str(volume), runtime], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return found


def measure(run: Path, volume: Path, runtime: Any) -> dict[str, Any]:
    """Predict in this process, after a small box that does all that is done once."""
    out = volume.with_suffix(f".{runtime}.zarr")
    shutil.rmtree(out, ignore_errors=True)
    options = PredictOptions(runtime=runtime)
    predict([run], volume, out=volume.with_suffix(".first.zarr"), box="0:1,0:64,0:64", options=options)
    shutil.rmtree(volume.with_suffix(".first.zarr"))
    clock, processor = time.perf_counter(), time.process_time()
    found = predict([run], volume, out=out, options=options).attributes
    return {
        "processor_seconds": time.process_time() - processor,
        "seconds": time.perf_counter() - clock,
        "peak_mib": round(peak_bytes() / 2**20),
        "block": found["plan"]["block"],
        "check": found.get("runtime"),
    }


if __name__ == "__main__":
    main()
