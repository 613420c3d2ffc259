"""The same network and weights from a file to a label file: Cristae, and the sliding windows of MONAI and nnU-Net.

    pip install -e ".[monai]" "nnunetv2==2.8.1"
    python -m benchmarks.rivals [--threads 2] [--rounds 2]

Slices of grey noise are segmented by a U-net of random weights, whose work does not depend on what it sees. Each way
runs in a process of its own, in turn, and is timed after its imports, from opening the file to the labels that lie
on the disk; its peak memory is that of the whole process.

- `cristae`: `cristae predict` of an OME-Zarr to an OME-Zarr, exact; `cristae flips` with the four mirrored copies.
- `monai`: `SliceInferer` with Gaussian weights over the volume as read from TIFF, to TIFF, overlapping by 0.5 or 0.25.
- `nnunet`: `nnUNetPredictor` of a 2D plan with its defaults on a CPU (steps of half a window, Gaussian weights), TIFF
  to TIFF; `nnunet flips` with mirroring. Two heads are made of the network's one: 0 for the background.

Windows are the network's training patch. `differing` is the fraction of voxels labelled otherwise than by Cristae.
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
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from torch import Tensor, nn

from benchmarks.machine import peak_bytes, write_result
from benchmarks.prediction import SIZE_NM, make_run, write_noise
from cristae.data.formats import open_image
from cristae.inference.prediction import open_prediction
from cristae.recipe.run import open_run

PATCH = (256, 256)


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--slices", type=int, default=4)
    options.add_argument("--side", type=int, default=2048)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--network", default="unet_bn")
    options.add_argument("--way", nargs=2, help=argparse.SUPPRESS)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.way:
        name, folder = asked.way
        WAYS[name](Path(folder))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_run(folder / "run", asked.network, "cpu")
        volume = write_noise(folder / "cell.zarr", (asked.slices, asked.side, asked.side))
        (folder / "tiff").mkdir()
        tifffile.imwrite(folder / "tiff" / "cell_0000.tif", open_image(volume).read())
        (folder / "tiff" / "cell.json").write_text(json.dumps({"spacing": list(SIZE_NM)}))
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS if installed(way)}
        for _ in range(asked.rounds):
            for way, seen in found.items():
                seen.append(apart(way, folder, asked.threads))
                print(way, seen[-1], flush=True)
        reference = {way: labels(folder / f"{way}.zarr") for way in ("cristae", "cristae flips")}
        figures = {way: summary(seen, asked.slices * asked.side**2) for way, seen in found.items()}
        for way, row in figures.items():
            own = "cristae flips" if "flips" in way else "cristae"
            row["times_the_time_of_cristae"] = round(row["seconds"] / figures[own]["seconds"], 2)
            if way not in reference:
                row["differing"] = round(float(np.mean(labels(folder / f"{way}.tif") != reference[own])), 5)
    settings = {"network": asked.network, "slices": [asked.slices, asked.side, asked.side], "window": list(PATCH)}
    print(json.dumps(figures, indent=2))
    write_result("rivals", {"versions": versions(), **settings, "rounds": asked.rounds, "ways": figures})


def installed(way: str) -> bool:
    """Whether the program of a way is there; says so where it is not."""
    program = {"monai": "monai", "nnunet": "nnunetv2"}.get(way.split()[0])
    there = program is None or find_spec(program) is not None
    if not there:
        print(f"{way} is left out: {program} is not installed")
    return there


def apart(way: str, folder: Path, threads: int) -> dict[str, float]:
    """Seconds and peak memory of a way in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.rivals", "--threads", str(threads), "--way", way, str(folder)]
    child = subprocess.run(command, capture_output=True, text=True)
    if child.returncode:
        sys.exit(f"{way} failed:\n{child.stderr}")
    found: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
    return found


def summary(seen: list[dict[str, float]], voxels: int) -> dict[str, Any]:
    """Medians of rounds."""
    seconds = statistics.median(one["seconds"] for one in seen)
    peak = max(one["peak_bytes"] for one in seen)
    return {
        "seconds": round(seconds, 2),
        "megavoxels_per_second": round(voxels / seconds / 1e6, 3),
        "peak_gib": round(peak / 2**30, 2),
    }


