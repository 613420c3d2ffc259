"""Blocks that are counted by workers: the scores of one process, to the last bit."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prediction_files import write_prediction
from test_evaluate import VALUES, maps, recipe_at, save
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.cluster.jobs import Job, JobFailure
from cristae.cluster.options import ClusterOptions
from cristae.cluster.run import run_jobs
from cristae.data.classes import Classes
from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.errors import ScoreError, VolumeError
from cristae.evaluation import blocks
from cristae.evaluation.scoring import ledger, objects
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.workflows import evaluate_on_workers as module
from cristae.workflows.evaluate import evaluate

TWO = ClusterOptions(workers=2)
BINARY = Classes(names=("background", "mito"))
THREE = Classes(names=("background", "cell", "granule"))
SIZE_NM = (50.0, 10.0, 10.0)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_VOXELS", 2000)
    monkeypatch.setattr(objects, "_PIECE_VOXELS", 2000)


@pytest.fixture
def workers_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Groups are sent as they are to workers, but carried out in this process and in any order. Their names."""
    names: list[str] = []

    def instead(jobs: Sequence[Job], options: ClusterOptions, **rest: Any) -> tuple[JobFailure, ...]:
        assert options == TWO
        names.extend(job.key for job in jobs)
        order = random.Random(len(jobs))
        sent = [replace(one, arguments=pickle.loads(pickle.dumps(one.arguments)), cost=order.random()) for one in jobs]
        done = rest.pop("on_done")
        del rest["each"]
        return run_jobs(sent, on_done=lambda key, found: done(key, pickle.loads(pickle.dumps(found))), **rest)

    monkeypatch.setattr(module, "run_jobs", instead)
    return names


def probabilities(truth: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 0.3, truth.shape)
    return np.rint(255 * np.clip(truth * 0.6 + 0.2 + noise, 0, 1)).astype(np.uint8)


def labels_of_two_methods(folder: Path) -> dict[str, Any]:
    """Two predictions of three classes in a folder of their own each, with intervals over slices."""
    for number, name in enumerate(("one", "other")):
        truth, prediction = maps(3, seed=number)
        save(folder / f"{name}.tif", prediction)
    save(folder / "truth.tif", truth)
    both = {name: folder / f"{name}.tif" for name in ("one", "other")}
    options = ScoreOptions(unit="slice", voxel_size_nm=SIZE_NM)
    return {"prediction": both, "truth": folder / "truth.tif", "classes": THREE, "options": options}


def a_membrane_with_probabilities(folder: Path) -> dict[str, Any]:
    truth, _ = maps(2)
    grey = probabilities(truth)
    names = Classes(names=("background", "membrane"), borders=("membrane",))
    path = write_prediction(folder / "found.zarr", (grey > 127)[None].astype(np.uint8), names, probabilities=grey[None])
    write_image(image_of_array(truth, voxel_size_nm=SIZE_NM), folder / "truth.tif")
    return {"prediction": path, "truth": folder / "truth.tif"}


def object_ids(folder: Path) -> dict[str, Any]:
    truth, prediction = maps(7)
    save(folder / "truth.tif", truth.astype(np.uint16))
    save(folder / "found.tif", prediction.astype(np.uint16))
    options = ScoreOptions(objects=True)
    return {"prediction": folder / "found.tif", "truth": folder / "truth.tif", "options": options}


def a_volume_of_a_recipe(folder: Path) -> dict[str, Any]:
    """Named by its name, with a mask."""
    truth, prediction = maps(2)
    save(folder / "truth.tif", truth * 255)
    save(folder / "image.tif", truth)
    save(folder / "found.tif", prediction)
    mask = np.zeros(truth.shape, np.uint8)
    mask[1:4, 5:] = 1
    save(folder / "mask.tif", mask)
    recipe = recipe_at(folder, VALUES)
    return {"prediction": "found.tif", "truth": "cell", "recipe": recipe, "mask": "mask.tif"}


