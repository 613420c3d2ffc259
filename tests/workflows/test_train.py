"""From a recipe to a run folder: what it holds, what is refused, and that a killed training loses nothing."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from training_data import write_discs

from cristae.errors import (
    CristaeError,
    LabelError,
    NetworkError,
    OutputExistsError,
    RecipeError,
    RunError,
    TrainingError,
    VolumeError,
    VoxelSizeError,
)
from cristae.metrics.score import read_scores
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.run import open_run, read_metrics
from cristae.workflows.train import train


def test_a_run_holds_everything(tmp_path: Path) -> None:
    recipe = write_discs(tmp_path, epochs=8)
    run = train(load_recipe(recipe), out=tmp_path / "run")
    names = {path.name for path in run.path.iterdir()}
    data = {"recipe.yaml", "metrics.csv", "provenance.json", "summary.json", "report.html", "scores.csv"}
    assert data | {"weights.safetensors", "last.ckpt"} <= names
    assert "cache" not in names
    rows = read_metrics(run)
    assert [int(row["epoch"]) for row in rows] == list(range(1, 9))
    best = max(float(row["val_miou"]) for row in rows)
    assert run.summary["best_val_miou"] == pytest.approx(best)
    (score,) = [
        s for s in read_scores(run.path / "scores.csv") if s.metric == "mIoU" and "background included" in s.rule
    ]
    assert score.value == pytest.approx(best, abs=1e-6)
    assert best > 0.8
    assert run.voxel_size_nm == (50, 10, 10)
    reopened = open_run(run.path)
    network = reopened.build_network()
    again = open_run(run.path).build_network()
    pairs = zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    recipe = load_recipe(write_discs(tmp_path, epochs=2))
    one, two = train(recipe, out=tmp_path / "one"), train(recipe, out=tmp_path / "two")
    assert one.weights_path.read_bytes() == two.weights_path.read_bytes()


@pytest.mark.slow
def test_a_named_loss_and_its_written_out_sum_train_to_the_same_bytes(tmp_path: Path) -> None:
    path = write_discs(tmp_path, epochs=2)
    targets = "targets={name: sample_bf, cap: 10}"
    written = "loss={name: sum, l2: 1e-4, terms: [{name: binary_cross_entropy}, {name: jaccard_distance}]}"
    named = train(load_recipe(path, [targets, "loss={name: seget}"]), out=tmp_path / "named")
    summed = train(load_recipe(path, [targets, written]), out=tmp_path / "summed")
    assert named.weights_path.read_bytes() == summed.weights_path.read_bytes()
    other = train(load_recipe(path, [targets, written.replace("1e-4", "1e-3")]), out=tmp_path / "other")
    assert named.weights_path.read_bytes() != other.weights_path.read_bytes()


def test_a_run_of_an_earlier_version_opens_and_continues(tmp_path: Path) -> None:
    path = write_discs(tmp_path, epochs=1)
    run = train(load_recipe(path), out=tmp_path / "run")
    text = (run.path / "recipe.yaml").read_text()
    assert "auxiliary_weights: null" in text
    (run.path / "recipe.yaml").write_text(text.replace("auxiliary_weights", "head_weights"))
    assert open_run(run.path).recipe.loss == run.recipe.loss
    longer = train(load_recipe(path, ["training.epochs=2"]), out=run.path, resume=True)
    assert len(read_metrics(longer)) == 2
    assert "auxiliary_weights: null" in (run.path / "recipe.yaml").read_text()


def test_sparse_labels_train_and_score_only_where_they_are(tmp_path: Path) -> None:
    recipe = load_recipe(write_discs(tmp_path, epochs=1, labelled=(1, 4, 9)))
    run = train(recipe, out=tmp_path / "run")
    voxels = {s.n for s in read_scores(run.path / "scores.csv") if s.rule.endswith("pooled; n=voxels")}
    assert voxels == {61 * 70}


def test_a_finished_run_is_neither_trained_again_nor_overwritten(tmp_path: Path) -> None:
    recipe = load_recipe(write_discs(tmp_path, epochs=1))
    run = train(recipe, out=tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in run.path.iterdir()}
    with pytest.raises(OutputExistsError, match="--resume"):
        train(recipe, out=tmp_path / "run")
    train(recipe, out=tmp_path / "run", resume=True)
    after = {path: path.stat().st_mtime_ns for path in run.path.iterdir()}
    del before[run.path / "recipe.yaml"], after[run.path / "recipe.yaml"]
    assert before == after


REFUSED: list[tuple[str, str, str, type[CristaeError], str]] = [
    ("[32, 32]", "[4, 32, 32]", "patch axes", RecipeError, "3 axes"),
    ("slices: 8:10", "slices: 5:10", "overlap", VolumeError, "overlap"),
    ("slices: 8:10", "slices: 8:11", "outside", VolumeError, "10"),
    ("validate: [{volume: stack, slices: 8:10}]", "validate: []", "nothing to validate", RecipeError, "data.validate"),
    ("volume: stack, slices: 8:10", "volume: stak, slices: 8:10", "unknown volume", RecipeError, "stack"),
    ("names: [background, disc]", "names: [background, disc, ring]", "class without voxels", LabelError, "ring"),
    ("255: disc", "254: disc", "unmapped value", LabelError, "255"),
    ("batch_size: 8", "batch_size: 9, devices: 2", "uneven share", RecipeError, "multiple"),
    ("per_epoch: 24", "per_epoch: 7", "less than a batch", RecipeError, "only 7 patches"),
    ("widths: [4, 8, 16]", "widths: [4, 8, 100000000]", "too large a network", NetworkError, "smaller widths"),
]


@pytest.mark.parametrize(("old", "new", "case", "error", "text"), REFUSED, ids=[row[2] for row in REFUSED])
def test_what_cannot_work_is_refused_with_the_cure(
    tmp_path: Path, old: str, new: str, case: str, error: type[CristaeError], text: str
) -> None:
    path = write_discs(tmp_path, epochs=1)
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
    with pytest.raises(error, match=text):
        train(load_recipe(path), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_cannot_be_made_shorter_than_it_is(tmp_path: Path) -> None:
    path = write_discs(tmp_path, epochs=3)
    train(load_recipe(path), out=tmp_path / "run")
    with pytest.raises(RunError, match="3 epochs are done"):
        train(load_recipe(path, ["training.epochs=2"]), out=tmp_path / "run", resume=True)
    assert open_run(tmp_path / "run").recipe.training.epochs == 3
    assert train(load_recipe(path, ["training.epochs=4"]), out=tmp_path / "run", resume=True).summary["epochs"] == 4


def test_batches_without_a_finite_loss_stay_to_be_looked_at(tmp_path: Path) -> None:
    """Also where the training has not got as far as a checkpoint, and nothing else of it is kept."""
    recipe = write_discs(tmp_path, epochs=1)
    huge = ["training.learning_rate=1e30", "training.optimizer=sgd"]
    with pytest.raises(TrainingError, match="not finite") as caught:
        train(load_recipe(recipe, huge), out=tmp_path / "run")
    (saved,) = (tmp_path / "run" / "nonfinite").iterdir()
    assert str(saved) in str(caught.value)
    assert "train in fp32" not in str(caught.value)


def test_skipped_updates_are_told_and_no_criterion_keeps_weights_that_it_cannot_judge(tmp_path: Path) -> None:
    skip = ["training.learning_rate=1e30", "training.optimizer=sgd", "training.nonfinite=skip"]
    told = Warned()
    recipe = load_recipe(write_discs(tmp_path, epochs=2), [*skip, "training.criteria=[miou, loss]"])
    run = train(recipe, out=tmp_path / "run", progress=told)
    skipped = sum(int(row["skipped_updates"]) for row in read_metrics(run))
    assert run.summary["skipped_updates"] == skipped > 0
    assert f"{skipped} updates were skipped" in told.warnings[-1]
    assert all(row["val_loss"] == "" for row in read_metrics(run))
    assert set(run.summary["kept"]) == {"miou"}
    with pytest.raises(RunError, match="keeps no weights of the criterion 'loss'"):
        open_run(f"{run.path}:loss")


class Warned(Progress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def test_a_kill_before_the_page_is_made_good(tmp_path: Path) -> None:
    recipe = load_recipe(write_discs(tmp_path, epochs=1))
    run = train(recipe, out=tmp_path / "run")
    (run.path / "report.html").unlink()
    train(recipe, out=tmp_path / "run", resume=True)
    assert (run.path / "report.html").exists()


def test_each_volume_can_have_its_own_grey_range(tmp_path: Path) -> None:
    path = write_discs(tmp_path, epochs=1)
    path.write_text(path.read_text() + "normalize: {scope: volume}\n")
    run = train(load_recipe(path), out=tmp_path / "run")
    assert run.model.normalizer.low < run.model.normalizer.high


def test_validation_where_nothing_counts_is_refused(tmp_path: Path) -> None:
    path = write_discs(tmp_path, epochs=1)
    (tmp_path / "valid").mkdir()
    for z in range(10):
        mask = np.full((61, 70), 255 if z < 8 else 0, np.uint8)
        Image.fromarray(mask).save(tmp_path / "valid" / f"{z:02d}.png")
    path.write_text(path.read_text().replace("    - name: stack\n", "    - name: stack\n      valid: {path: valid}\n"))
    with pytest.raises(LabelError, match=r"data\.validate"):
        train(load_recipe(path), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_working_voxel_size_resamples_the_training_data(tmp_path: Path) -> None:
    path = write_discs(tmp_path, epochs=1)
    content = path.read_text().replace("  train:", "  voxel_size_nm: [50, 20, 20]\n  train:")
    path.write_text(content.replace("size: [32, 32]", "size: [16, 16]"))
    run = train(load_recipe(path), out=tmp_path / "run")
    assert run.voxel_size_nm == (50, 20, 20)


def test_volumes_of_different_voxel_size_need_a_working_one(tmp_path: Path) -> None:
    path = write_discs(tmp_path, epochs=1)
    lines = path.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if "- name: stack" in line)
    second = [
        line.replace("stack", "other").replace("[50, 10, 10]", "[50, 12, 12]").replace(": image", ": copy")
        for line in lines[start : start + 4]
    ]
    path.write_text(
        "\n".join([*lines[: start + 4], *second, *lines[start + 4 :]]).replace(
            "train: [{volume: stack, slices: 0:6}]",
            "train: [{volume: stack, slices: 0:6}, {volume: other, slices: 0:6}]",
        )
    )
    shutil.copytree(tmp_path / "image", tmp_path / "copy")
    with pytest.raises(VoxelSizeError, match=r"data\.voxel_size_nm"):
        train(load_recipe(path), out=tmp_path / "run")


def test_images_of_different_sizes_and_overlapping_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for kind in ("image", "a", "b"):
        (tmp_path / kind).mkdir()
    for i, shape in enumerate([(40, 50), (33, 61), (52, 47)]):
        a, b = rng.random(shape) > 0.6, rng.random(shape) > 0.7
        Image.fromarray((a * 90 + b * 60 + rng.random(shape) * 30).astype(np.uint8)).save(tmp_path / f"image/{i}.png")
        Image.fromarray((a * 255).astype(np.uint8)).save(tmp_path / f"a/{i}.png")
        Image.fromarray((b * 255).astype(np.uint8)).save(tmp_path / f"b/{i}.png")
    (tmp_path / "recipe.yaml").write_text(
        """\
