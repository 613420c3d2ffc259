"""What does it cost to compute synthetic volumes?

Processor microseconds for a voxel of each kind, image and labels; seconds in which two threads compute and write a
tomogram of 10^8 voxels, from a tenth of it; and the peak of memory while twice as many slices are written, over that of
once as many. As a yardstick, the time of scipy's correlation over that of the smear of the missing wedge.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import correlate

from benchmarks.machine import peak_bytes, write_result
from cristae.data import synthetic
from cristae.data.box import Box
from cristae.data.formats import write_image
from cristae.data.synthetic import FibSemConfig, SyntheticConfig, TissueConfig, TomogramConfig, synthetic_volume
from cristae.data.synthetic.wedge import REACH_VOX, point_spread, smear

KINDS: dict[str, TissueConfig] = {
    "platelet": SyntheticConfig(shape=(16, 768, 768), seed=1),
    "tomogram": TomogramConfig(shape=(64, 384, 384), seed=3),
    "fibsem": FibSemConfig(shape=(64, 320, 320), seed=1),
}
SLAB = (64, 400, 400)
"""A tenth of 10^8 voxels."""


def main() -> None:
    """Measure, print and keep."""
    if len(sys.argv) > 1:
        print(written(int(sys.argv[1])))
        return
    costs = {kind: cost(config) for kind, config in KINDS.items()}
    seconds = tomogram_seconds()
    peaks = [peak_while_writing(slices) for slices in (128, 256)]
    yardstick = correlation_over_smear()
    for kind, (image, labels) in costs.items():
        print(f"{kind}: {image:.2f} us for a voxel of the image, {labels:.2f} of the labels")
    print(f"a tomogram of 10^8 voxels on two threads: {seconds:.0f} s; scipy's correlation takes {yardstick:.1f} times")
    print(f"memory for twice as many slices over that for once as many: {peaks[1] / peaks[0]:.2f}")
    write_result(
        "synthetic",
        {
            "voxel_us": {kind: {"image": round(i, 3), "labels": round(n, 3)} for kind, (i, n) in costs.items()},
            "tomogram_of_1e8_voxels_s": round(seconds),
            "peak_mib": [round(peak / 2**20) for peak in peaks],
            "scipy_correlation_over_smear": round(yardstick, 2),
        },
    )


def cost(config: TissueConfig) -> tuple[float, float]:
    """Processor microseconds for a voxel of image and labels, after a run that fills caches and compiles."""
    volume = synthetic_volume(config)
    found = []
    for image in (volume.image, volume.labels[0]):
        image.read()
        began = time.process_time()
        image.read()
        found.append((time.process_time() - began) * 1e6 / np.prod(config.shape))
    return found[0], found[1]


def tomogram_seconds() -> float:
    """From a tenth of it; two threads at most."""
    synthetic._THREADS = 2
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        write_image(synthetic_volume(TomogramConfig(shape=SLAB, seed=4)).image, Path(folder) / "tomogram.tif")
    return (time.perf_counter() - began) * 1e8 / float(np.prod(SLAB))


def peak_while_writing(slices: int) -> int:
    """In a process of its own."""
    command = [sys.executable, "-m", "benchmarks.synthetic", str(slices)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def written(slices: int) -> int:
    """Peak of memory after a FIB-SEM volume was written."""
    with tempfile.TemporaryDirectory() as folder:
        volume = synthetic_volume(FibSemConfig(shape=(slices, 320, 320), seed=1))
        write_image(volume.image, Path(folder) / "volume.tif")
    return peak_bytes()


def correlation_over_smear() -> float:
    """On one thread, the same sums."""
    grey = np.random.default_rng(0).random((64, 32, 256), np.float32)
    spread = point_spread(60.0, 2.0, 1.0)
    smear(grey, spread)
    times = []
    for work in (lambda: smear(grey, spread), lambda: correlate(grey, spread[:, None])):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    inner = Box((REACH_VOX, 0, REACH_VOX), (64 - REACH_VOX, 32, 256 - REACH_VOX))
    return times[1] / times[0] * float(np.prod(inner.shape)) / grey.size


if __name__ == "__main__":
    main()