@pytest.mark.parametrize(
    "case", [labels_of_two_methods, a_membrane_with_probabilities, object_ids, a_volume_of_a_recipe]
)
def test_scores_are_those_of_one_process(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_blocks: None,
    workers_here: list[str],
    case: Callable[[Path], dict[str, Any]],
) -> None:
    monkeypatch.chdir(tmp_path)
    how = case(tmp_path)
    alone = evaluate(**how, out="alone.csv")
    found = evaluate(**how, out="workers.csv", cluster=TWO)
    assert repr(found) == repr(alone)
    tables = {path.name.split(".", 1)[1] for path in tmp_path.glob("alone.*")}
    assert "csv" in tables
    for kind in tables:
        assert (tmp_path / f"workers.{kind}").read_bytes() == (tmp_path / f"alone.{kind}").read_bytes(), kind
    assert len(workers_here) > 4
    assert not any("3D" in name for name in workers_here), "their components are those of the whole volume"


def test_what_was_counted_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_blocks: None, workers_here: list[str]
) -> None:
    """Ctrl-C in the middle; the same command goes on, also without workers."""
    how = labels_of_two_methods(tmp_path)
    real, left = module.count_group, [22]

    def stopping(*arguments: Any, **rest: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(*arguments, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(module, "count_group", stopping)
        with pytest.raises(KeyboardInterrupt):
            evaluate(**how, out=tmp_path / "scores.csv", cluster=TWO)
    kept = ledger.Ledger.at(tmp_path / ".scores.progress.npz", "")
    assert (tmp_path / ".scores.progress.npz").is_file()
    assert kept.done == {}, "of another key"
    first = len(workers_here)
    workers_here.clear()
    found = evaluate(**how, out=tmp_path / "scores.csv", cluster=TWO)
    assert len(workers_here) < first
    assert repr(found) == repr(evaluate(**how))
    assert not (tmp_path / ".scores.progress.npz").exists()


def test_what_is_wrong_in_a_block_is_told_as_in_one_process(
    tmp_path: Path, small_blocks: None, workers_here: list[str]
) -> None:
    truth, prediction = maps(2)
    prediction[3, 20, 20] = 9
    save(tmp_path / "truth.tif", truth)
    path = write_prediction(tmp_path / "found.zarr", prediction[None], BINARY)
    with pytest.raises(ScoreError) as alone:
        evaluate(path, tmp_path / "truth.tif")
    with pytest.raises(ScoreError, match="slice 3 of") as told:
        evaluate(path, tmp_path / "truth.tif", out=tmp_path / "scores.csv", cluster=TWO)
    assert str(told.value) == str(alone.value)
    assert not list(tmp_path.glob(".scores*"))


def test_what_is_in_memory_goes_to_no_worker(tmp_path: Path) -> None:
    truth, prediction = maps(2)
    save(tmp_path / "truth.tif", truth)
    with pytest.raises(VolumeError, match="is open in this process only, so that no worker can read it"):
        evaluate(image_of_array(prediction), tmp_path / "truth.tif", classes=BINARY, cluster=TWO)


@pytest.mark.slow
def test_the_command_on_two_workers(tmp_path: Path) -> None:
    truth, prediction = maps(2, shape=(24, 60, 60))
    save(tmp_path / "truth.tif", truth)
    path = write_prediction(tmp_path / "found.zarr", prediction[None], BINARY)
    what = ["evaluate", "--prediction", str(path), "--truth", str(tmp_path / "truth.tif")]
    scores = ["--scores", "overlap,partition,instances,surfaces"]
    for out, more in (("alone", []), ("workers", ["--workers", "2"])):
        result = CliRunner().invoke(app, [*what, *scores, "--out", str(tmp_path / f"{out}.csv"), *more])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "workers.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()
    assert (tmp_path / "workers.slices.csv").read_bytes() == (tmp_path / "alone.slices.csv").read_bytes()