name: overlap
data:
  classes: {names: [a, b], exclusive: false}
  volumes:
    - {name: set, kind: images, image: image, labels: {kind: masks, masks: {a: {path: a}, b: {path: b}}}}
  train: [{volume: set, images: ["0", "1"]}]
  validate: [{volume: set, images: ["2"]}]
model: {name: unet_bn, widths: [4, 8]}
loss: {name: seget}
sampling: {name: grid, size: [32, 32], stride: [16, 16]}
targets: {name: sample_bf, cap: 10}
training: {epochs: 2, batch_size: 4}
device: cpu
"""
    )
    run = train(load_recipe(tmp_path / "recipe.yaml"), out=tmp_path / "run")
    (row, _) = read_metrics(run)
    assert {"val_iou_a", "val_iou_b", "val_miou"} <= set(row)
    assert {s.volume for s in read_scores(run.path / "scores.csv")} == {"set/2"}


def command(recipe: Path, out: Path, *more: str) -> list[str]:
    return [str(Path(sys.executable).with_name("cristae")), "train", str(recipe), "--out", str(out), *more]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def finish(recipe: Path, out: Path) -> bytes:
    """Resume until done and give the weights' bytes."""
    subprocess.run(command(recipe, out, "--resume"), check=True, capture_output=True, env=environment())
    return (out / "weights.safetensors").read_bytes()


