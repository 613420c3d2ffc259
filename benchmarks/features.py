"""How much faster are the correlations of 40,000 channels than a loop of numpy.corrcoef over pairs, in how much memory?

Channels on a grid of 64 x 64, in nine blocks as a U-Net has them: mixtures of common features and noise, some of them
repeated. The loop is timed on a share of the pairs, before and after, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import peak_bytes, write_result
from cristae.evaluation.features.store import FeatureStore
from cristae.evaluation.features.tiles import ChannelCorrelations, correlate_channels

PIXELS = 64 * 64
PARTS = (1, 2, 4, 8, 16, 12, 6, 3, 2)
"""Channels of each block, as shares of all: they double on the way down; on the way up what is joined comes to them."""


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--channels", type=int, default=40_000)
    options.add_argument("--pairs", type=int, default=1500, help="of the loop, before and after")
    asked = options.parse_args()
    bounds = [0, *(int(asked.channels * part) for part in np.cumsum(PARTS) / sum(PARTS))]
    with (
        tempfile.TemporaryDirectory() as folder,
        FeatureStore(Path(folder), channels=asked.channels, pixels=PIXELS, places=1) as store,
    ):
        fill(store)
        before = peak_bytes()
        loop = [seconds_of_a_pair(store, asked.pairs, seed=0)]
        compile_loops(Path(folder))
        began = time.perf_counter()
        found = correlate_channels(store, bounds, close=0.95)
        seconds = time.perf_counter() - began
        loop.append(seconds_of_a_pair(store, asked.pairs, seed=1))
    check(found, asked.channels)
    pairs = asked.channels * (asked.channels - 1) // 2
    figures = {
        "channels": asked.channels,
        "pixels": PIXELS,
        "blocks": len(PARTS),
        "pairs": pairs,
        "seconds": round(seconds, 1),
        "seconds_numpy_loop": round(statistics.mean(loop) * pairs),
        "loop_measured_on_pairs": 2 * asked.pairs,
        "ratio": round(statistics.mean(loop) * pairs / seconds),
        "peak_gib": round(peak_bytes() / 2**30, 2),
        "peak_gib_before": round(before / 2**30, 2),
        "largest_error": found.largest_error,
        "kept": sum(len(kept) for kept in found.kept),
    }
    print(", ".join(f"{name} {value}" for name, value in figures.items()))
    write_result("features", figures)


def compile_loops(folder: Path) -> None:
    """What is compiled is not part of the measurement."""
    with FeatureStore(folder, channels=128, pixels=PIXELS, places=1) as store:
        fill(store)
        correlate_channels(store, [0, 64, 128], close=0.95)


def fill(store: FeatureStore) -> None:
    """Channels with much in common; every tenth repeats the one before."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((24, PIXELS), dtype=np.float32)
    for first in range(0, store.channels, 1000):
        count = min(1000, store.channels - first)
        values = rng.standard_normal((count, 24), dtype=np.float32) @ common
        values += 3 * rng.standard_normal((count, PIXELS), dtype=np.float32)
        values[9::10] = 1 - 2 * values[8::10][: len(values[9::10])]
        store.write(0, first, values)


def seconds_of_a_pair(store: FeatureStore, pairs: int, *, seed: int) -> float:
    """What `numpy.corrcoef` takes for the two rows of a pair that are in memory."""
    rows = store.read(0, 0, min(500, store.channels))
    chosen = np.random.default_rng(seed).integers(0, len(rows), (pairs, 2))
    began = time.perf_counter()
    for a, b in chosen:
        np.corrcoef(rows[a], rows[b])
    return (time.perf_counter() - began) / pairs


def check(found: ChannelCorrelations, channels: int) -> None:
    """Every pair was counted, and the planted repetitions are not kept."""
    counted = int(np.triu(found.pairs).sum())
    if counted != channels * (channels - 1) // 2 or found.largest_error > 1e-5:
        raise SystemExit(f"{counted} pairs were counted, with errors up to {found.largest_error}")
    if sum(len(kept) for kept in found.kept) > 0.91 * channels:
        raise SystemExit("channels that repeat others were kept")


if __name__ == "__main__":
    main()
