"""How much slower than its bare forward passes is a prediction, and does its memory grow with the volume?

For each network: core voxels a second from Zarr to Zarr, over those of forward passes alone on the same padded blocks
that are in memory already (medians of rounds taken in turn); and the halo overhead, as a fraction of the computation.
Then the peak memory of a process that predicts a volume, and of one that predicts a volume 8 times larger; and what a
ceiling costs: time and peak memory without one and with two.
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

import numpy as np
import torch

from benchmarks.machine import peak_bytes, write_result
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.formats import open_image, write_image
from cristae.data.image import image_of_array
from cristae.inference.blocks import output_box, plan_blocks
from cristae.inference.config import PredictOptions
from cristae.inference.locality import Locality, measure_locality
from cristae.inference.plan import BlockPlan
from cristae.preprocess.normalize import Normalizer
from cristae.recipe.load import parse_recipe
from cristae.recipe.run import Run, create_run, open_run, save_weights, write_summary
from cristae.recipe.trained_model import TrainedModel
from cristae.workflows.predict import predict

SIZE_NM = (40.0, 10.0, 10.0)
MITO = Classes(names=("background", "mito"))
RECIPE = """\
name: {name}
data:
  classes: {{names: [{names}]}}
  volumes: [{{name: cell, image: image.tif, labels: {{kind: ids, path: labels.tif}}}}]