def killed_when(ready: Callable[[], bool], recipe: Path, out: Path, how: signal.Signals) -> int:
    """Start a training, kill it when `ready`, and give the exit code."""
    process = subprocess.Popen(
        command(recipe, out, "--resume"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
        # A shell's background jobs ignore SIGINT and hand that down; a person's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not ready():
        time.sleep(0.01)
    process.send_signal(how)
    return process.wait(60)


def epochs_done(out: Path) -> int:
    path = out / "metrics.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.slow
def test_killed_and_interrupted_training_runs_end_with_the_same_weights(tmp_path: Path) -> None:
    recipe, out = write_discs(tmp_path, epochs=90), tmp_path / "run"
    whole = finish(recipe, tmp_path / "undisturbed")
    assert killed_when(lambda: epochs_done(out) >= 1, recipe, out, signal.SIGKILL) == -signal.SIGKILL
    assert killed_when(lambda: epochs_done(out) >= 3, recipe, out, signal.SIGINT) == 130
    assert finish(recipe, out) == whole


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ten_kills_at_any_moment(tmp_path: Path) -> None:
    recipe = write_discs(tmp_path, epochs=12)
    began = time.monotonic()
    whole = finish(recipe, tmp_path / "undisturbed")
    seconds = time.monotonic() - began
    for number in range(10):
        out = tmp_path / f"run{number}"
        moment = time.monotonic() + seconds * (number + 0.5) / 10
        killed_when(lambda moment=moment: time.monotonic() > moment, recipe, out, signal.SIGKILL)
        assert finish(recipe, out) == whole, f"killed after {(number + 0.5) / 10:.0%}"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo on loopback")
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    recipe, out = write_discs(tmp_path, epochs=8), tmp_path / "run"
    subprocess.run(
        command(recipe, out, "--set", "training.devices=2"), check=True, capture_output=True, env=environment()
    )
    run = open_run(out)
    assert run.summary["best_val_miou"] > 0.8
    assert len(read_metrics(run)) == 8


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo on loopback")
def test_two_processes_resume_within_an_epoch(tmp_path: Path) -> None:
    recipe = write_discs(tmp_path, epochs=2)
    both = [f"--set=training.{one}" for one in ("devices=2", "checkpoint_minutes=1e-6", "nonfinite=skip")]
    both.append("--set=sampling.per_epoch=208")
    for name in ("whole", "run"):
        process = subprocess.Popen(command(recipe, tmp_path / name, *both), env=environment())
        if name == "run":
            while process.poll() is None and not (tmp_path / name / "last.ckpt").exists():
                time.sleep(0.01)
            process.kill()
        process.wait(300)
    assert epochs_done(tmp_path / "run") == 0, "the checkpoint is of the middle of the first epoch"
    subprocess.run(command(recipe, tmp_path / "run", *both, "--resume"), check=True, env=environment())
    runs = [open_run(tmp_path / name) for name in ("whole", "run")]
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run)] for run in runs]
    assert rows[0] == rows[1]
    assert len({run.weights_path.read_bytes() for run in runs}) == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_stops_two_processes_with_a_checkpoint(tmp_path: Path) -> None:
    """Epochs of 26 batches, after 20 of which they ask each other; resumed, they end with the same bytes."""
    recipe = write_discs(tmp_path, epochs=2)
    both = [f"--set={one}" for one in ("training.devices=2", "sampling.per_epoch=208")]
    subprocess.run(command(recipe, tmp_path / "whole", *both), check=True, capture_output=True, env=environment())
    with subprocess.Popen(
        command(recipe, tmp_path / "run", *both), stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        while process.poll() is None and not epochs_done(tmp_path / "run"):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 130, said
    assert "stopping after at most 20 batches" in said
    assert "26/52 batches" in said or "46/52 batches" in said, "at the end of the first epoch, or within the second"
    subprocess.run(command(recipe, tmp_path / "run", *both, "--resume"), check=True, env=environment())
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("run", "whole")]
    assert weights[0] == weights[1]


