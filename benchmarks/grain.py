"""How much faster is the grain filter than Higra's, with both areas of Meyer et al. (2021), and does it use all cores?

Both sides make one tree of shapes and filter it twice, in one thread, in turn on the same plane; their time is that of
the processor, which others that use the machine do not lengthen. Then many patches are filtered on one thread and on
as many as there are cores, and a batch of the paper as training does it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from benchmarks.machine import peak_bytes, write_result
from cristae.data.formats import open_image
from cristae.preprocess.filtered_channels import FilteredChannels
from cristae.preprocess.grain import grain_filter, grain_filter_all

AREAS = (3200, 650)
SIDES = (256, 1024)
PARALLEL = 64
"""Patches that are filtered at once."""


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    figures: dict[str, Any] = {"areas_px": AREAS, "higra": version("higra"), "peak_bytes_per_pixel": bytes_per_pixel()}
    figures["one_thread"] = {}
    for side in SIDES:
        for kind, plane in planes(side).items():
            found = compare(plane, rounds if side < 512 else max(1, rounds // 2))
            figures["one_thread"][f"{kind}, {side} x {side}"] = found
            print(f"{kind}, {side} x {side}: {found}")
    figures["parallel"] = parallel(rounds)
    figures["batch_of_4_patches_seconds"] = batch_seconds(rounds)
    print({name: value for name, value in figures.items() if name != "one_thread"})
    write_result("grain", figures)


def planes(side: int) -> dict[str, np.ndarray]:
    """Grey values from the hardest to the easiest kind, and a section of the brain where the public sets are."""
    noise = np.random.default_rng(0).random((side, side)).astype(np.float32)
    smooth = gaussian_filter(noise, 3)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    found = {
        "noise, float32": noise,
        "smooth, float32": smooth,
        "noise, uint8": np.round(noise * 255).astype(np.uint8),
        "smooth, uint8": np.round(smooth * 255).astype(np.uint8),
    }
    section = Path(os.environ.get("CRISTAE_DATA", "")) / "drosophila-vnc" / "raw" / "00.tif"
    if section.is_file():
        grey = open_image(section).read()[0, :side, :side]
        found |= {"section, uint8": grey, "section, float32": (grey / np.float32(255)).astype(np.float32)}
    return found


def compare(plane: np.ndarray, rounds: int) -> dict[str, float]:
    """Seconds of processor time of both sides, and their ratio; they must give the same."""
    wide = plane.astype(np.float64)
    difference = float(np.abs(grain_filter(plane, AREAS) - by_higra(wide)).max())
    if difference > (0.5 if plane.dtype == np.uint8 else 1e-6):  # the border's mean is rounded to the type
        raise SystemExit(f"the two sides differ by {difference}")
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(seconds(lambda: grain_filter(plane, AREAS), time.process_time))
        theirs.append(seconds(lambda: by_higra(plane), time.process_time))
    mine, other = statistics.median(ours), statistics.median(theirs)
    return {"seconds": round(mine, 5), "seconds_higra": round(other, 4), "ratio": round(other / mine, 1)}


def by_higra(plane: np.ndarray) -> np.ndarray:
    """The same by Higra, in the type of the plane."""
    import higra  # here, so that the other benchmarks need it not

    tree, levels = higra.component_tree_tree_of_shapes_image2d(plane)
    sizes = higra.attribute_area(tree)
    return np.stack([higra.reconstruct_leaf_data(tree, levels, sizes < area) for area in AREAS])


def parallel(rounds: int) -> dict[str, float]:
    """Patches a second on one core and on all; the efficiency is the speed-up over the number of cores.

    On a busy machine threads wait for each other's cores. What does not depend on that is how much more processor time
    they take together than one thread alone.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    patches = np.stack([planes(256)["smooth, float32"]] * PARALLEL)
    alone, together, work_alone, work_together = [], [], [], []
    for _ in range(rounds):
        for threads, wall, work in ((1, alone, work_alone), (cores, together, work_together)):
            began = time.process_time()
            wall.append(seconds(lambda n=threads: grain_filter_all(patches, AREAS, threads=n), time.perf_counter))
            work.append(time.process_time() - began)
    return {
        "cores": cores,
        "patches_a_second_on_one": round(PARALLEL / min(alone), 1),
        "patches_a_second_on_all": round(PARALLEL / min(together), 1),
        "efficiency": round(min(alone) / min(together) / cores, 3),
        "work_on_one_over_work_on_all": round(min(work_alone) / min(work_together), 3),
    }


def batch_seconds(rounds: int) -> float:
    """What the two channels add to a training step of the paper: a batch of 4 patches of 256 x 256."""
    patches = torch.from_numpy(np.stack([planes(256)["smooth, float32"]] * 4)[:, None])
    step = FilteredChannels(AREAS)
    return round(min(seconds(lambda: step(patches), time.perf_counter) for _ in range(4 * rounds)), 4)


def bytes_per_pixel() -> float:
    """Memory of one call beside its input and output. Asked first: what is measured is the process's peak."""
    plane = planes(2048)["noise, float32"]
    grain_filter(plane[:64, :64], AREAS)
    before = peak_bytes()
    filtered = grain_filter(plane, AREAS)
    return round((peak_bytes() - before - filtered.nbytes) / plane.size, 1)


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Of one call."""
    began = clock()
    work()
    return clock() - began


if __name__ == "__main__":
    main()