model: {{name: {name}}}
loss: {{name: cross_entropy_dice}}
device: {device}
"""


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--device", default="cpu")
    options.add_argument("--slices", type=int, default=2)
    options.add_argument("--side", type=int, default=2048)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.memory_of:
        print(json.dumps(predict_and_weigh(*map(Path, asked.memory_of[:2]), asked.memory_of[2])))
        return
    figures: dict[str, Any] = {"device": asked.device}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        volume = write_noise(folder / "slices.zarr", (asked.slices, asked.side, asked.side))
        for network in ("unet_bn", "seget"):
            run = make_run(folder / network, network, asked.device)
            figures[network] = measure_speed(run, volume, folder, asked.rounds)
            print(network, figures[network])
        figures["memory"] = measure_memory(folder, asked.threads)
        print("memory", figures["memory"])
        figures["ceilings"] = measure_ceilings(
            folder, (asked.slices, asked.side, asked.side), asked.threads, asked.rounds
        )
        print("ceilings", figures["ceilings"])
    write_result("prediction" if asked.device == "cpu" else f"prediction-{asked.device}", figures)


def measure_speed(run: Run, volume: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """End to end and bare rates in voxels a second, and the halo overhead."""
    plan, image = None, open_image(volume)
    bare, whole = [], []
    for number in range(rounds + 1):
        out = folder / f"{run.recipe.name}-{number}.zarr"
        began = time.perf_counter()
        prediction = predict([run], volume, out=out)
        whole.append(time.perf_counter() - began)
        plan = BlockPlan.from_dict(prediction.attributes["plan"])
        bare.append(forward_seconds(run, plan, image.shape))
    assert plan is not None
    voxels = Box.of_shape(image.shape).size
    seconds, alone = statistics.median(whole[1:]), statistics.median(bare[1:])
    return {
        "slices": list(image.shape),
        "block": list(plan.block),
        "voxels_per_second": round(voxels / seconds),
        "bare_voxels_per_second": round(voxels / alone),
        "ratio": round(statistics.median(b / w for b, w in zip(bare[1:], whole[1:], strict=True)), 3),
        "halo_share": round(halo_fraction(run, plan.block, image.shape), 4),
        "halo_share_of_inner_block": round(halo_fraction(run, plan.block, (1, 10**6, 10**6)), 4),
    }


def forward_seconds(run: Run, plan: BlockPlan, shape: Triple) -> float:
    """Seconds of the forward passes alone, on inputs of the same sizes that are on the device already."""
    locality = locality_of(run)
    device = torch.device(run.recipe.device)
    network = run.build_network().to(device)
    inputs = [
        torch.rand((block.core.shape[0], *output_box(block.core, shape, locality).shape[1:]), device=device)
        for block in plan_blocks(Box.of_shape(shape), plan.block)
    ]
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        network(inputs[0][:1, None])
        _wait(device)
        began = time.perf_counter()
        for slab in inputs:
            count, y, x = slab.shape
            step = max(1, plan.pass_vox // (y * x))
            for first in range(0, count, step):
                part = slab[first : first + step]
                network(part.as_strided((len(part), 1, y, x), (y * x, 1, x, 1)))
        _wait(device)
    return time.perf_counter() - began


def halo_fraction(run: Run, block: Triple, shape: Triple) -> float:
    """Fraction of the output patches that is halo, over a plan or for an inner block."""
    locality = locality_of(run)
    cores = (
        [b.core for b in plan_blocks(Box.of_shape(shape), block)]
        if max(shape) < 10**6
        else [Box((0, 10 * block[1], 10 * block[2]), (1, 11 * block[1], 11 * block[2]))]
    )
    computed = sum(output_box(core, shape, locality).size for core in cores)
    return 1 - sum(core.size for core in cores) / computed


def measure_memory(folder: Path, threads: int) -> dict[str, Any]:
    """Peak memory for a volume and for one 8 times larger, under one ceiling, each in its own process."""
    ceiling, peaks, plans = "2GiB", [], []
    run = make_run(folder / "memory" / "unet_bn", "unet_bn", "cpu")
    for number, shape in enumerate([(2, 1536, 1536), (4, 3072, 3072)]):
        volume = write_noise(folder / f"memory{number}.zarr", shape)
        found = predicted_apart(run, volume, ceiling, threads)
        peaks.append(found["peak_bytes"])
        plans.append(found["block"])
    return {
        "ceiling": ceiling,
        "blocks": plans,
        "peak_mib": [round(peak / 2**20) for peak in peaks],
        "ratio": round(peaks[1] / peaks[0], 4),
    }


def measure_ceilings(folder: Path, shape: Triple, threads: int, rounds: int) -> dict[str, Any]:
    """Seconds and peak memory of whole processes that predict the same volume, in turn, under several ceilings."""
    run, volume = (
        make_run(folder / "memory" / "unet_bn", "unet_bn", "cpu"),
        write_noise(folder / "ceilings.zarr", shape),
    )
    names = ("none", "1536MiB", "1GiB")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name].append(predicted_apart(run, volume, name, threads))
    seconds = {name: statistics.median(one["seconds"] for one in several) for name, several in found.items()}
    return {
        name: {
            "seconds": round(seconds[name], 2),
            "times_as_long": round(seconds[name] / seconds["none"], 3),
            "peak_mib": round(max(one["peak_bytes"] for one in several) / 2**20),
            "plan": several[0]["plan"],
        }
        for name, several in found.items()
    }


def predicted_apart(run: Run, volume: Path, ceiling: str, threads: int) -> dict[str, Any]:
    """What `predict_and_weigh` says in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.prediction", "--threads", str(threads)]
    child = subprocess.run(
        [*command, "--memory-of", str(run.path), str(volume), ceiling], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return found


def predict_and_weigh(run: Path, volume: Path, ceiling: str) -> dict[str, Any]:
    """Predict in this process; say how long that took, and how much memory at most."""
    options, out = PredictOptions(max_ram=None if ceiling == "none" else ceiling), volume.with_suffix(".out.zarr")
    shutil.rmtree(out, ignore_errors=True)
    began = time.perf_counter()
    plan = predict([run], volume, out=out, options=options).attributes["plan"]
    return {
        "seconds": time.perf_counter() - began,
        "peak_bytes": peak_bytes(),
        "block": plan["block"],
        "plan": {name: plan[name] for name in ("block", "strip_vox", "keeps_buffers")},
    }


def make_run(folder: Path, name: str, device: str, classes: Classes = MITO, *, seed: int = 0) -> Run:
    """A run with random weights."""
    if (folder / "recipe.yaml").is_file():
        return open_run(folder)
    recipe = parse_recipe(RECIPE.format(name=name, device=device, names=", ".join(classes.names)), "benchmark")
    run = create_run(folder, recipe)
    torch.manual_seed(seed)
    network = recipe.model.build(recipe.model.in_slices, classes.n_logits)
    save_weights(run, network)
    patch = (256, 256) if recipe.network.ndim == 2 else (16, 96, 96)
    model = TrainedModel(1, classes, Normalizer(0.0, 255.0), SIZE_NM, patch)
    locality = measure_locality(network, recipe.network)
    write_summary(run, model, {"status": "complete", "locality": locality.to_dict()})
    return run


def locality_of(run: Run) -> Locality:
    """What `make_run` measured."""
    return Locality.from_dict(run.summary["locality"])


def write_noise(path: Path, shape: Triple) -> Path:
    """Grey noise, the hardest to compress, as sharded Zarr."""
    grey = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_image(image_of_array(grey, voxel_size_nm=SIZE_NM), path)
    return path


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