SCRIPT = """\
import sys
from pathlib import Path
import cristae

with Path(sys.argv[3]).open("a") as file:
    file.write("began\\n")
recipe = cristae.load_recipe(sys.argv[1], ["training.devices=2"])
run = cristae.train(recipe, out=sys.argv[2], resume=True)
with Path(sys.argv[3]).open("a") as file:
    file.write(f"trained {run.summary['best_epoch']}\\n")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo on loopback")
def test_a_script_that_trains_on_several_devices_runs_once_and_continues(tmp_path: Path) -> None:
    recipe, out, script = write_discs(tmp_path, epochs=2), tmp_path / "run", tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(recipe), str(out), str(tmp_path / "log")]
    subprocess.run(command, check=True, capture_output=True, env=environment())
    assert (tmp_path / "log").read_text().splitlines() == ["began", f"trained {open_run(out).summary['best_epoch']}"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_process_that_is_killed_ends_the_others_and_the_run_resumes(tmp_path: Path) -> None:
    recipe = write_discs(tmp_path, epochs=12)
    both = ("--set", "training.devices=2", "--resume")
    subprocess.run(command(recipe, tmp_path / "whole", *both), check=True, capture_output=True, env=environment())
    out = tmp_path / "run"
    with subprocess.Popen(
        command(recipe, out, *both), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        while not epochs_done(out):
            time.sleep(0.01)
        workers = psutil.Process(process.pid).children(recursive=True)
        second = next(one for one in workers if one.environ().get("LOCAL_RANK") == "1")
        second.kill()
        assert "process 2 of 2 was killed by signal 9" in process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert not any(worker.is_running() for worker in workers)
    assert 0 < epochs_done(out) < 12
    subprocess.run(command(recipe, out, *both), check=True, capture_output=True, env=environment())
    weights = [(place / "weights.safetensors").read_bytes() for place in (out, tmp_path / "whole")]
    assert weights[0] == weights[1]
