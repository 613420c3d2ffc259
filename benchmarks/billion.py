"""A billion voxels, really predicted to the end under a stated ceiling, with the forecast beside what happened.

The volume is cell-like texture, 250 x 2000 x 2000 voxels, as sharded Zarr; the network has random weights, whose work
does not depend on what it sees. Then parts of it: 20 classes under the same ceiling, and four members of a 2D-3D
network, from whose part the time of the whole volume is extrapolated. Each runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import peak_bytes, write_result
from benchmarks.prediction import SIZE_NM, make_run
from cristae.data.box import Triple
from cristae.data.classes import Classes
from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.inference.config import PredictOptions
from cristae.progress import Progress
from cristae.words import parse_size
from cristae.workflows.predict import predict

MEMBERS = 4
PARTS = ("billion", "classes", "ensemble")
NAMES = tuple(f"structure {number}" for number in range(1, 21))


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--shape", type=int, nargs=3, default=[250, 2000, 2000])
    options.add_argument("--network", default="segnet")
    options.add_argument("--ensemble", default="hybrid_2d3d")
    options.add_argument("--ceiling", default="2GiB")
    options.add_argument("--part", default="0:4,0:2000,0:2000", help="box that 20 classes are predicted in")
    options.add_argument("--part-of-ensemble", default="0:16,0:512,0:512")
    options.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to run of these")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--device", default="cpu")
    options.add_argument("--folder", type=Path, help="where to work; a folder that goes by default")
    options.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.one:
        runs, volume, box, out = asked.one
        print(json.dumps(measure(runs.split(","), Path(volume), box, Path(out), asked.ceiling)))
        return
    z, y, x = asked.shape
    with tempfile.TemporaryDirectory(dir=asked.folder) as where:
        folder = Path(where)
        volume = write_texture(folder / "cell.zarr", (z, y, x))
        whole = f"0:{z},0:{y},0:{x}"
        base = ["--ceiling", asked.ceiling, "--threads", str(asked.threads)]
        one = make_run(folder / "one", asked.network, asked.device)
        many = make_run(folder / "many", asked.network, asked.device, Classes(names=("background", *NAMES)))
        figures: dict[str, Any] = {"shape": asked.shape, "ceiling": asked.ceiling, "device": asked.device}

        def keep(name: str, found: dict[str, Any]) -> None:
            figures[name] = found
            print(name, found, flush=True)
            write_result("billion" if asked.device == "cpu" else f"billion-{asked.device}", figures)

        if "billion" in asked.parts:
            keep("billion", {"network": asked.network, **apart([one.path], volume, whole, folder / "one.zarr", base)})
        if "classes" in asked.parts:
            keep("part_of_20_classes", apart([many.path], volume, asked.part, folder / "many.zarr", base))
        if "ensemble" in asked.parts:
            members = [
                make_run(folder / f"member{seed}", asked.ensemble, asked.device, seed=seed) for seed in range(MEMBERS)
            ]
            box = asked.part_of_ensemble
            part = apart([run.path for run in members], volume, box, folder / "ensemble.zarr", base)
            part["hours_for_all"] = round(part["seconds"] * z * y * x / part["voxels"] / 3600, 2)
            keep("ensemble_of_four", {"network": asked.ensemble, **part})


class Said(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def apart(runs: list[Path], volume: Path, box: str, out: Path, base: list[str]) -> dict[str, Any]:
    """What `measure` says in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.billion", *base, "--one", ",".join(map(str, runs))]
    child = subprocess.run([*command, str(volume), box, str(out)], capture_output=True, text=True)
    if child.returncode:
        sys.exit(child.stderr)
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return found


def measure(runs: list[str], volume: Path, box: str, out: Path, ceiling: str) -> dict[str, Any]:
    """Predict in this process."""
    said, began = Said(), time.perf_counter()
    prediction = predict(runs, volume, out=out, box=box, options=PredictOptions(max_ram=ceiling), progress=said)
    seconds = time.perf_counter() - began
    voxels = int(np.prod(prediction.labels[0].shape))
    plan = prediction.attributes["plan"]
    return {
        "voxels": voxels,
        "seconds": round(seconds, 1),
        "megavoxels_per_second": round(voxels / seconds / 1e6, 3),
        "peak_mib": round(peak_bytes() / 2**20),
        "within_ceiling": peak_bytes() <= parse_size(ceiling),
        "plan": {name: plan[name] for name in ("block", "strip_vox", "keeps_buffers")},
        "said": [line for line in said.lines if "forecast" in line],
    }


def write_texture(path: Path, shape: Triple) -> Path:
    """Smooth grey texture that repeats after 25 slices."""
    rng = np.random.default_rng(0)
    tile = rng.normal(size=(min(25, shape[0]), *shape[1:])).astype(np.float32)
    for axis in (1, 2):
        tile = sum((np.roll(tile, shift, axis) for shift in range(-2, 3)), np.zeros_like(tile))
    tile = ((tile - tile.mean()) / tile.std() * 40 + 128).clip(0, 255).astype(np.uint8)
    grey = np.concatenate([tile] * -(-shape[0] // len(tile)))[: shape[0]]
    write_image(image_of_array(grey, voxel_size_nm=SIZE_NM), path)
    return path


if __name__ == "__main__":
    main()
