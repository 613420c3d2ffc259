"""How much faster are V_rand and V_info at eleven thresholds than the same built from scikit-image?

Four slices of 512 x 512 with a few dozen objects each, on one core. The other side labels truth and prediction, draws
lines with `watershed` and counts with `contingency_table`, slice by slice and threshold by threshold; the formulas are
the same for both. First-use time is that of a process that finds nothing compiled, apart from the measured runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.measure import label
from skimage.metrics import contingency_table
from skimage.segmentation import watershed

from benchmarks.machine import write_result
from cristae.metrics.contingency import Contingency
from cristae.metrics.partition import partition_sums
from cristae.metrics.v_scores import THRESHOLDS, VTable

ONE_CORE = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")}
Slices = Sequence[tuple[np.ndarray, np.ndarray]]


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--first-use", action="store_true", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if os.environ.get("NUMBA_NUM_THREADS") != "1":  # read when libraries load, so it takes a new process
        raise SystemExit(
            subprocess.run([sys.executable, "-m", "benchmarks.v_scores", *sys.argv[1:]], env=ONE_CORE).returncode
        )
    if asked.first_use:
        print(seconds(lambda: score_ours(make_slices(1, 64))))
        return
    slices = make_slices(4, 512)
    largest = float(np.abs(score_ours(slices)[1] - score_theirs(slices)[1]).max())  # raw: no difference in the lines
    if largest > 1e-9:
        raise SystemExit(f"the two sides differ by {largest} where they must not")
    ours, theirs = [], []
    for _ in range(asked.rounds):  # in turn, so that a busy machine slows both
        ours.append(seconds(lambda: score_ours(slices)))
        theirs.append(seconds(lambda: score_theirs(slices)))
    figures = {
        "slices": len(slices),
        "side": 512,
        "thresholds": len(THRESHOLDS),
        "objects": [int(label(truth > 127, connectivity=1).max()) for truth, _ in slices],
        "seconds": round(statistics.median(ours), 4),
        "seconds_scikit_image": round(statistics.median(theirs), 4),
        "ratio": round(statistics.median(theirs) / statistics.median(ours), 1),
        "first_use_seconds": round(first_use(), 2),
    }
    print(", ".join(f"{name} {value}" for name, value in figures.items()))
    write_result("v_scores", figures)


def make_slices(count: int, side: int) -> Slices:
    """Blobs as 8-bit truth, and the same with blur and noise as 8-bit scores at which every threshold cuts anew."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        field = gaussian_filter(rng.standard_normal((side, side)), 12, mode="wrap")
        field /= field.std()
        noise = gaussian_filter(rng.standard_normal((side, side)), 2, mode="wrap")
        scores = 1 / (1 + np.exp(-4 * (field - 0.5) - noise / noise.std()))
        made.append(((field > 0.5).astype(np.uint8) * 255, np.round(scores * 255).astype(np.uint8)))
    return made


def score_ours(slices: Slices) -> tuple[np.ndarray, np.ndarray]:
    """Sums (N, K, 7) with thinned borders and without, by this package."""
    table = VTable(truth_is="grey")
    for truth, scores in slices:
        table.append(table.measure(truth, scores))
    return table.sums("thin")[..., :7], table.sums("raw")[..., :7]


def score_theirs(slices: Slices) -> tuple[np.ndarray, np.ndarray]:
    """The same from scikit-image's parts."""
    thin, raw = [], []
    for truth, scores in slices:
        true, found = truth.astype(np.float32) / 255, scores.astype(np.float32) / 255
        for threshold in np.array(THRESHOLDS):
            segments = label(true > threshold, connectivity=1)
            mask = found > threshold
            objects = label(mask, connectivity=1)
            grown = watershed(~mask, objects, connectivity=1, watershed_line=True) if mask.any() else mask + 1
            thin.append(sums_of(segments, grown))
            raw.append(sums_of(segments, objects))
    shape = (len(slices), len(THRESHOLDS), 7)
    return np.array(thin).reshape(shape), np.array(raw).reshape(shape)


def sums_of(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The sums of V_rand and V_info from a contingency table of scikit-image."""
    table = contingency_table(truth, prediction, normalize=False).tocoo()
    return partition_sums(Contingency(table.row, table.col, table.data.astype(np.int64)))


def seconds(work: Callable[[], Any]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def first_use() -> float:
    """Seconds of a first call in a process that finds no compiled code."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.v_scores", "--first-use"]
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
