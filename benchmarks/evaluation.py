"""How long does it take to score a pair of 10^9 voxels on disk, over the time of only reading it, and in which memory?

Counts only: overlap and histograms of a true mask and a map of scores; contingency of two maps of object ids. Each in
a process of its own, from OME-Zarr and from BigTIFF; reading alone is what the same blocks take in as many threads.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks.machine import peak_bytes, write_result
from cristae.data.box import Box
from cristae.data.formats import open_image, write_image
from cristae.data.image import Image
from cristae.evaluation.blocks import blocks_of
from cristae.evaluation.scoring.counting import MOST_THREADS
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.workflows.evaluate import evaluate

_TILE = 200


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--side", type=int, default=1000)
    options.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one[0], Path(asked.one[1]), Path(asked.one[2]))))
        return
    figures: dict[str, Any] = {"voxels": asked.side**3, "threads": MOST_THREADS}
    with tempfile.TemporaryDirectory() as name:
        for ending in ("zarr", "tif"):
            paths = write_pair(Path(name), asked.side, ending)
            for kind, pair in (("maps", paths[:2]), ("ids", paths[2:])):
                figures[f"{kind}-{ending}"] = {
                    what: _in_a_process(f"{what}-{kind}", *pair) for what in ("compile", "read", "score")
                }
                one = figures[f"{kind}-{ending}"]
                one["times_reading"] = round(one["score"]["seconds"] / one["read"]["seconds"], 2)
                print(f"{kind}-{ending}", one)
    write_result("evaluation", figures)


def measure(what: str, truth: Path, prediction: Path) -> dict[str, float]:
    """Seconds and peak memory of one task; `compile` only makes sure that loops are in the cache."""
    task, kind = what.split("-")
    start = time.perf_counter()
    if task == "read":
        _read(open_image(truth), open_image(prediction))
    elif task == "compile":
        _score(kind, *(_crop(path) for path in (truth, prediction)))
    else:
        _score(kind, truth, prediction)
    return {"seconds": round(time.perf_counter() - start, 2), "peak_gib": round(peak_bytes() / 2**30, 2)}


def write_pair(folder: Path, side: int, ending: str) -> list[Path]:
    """A true mask, a map of scores, and two maps of object ids, each a tile repeated; objects are cut at tiles."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.standard_normal((_TILE,) * 3).astype(np.float32), 4, mode="wrap")
    mask = smooth > 0.02
    scores = np.clip(128 + 1500 * (smooth + 0.004 * rng.standard_normal(smooth.shape) - 0.02), 0, 255).astype(np.uint8)
    true_ids, found_ids = (ndimage.label(one)[0].astype(np.uint32) for one in (mask, scores > 127))
    per_side = -(-side // _TILE)
    paths = []
    for name, tile in (
        ("mask", mask.view(np.uint8) * 255),
        ("scores", scores),
        ("true", true_ids),
        ("found", found_ids),
    ):
        image = _tiled(name, tile, side, per_side if tile.dtype == np.uint32 else 0)
        paths.append(folder / f"{name}.{ending}")
        write_image(image, paths[-1])
    return paths


def _tiled(name: str, tile: np.ndarray, side: int, per_side: int) -> Image:
    highest = int(tile.max())

    def read(box: Box) -> np.ndarray:
        axes = [np.arange(a, b) for a, b in zip(box.start, box.stop, strict=True)]
        voxels = tile[np.ix_(*(axis % _TILE for axis in axes))]
        if per_side:
            z, y, x = (axis // _TILE for axis in axes)
            number = (z[:, None, None] * per_side + y[:, None]) * per_side + x
            voxels = np.where(voxels > 0, voxels + (number * highest).astype(np.uint32), np.uint32(0))
        return voxels

    return Image(Path(name), "benchmark", (side,) * 3, tile.dtype, read, chunks=(64, 256, 256), voxel_size_nm=(8, 8, 8))


def _score(kind: str, truth: Path, prediction: Path) -> None:
    if kind == "maps":
        evaluate(prediction, truth, options=ScoreOptions(binarize=0.5, scores=("overlap", "ranking")))
    else:
        evaluate(prediction, truth, options=ScoreOptions(objects=True, scores=("partition",)))


def _crop(path: Path) -> Path:
    small = path.with_name(f"small-{path.stem}.tif")
    if not small.exists():
        write_image(open_image(path).crop(Box((0, 0, 0), (2, 50, 50))), small)
    return small


def _read(*images: Image) -> None:
    blocks = blocks_of(*images)
    task: Callable[[Box], int] = lambda box: sum(image.read(box).size for image in images)  # noqa: E731
    with ThreadPoolExecutor(MOST_THREADS) as pool:
        for start in range(0, len(blocks), MOST_THREADS):
            list(pool.map(task, blocks[start : start + MOST_THREADS]))


def _in_a_process(what: str, truth: Path, prediction: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.evaluation", "--one", what, str(truth), str(prediction)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


if __name__ == "__main__":
    main()