def versions() -> dict[str, str]:
    """Of the programs that are compared."""
    found = {}
    for name in ("cristae", "monai", "nnunetv2"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def labels(path: Path) -> np.ndarray:
    """The labels of a way, (z, y, x)."""
    if path.suffix == ".tif":
        return tifffile.imread(path)
    return np.asarray(open_prediction(path).labels[0].read())


def said(began: float) -> None:
    """The last line of a process."""
    print(json.dumps({"seconds": time.perf_counter() - began, "peak_bytes": peak_bytes()}))


def cristae(folder: Path, *, flips: bool = False) -> None:
    """Exact prediction."""
    import shutil

    from cristae.workflows.predict import predict

    run = folder / "run"
    if flips:
        run = folder / "run-flips"
        if not run.exists():
            shutil.copytree(folder / "run", run)
            recipe = run / "recipe.yaml"
            recipe.write_text(recipe.read_text().replace("test_time: none", "test_time: flips"))
    out = folder / ("cristae flips.zarr" if flips else "cristae.zarr")
    shutil.rmtree(out, ignore_errors=True)
    began = time.perf_counter()
    predict([run], folder / "cell.zarr", out=out)
    said(began)


def monai(folder: Path, *, overlap: float) -> None:
    """Slice by slice in windows that overlap."""
    from monai.inferers import SliceInferer

    network = open_run(folder / "run").build_network()
    inferer = SliceInferer(spatial_dim=0, roi_size=PATCH, sw_batch_size=8, overlap=overlap, mode="gaussian")
    began = time.perf_counter()
    image = torch.from_numpy(tifffile.imread(folder / "tiff" / "cell_0000.tif")).float() / 255
    with torch.inference_mode():
        logits = inferer(image[None, None], network)
    assert isinstance(logits, Tensor)
    tifffile.imwrite(folder / f"monai {overlap}.tif", (logits[0, 0] > 0).to(torch.uint8).numpy())
    said(began)


class TwoHeads(nn.Module):
    """A network with a head for the background, whose logit is 0."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, 2, Y, X)."""
        logits = self.network(image)
        return torch.cat([torch.zeros_like(logits), logits], 1)


def nnunet(folder: Path, *, flips: bool) -> None:
    """As nnU-Net predicts a case in one process."""
    os.environ.update({name: str(folder) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")})
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    network = TwoHeads(open_run(folder / "run").build_network())
    plans = PlansManager(plan_of_slices(open_image(folder / "cell.zarr").shape))
    predictor = nnUNetPredictor(use_mirroring=flips, device=torch.device("cpu"), allow_tqdm=False)
    facts = {
        "channel_names": {"0": "em"},
        "labels": {"background": 0, "mito": 1},
        "file_ending": ".tif",
        "numTraining": 1,
    }
    settings = plans.get_configuration("2d")
    predictor.manual_initialization(
        network, plans, settings, [network.state_dict()], facts, "nnUNetTrainer", (0, 1) if flips else None
    )
    name = folder / ("nnunet flips" if flips else "nnunet")
    began = time.perf_counter()
    predictor.predict_from_files_sequential([[str(folder / "tiff" / "cell_0000.tif")]], [str(name)])
    said(began)


def plan_of_slices(shape: tuple[int, int, int]) -> dict[str, Any]:
    """A 2D plan of nnU-Net for a volume of this shape, that resamples nothing."""
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    kinds = dict.fromkeys(("data", "seg", "probabilities"), "resample_data_or_seg_to_shape")
    settings = {
        "data_identifier": "nnUNetPlans_2d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 8,
        "patch_size": list(PATCH),
        "median_image_size_in_voxels": list(shape[1:]),
        "spacing": list(SIZE_NM[1:]),
        "normalization_schemes": ["RescaleTo01Normalization"],
        "use_mask_for_norm": [False],
        "batch_dice": True,
        "architecture": {"network_class_name": "", "arch_kwargs": {}, "_kw_requires_import": []},
        **{f"resampling_fn_{kind}": name for kind, name in kinds.items()},
        **{f"resampling_fn_{kind}_kwargs": resampling for kind in kinds},
    }
    return {
        "dataset_name": "Dataset001_cell",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(SIZE_NM),
        "original_median_shape_after_transp": list(shape),
        "image_reader_writer": "Tiff3DIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": {"2d": settings},
    }


WAYS: dict[str, Callable[[Path], None]] = {
    "cristae": cristae,
    "monai 0.5": lambda folder: monai(folder, overlap=0.5),
    "monai 0.25": lambda folder: monai(folder, overlap=0.25),
    "nnunet": lambda folder: nnunet(folder, flips=False),
    "cristae flips": lambda folder: cristae(folder, flips=True),
    "nnunet flips": lambda folder: nnunet(folder, flips=True),
}


if __name__ == "__main__":
    main()
