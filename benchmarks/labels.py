"""How much faster are label maps compared and components found than with NumPy and SciPy?

Two label maps of smooth objects (one shifted against the other), two of noise ids, and masks of both kinds. Each pair
of times is taken in turn in one run, and the median counts; the first calls, which compile or load machine code, are
timed apart on small maps. `numpy.unique` counts one code for each pair of ids, the time to make the codes included,
which is much quicker than `numpy.unique(axis=0)`. Ids are compared with those of SciPy, counts with those of NumPy.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks.machine import write_result
from cristae.metrics.components import Connectivity, label_components
from cristae.metrics.contingency import Contingency
from cristae.metrics.instances import InstanceCounts

CORES = ("1", "4")
CONNECTIVITIES: tuple[tuple[Connectivity, int], ...] = ((6, 1), (26, 3))
"""Neighbours, and what SciPy calls that."""


def main() -> None:
    """Measure in a process for each number of cores, print and keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--side", type=int, default=512)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.side, asked.rounds)))
        return
    figures: dict[str, Any] = {"voxels": [asked.side] * 3}
    with tempfile.TemporaryDirectory() as nowhere:
        figures["compiling_s"] = measured_with("1", 16, 1, NUMBA_CACHE_DIR=nowhere)["first_call_s"]
    for cores in CORES:
        figures[f"cores_{cores}"] = measured_with(cores, asked.side, asked.rounds)
        print(cores, "cores", figures[f"cores_{cores}"])
    write_result("labels", figures)


def measured_with(cores: str, side: int, rounds: int, **variables: str) -> dict[str, Any]:
    """What a process that may use so many threads answers."""
    command = [sys.executable, "-m", "benchmarks.labels", "--measure", "--side", str(side), "--rounds", str(rounds)]
    environment = {**os.environ, "NUMBA_NUM_THREADS": cores, **variables}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def measure(side: int, rounds: int) -> dict[str, Any]:
    """All figures of one process."""
    figures: dict[str, Any] = {"first_call_s": first_calls()}
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.standard_normal((side,) * 3, np.float32), 4)
    blobs = smooth > np.quantile(smooth[::8, ::8, ::8], 0.8)
    noise = rng.random((side,) * 3, np.float32) < 0.3
    del smooth
    for name, mask in (("blobs", blobs), ("noise", noise)):
        for connectivity, order in CONNECTIVITIES:
            structure = ndimage.generate_binary_structure(3, order)
            figures[f"components_{connectivity}_{name}"] = compare(
                partial(label_components, mask, connectivity),
                partial(ndimage.label, mask, structure),
                lambda a, b: a[1] == b[1] and np.array_equal(a[0], b[0]),
                rounds,
            )
    truth = label_components(blobs, 6)[0]
    prediction = np.roll(truth, (1, 2, 2), (0, 1, 2))
    scattered = rng.integers(0, 1000, (2, *truth.shape), np.int32)
    for name, pair in (("blobs", (truth, prediction)), ("noise", scattered)):
        figures[f"contingency_{name}"] = compare(
            partial(Contingency.of, *pair),
            partial(count_codes, *pair),
            lambda a, b: np.array_equal(a.voxels, b),
            rounds,
        )
    overlaps = Contingency.of(truth, prediction)
    began = time.perf_counter()
    counts = InstanceCounts.of(overlaps)
    figures["instances"] = {
        "true": counts.n_truth,
        "predicted": counts.n_prediction,
        "pairs": len(overlaps.voxels),
        "seconds": round(time.perf_counter() - began, 4),
    }
    return figures


def first_calls() -> dict[str, float]:
    """Seconds of the first calls, on small maps, in a process; a first run on a machine compiles here."""
    small = np.ones((2, 3, 4), np.int32)
    labelled, _ = timed(lambda: label_components(small, 6))
    counted, _ = timed(lambda: (Contingency.of(small, small), Contingency.of(small.astype(np.int64), small)))
    return {"components": round(labelled, 2), "contingency": round(counted, 2)}


def count_codes(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Voxels of each pair of ids in rising order, by numpy.unique."""
    codes = truth.reshape(-1).astype(np.int64)
    codes *= int(prediction.max()) + 1
    codes += prediction.reshape(-1)
    return np.unique(codes, return_counts=True)[1]


def compare(
    ours: Callable[[], Any], theirs: Callable[[], Any], equal: Callable[[Any, Any], bool], rounds: int
) -> dict[str, float]:
    """Medians of both in turn, and how many times as fast the first is.

    Raises:
        RuntimeError: The two do not agree.
    """
    quick, slow = [], []
    for _ in range(rounds):
        seconds, one = timed(ours)
        quick.append(seconds)
        seconds, two = timed(theirs)
        slow.append(seconds)
        if not equal(one, two):
            raise RuntimeError("the two results differ; the times mean nothing")
    return {
        "seconds": round(statistics.median(quick), 4),
        "reference_seconds": round(statistics.median(slow), 4),
        "times_as_fast": round(statistics.median(b / a for a, b in zip(quick, slow, strict=True)), 2),
    }


def timed(step: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of a call, and its answer."""
    began = time.perf_counter()
    answer = step()
    return time.perf_counter() - began, answer


if __name__ == "__main__":
    main()
