"""Runs of every kind of network, from the run folder to the OME-Zarr, in blocks and as a whole."""

from pathlib import Path

import numpy as np
import pytest
import torch
from prediction_runs import MITO, cell, make_run, textured

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.errors import RunError
from cristae.inference.config import PredictOptions
from cristae.inference.predictor import Predictor
from cristae.progress import Progress
from cristae.recipe.matching import member_of
from cristae.recipe.run import Run, open_run
from cristae.report.prediction_page import prediction_page
from cristae.workflows.predict import predict

KEEP = PredictOptions(probabilities=True)
THREE = Classes(names=("background", "mito", "granule"))
KINDS: dict[str, tuple[str, tuple[int, ...], str | None]] = {
    "2D": ("{name: unet_bn, widths: [4, 8]}", (32, 32), None),
    "2.5D": ("{name: unet_bn, widths: [4, 8], slices: 3}", (32, 32), None),
    "2D, valid": ("{name: unet_valid, base: 2, depth: 3}", (36, 36), None),
    "3D": ("{name: unet_3d, base: 2, shape: thick}", (8, 32, 32), None),
    "3D with a margin": ("{name: unet_3d, base: 2}", (5, 32, 32), None),
    "2D-3D": ("{name: hybrid_2d3d, base: 2}", (5, 24, 24), None),
    "3D, not local": ("{name: hybrid_2d3d_port, base: 2}", (5, 24, 24), "farthest"),
    "3D of one size": ("{name: deepvess, base: 2}", (1, 5, 5), "tiles"),
}


class Said(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def whole(run: Run, grey: np.ndarray) -> np.ndarray:
    """Probabilities (K, Z, Y, X), all at once."""
    image = cell(grey).image
    predictor = Predictor([member_of(run, image, run.normalizer, Progress())])
    with predictor.predicting():
        return predictor.probabilities(image, Box.of_shape(image.shape)).numpy()


@pytest.mark.parametrize(("model", "size", "rule"), KINDS.values(), ids=KINDS)
def test_every_kind_of_network(tmp_path: Path, model: str, size: tuple[int, ...], rule: str | None) -> None:
    shape = (4, 21, 26) if "deepvess" in model else (5, 45, 61)
    grey, blocks = textured(shape), "block_vox: [2, 16, 24]"
    run = make_run(tmp_path / "run", model=model, patch_size=size, predict=blocks, classes=THREE)
    found = predict([run], cell(grey), out=tmp_path / "out.zarr", options=KEEP)
    windows = found.attributes["runs"][0]["windows"]
    assert (windows and windows["rule"]) == rule
    expected = whole(run, grey)
    assert expected.std() > 1e-4
    kept = np.stack([image.read() for image in found.probabilities])
    assert np.abs(kept - 255 * expected).max() < 0.52
    part = predict([run], cell(grey), out=tmp_path / "part.zarr", options=KEEP, box="1:3,7:20,11:26")
    for one, other in zip(part.probabilities, found.probabilities, strict=True):
        assert np.abs(one.read().astype(int) - other.read(part.box)).max() <= 1


def test_networks_of_every_kind_are_fused(tmp_path: Path) -> None:
    grey = textured((5, 45, 61))
    kinds = ("2D", "2.5D", "2D, valid", "2D-3D", "3D, not local")
    runs = [
        make_run(tmp_path / f"run{n}", model=KINDS[kind][0], patch_size=KINDS[kind][1], seed=n)
        for n, kind in enumerate(kinds)
    ]
    mean = predict(runs, cell(grey), out=tmp_path / "mean.zarr", options=KEEP)
    expected = np.mean([whole(run, grey) for run in runs], axis=0)
    assert np.abs(mean.probabilities[0].read() - 255 * expected[0]).max() < 0.52


@pytest.mark.parametrize("rule", ["gaussian", "centre_third", "farthest", "tiles"])
def test_windows_that_the_recipe_asks_for(tmp_path: Path, rule: str) -> None:
    settings = f"block_vox: [2, 16, 24], windows: {rule}"
    run, grey, progress = make_run(tmp_path / "run", predict=settings), textured((3, 45, 61)), Said()
    found = predict([run], cell(grey), out=tmp_path / "out.zarr", options=KEEP, progress=progress)
    assert any(f"windows of 32 x 32 voxels, joined by the rule '{rule}'" in line for line in progress.lines)
    assert np.abs(found.probabilities[0].read() - 255 * whole(run, grey)[0]).max() < 0.52
    seams = found.attributes["seams"]
    assert seams["near"] + seams["inside"] == 2 * 45 * 61
    assert sum("seams show: with windows in other places" in line for line in progress.lines + progress.warnings) == 1
    assert "Where windows meet" in prediction_page(found)
    exact = make_run(tmp_path / "exact")
    assert np.abs(whole(run, grey) - whole(exact, grey)).max() > 1e-3, "windows make a difference here"


def test_what_cannot_be_exact_is_reported_and_writes_nothing(tmp_path: Path) -> None:
    model, size, _ = KINDS["3D, not local"]
    run = make_run(tmp_path / "run", model=model, patch_size=size, predict="windows: exact")
    with pytest.raises(RunError, match=r"predict\.windows.*instance_norm.*set it to auto, which takes farthest"):
        predict([run], cell(), out=tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(("asked", "better", "used"), [("auto", "farthest", "farthest"), ("exact", "farthest", None)])
def test_what_training_found_better_is_the_default(tmp_path: Path, asked: str, better: str, used: str | None) -> None:
    model, size, _ = KINDS["3D"]
    facts = {"application": {"better": better, "val_miou": {"exact": 0.5, better: 0.6}}}
    run = make_run(tmp_path / "run", model=model, patch_size=size, predict=f"windows: {asked}", facts=facts)
    found = predict([open_run(run.path)], cell(textured((3, 30, 30))), out=tmp_path / "out.zarr")
    windows = found.attributes["runs"][0]["windows"]
    assert (windows and windows["rule"]) == used


def test_a_damaged_default_is_reported(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", facts={"application": {"better": "nearest"}})
    with pytest.raises(RunError, match=r"application\.better: 'nearest' is unknown"):
        predict([run], cell(), out=tmp_path / "out.zarr")


def test_a_3d_network_between_voxel_sizes(tmp_path: Path) -> None:
    """All three axes count for it: slices twice as far apart are resampled too, and it works in windows there."""
    model, size, _ = KINDS["3D, not local"]
    run, progress = make_run(tmp_path / "run", model=model, patch_size=size, classes=MITO), Said()
    volume = cell(textured((4, 40, 40)), voxel_size_nm=(80.0, 10.0, 10.0))
    found = predict([run], volume, out=tmp_path / "out.zarr", options=KEEP, progress=progress)
    assert any("resampled from 80 x 10 x 10 nm to 40 x 10 x 10 nm" in line for line in progress.lines)
    assert found.labels[0].shape == (4, 40, 40)
    assert torch.from_numpy(found.probabilities[0].read()).float().std() > 0


@pytest.mark.parametrize("kind", ["2D", "2.5D"])
def test_another_distance_of_slices_is_reported_where_neighbours_are_channels(tmp_path: Path, kind: str) -> None:
    run, progress = make_run(tmp_path / "run", model=KINDS[kind][0]), Said()
    volume = cell(textured((3, 40, 40)), voxel_size_nm=(80.0, 10.0, 10.0))
    predict([run], volume, out=tmp_path / "out.zarr", progress=progress)
    warnings = [line for line in progress.warnings if "80 nm apart, those of the training 40 nm" in line]
    assert len(warnings) == (kind == "2.5D")
