"""How long do surface distances take, beside MONAI in memory; and how long and with what memory, block by block?

The first figures are of one volume of blobs of 64 x 512 x 512 voxels, HD, HD95, ASD and NSD together. The others are of
that volume repeated side by side, read in blocks; the memory is the most that Python and numpy held at once meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
import warnings
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from benchmarks.machine import write_result
from cristae.data.box import Box
from cristae.metrics.surface import (
    SurfaceDistances,
    average_distance,
    hausdorff,
    hausdorff_95,
    surface_dice,
    surface_distances,
)

SHAPE = (64, 512, 512)
SIZE = (40.0, 5.0, 5.0)
TOLERANCE_NM = 20.0


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--tiles", type=int, nargs=3, default=(1, 4, 4))
    asked = options.parse_args()
    truth, prediction = blobs()
    in_memory(truth[:2, :32, :32], prediction[:2, :32, :32])  # compiles
    began = time.perf_counter()
    large = tiled(truth, prediction, tuple(asked.tiles))
    figures = {"blocks_seconds": round(time.perf_counter() - began, 2), "blocks_surface_voxels": large.n}
    tracemalloc.start()
    tiled(truth, prediction, tuple(asked.tiles))
    figures["blocks_peak_mib"] = round(tracemalloc.get_traced_memory()[1] / 2**20)
    tracemalloc.stop()
    ours, seconds = timed(lambda: scores(in_memory(truth, prediction)), asked.rounds)
    theirs, their_seconds = timed(lambda: monai_scores(truth, prediction), asked.rounds)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    figures |= {"seconds": round(seconds, 2), "monai_seconds": round(their_seconds, 2)}
    figures["surface_voxels"] = in_memory(truth, prediction).n
    print("\n".join(f"{name}: {value}" for name, value in figures.items()))
    write_result("surfaces", {"shape": SHAPE, "tiles": list(asked.tiles), **figures})


def blobs() -> tuple[np.ndarray, np.ndarray]:
    """A truth of blobs longer in the plane than across it, in voxels, and a prediction that differs a little."""
    rng = np.random.default_rng(0)
    one, other = (ndimage.gaussian_filter(rng.standard_normal(SHAPE), (1.5, 12, 12)) for _ in range(2))
    both = one + 0.3 * other
    return one > one.std(), both > both.std()


def scores(distances: SurfaceDistances) -> list[float]:
    """HD, HD95, ASD, NSD."""
    nsd = surface_dice(distances, TOLERANCE_NM)
    return [hausdorff(distances), hausdorff_95(distances), average_distance(distances), nsd]


def monai_scores(truth: np.ndarray, prediction: np.ndarray) -> list[float]:
    """The same from MONAI, one call each, as its interface is."""
    import torch
    from monai import metrics

    y, y_pred = (torch.from_numpy(mask.astype(np.float32))[None, None] for mask in (truth, prediction))
    options = {"include_background": True, "spacing": list(SIZE)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [
            metrics.compute_hausdorff_distance(y_pred, y, **options),
            metrics.compute_hausdorff_distance(y_pred, y, percentile=95, **options),
            metrics.compute_average_surface_distance(y_pred, y, symmetric=True, **options),
            metrics.compute_surface_dice(y_pred, y, [TOLERANCE_NM], **options),
        ]
    return [float(one) for one in found]


def in_memory(truth: np.ndarray, prediction: np.ndarray) -> SurfaceDistances:
    """The distances in two arrays."""
    blocks = list(Box.of_shape(truth.shape).blocks(SHAPE))
    return surface_distances(lambda box: truth[box.slices], lambda box: prediction[box.slices], blocks, SIZE)


def tiled(truth: np.ndarray, prediction: np.ndarray, tiles: tuple[int, ...]) -> SurfaceDistances:
    """The distances in a volume of `tiles` (z, y, x) repeats of the maps, which are not held in memory."""

    def reader(mask: np.ndarray) -> Callable[[Box], np.ndarray]:
        def read(box: Box) -> np.ndarray:
            ranges = [np.arange(a, b) % n for a, b, n in zip(box.start, box.stop, SHAPE, strict=True)]
            return mask[np.ix_(*ranges)]

        return read

    whole = Box.of_shape([n * edge for n, edge in zip(tiles, SHAPE, strict=True)])
    blocks = list(whole.blocks((64, 256, 256)))
    return surface_distances(reader(truth), reader(prediction), blocks, SIZE)


def timed(function: Callable[[], list[float]], rounds: int) -> tuple[list[float], float]:
    """The result and the median seconds."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        found = function()
        taken.append(time.perf_counter() - began)
    return found, statistics.median(taken)


if __name__ == "__main__":
    main()
