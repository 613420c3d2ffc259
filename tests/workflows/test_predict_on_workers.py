"""Blocks that are predicted by workers: the bytes of one process, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prediction_runs import SIZE_NM, cell, make_run, textured
from test_predict import KEEP, ORGANELLES, Killed, assert_same, stop_after
from test_predict_killed import count_lines
from typer.testing import CliRunner

from cristae.cli.main import app
from cristae.cluster.groups import groups_of
from cristae.cluster.jobs import Job, JobFailure, error_of
from cristae.cluster.options import ClusterOptions
from cristae.cluster.run import run_jobs
from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.errors import ClusterError, CristaeError, MissingFileError, RunError, VolumeError
from cristae.inference.config import PredictOptions
from cristae.inference.journal import PATTERN
from cristae.inference.memory import find_budget
from cristae.inference.plan import BlockPlan
from cristae.inference.prediction import open_prediction
from cristae.progress import Progress
from cristae.workflows import predict_parts as module
from cristae.workflows.predict import plan_prediction, predict

TWO = ClusterOptions(workers=2)
GIB = 2**30
Start = Callable[[list[str]], subprocess.Popen[str]]


class Said(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def warn(self, message: str) -> None:
        self.warned.append(message)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sums of floats depend on the number of threads in their last bits: here and on workers it is one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path, Path]:
    """Two runs, a volume and a mask on disk, in 108 blocks."""
    folder, model = tmp_path_factory.mktemp("files"), "{name: unet_bn, widths: [16, 32, 64]}"
    runs = [make_run(folder / f"run{n}", classes=ORGANELLES, model=model, seed=n).path for n in range(2)]
    grey = textured((12, 96, 144))
    write_image(cell(grey).image, folder / "cell.tif")
    inside = np.ones(grey.shape, np.uint8)
    inside[:, :40, :50] = 0
    write_image(image_of_array(inside, voxel_size_nm=SIZE_NM), folder / "mask.tif")
    return runs, folder / "cell.tif", folder / "mask.tif"


@pytest.fixture(scope="module")
def whole(files: tuple[list[Path], Path, Path]) -> Path:
    """What one process makes of them."""
    runs, volume, mask = files
    torch.set_num_threads(1)
    return predict(runs, volume, out=volume.with_name("whole.zarr"), mask=mask, options=KEEP).path


def digests(path: Path) -> tuple[str, str, int]:
    """What the journals came to: of all that was read, of all that was written, and how many blocks."""
    about = open_prediction(path).attributes
    return about["input_sha256"], about["output_sha256"], about["blocks"]


@given(st.integers(0, 3000), st.integers(1, 64))
def test_groups_are_all_blocks_in_their_order_and_end_with_single_ones(blocks: int, workers: int) -> None:
    groups = list(groups_of(blocks, workers))
    assert [number for group in groups for number in group] == list(range(blocks))
    sizes = [len(group) for group in groups]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[:1] == ([max(1, blocks // (4 * workers))] if blocks else [])
    assert sizes[-min(workers, blocks) :] == [1] * min(workers, blocks), "all workers end at about the same time"


def test_two_workers_go_on_with_what_one_process_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[list[Path], Path, Path], whole: Path
) -> None:
    runs, volume, mask = files
    what: dict[str, Any] = {"out": tmp_path / "out.zarr", "mask": mask, "options": KEEP}
    with monkeypatch.context() as patch:
        stop_after(patch, 20)
        with pytest.raises(Killed):
            predict(runs, volume, **what)
    begun = count_lines(tmp_path / "out.zarr")
    assert begun == 20
    heard = Said()
    found = predict(runs, volume, **what, cluster=TWO, progress=heard)
    assert f"{found.path}: {begun} of 108 blocks are there already" in heard.said
    assert heard.warned == []
    assert not [line for line in heard.said if "done in" in line], "the bar is enough"
    assert digests(found.path) == digests(whole)
    assert_same(whole, found.path)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_the_command_on_any_number_of_workers(
    tmp_path: Path, files: tuple[list[Path], Path, Path], whole: Path, workers: int
) -> None:
    process = subprocess.run(
        command(files, tmp_path / "out.zarr", "--workers", str(workers)), capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == str(tmp_path / "out.zarr")
    assert digests(tmp_path / "out.zarr") == digests(whole)
    assert_same(whole, tmp_path / "out.zarr")


@pytest.fixture
def workers_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Groups are sent as they are to workers, but carried out in this process, which starts faster. Their names."""
    names: list[str] = []

    def instead(jobs: Sequence[Job], options: ClusterOptions, **rest: Any) -> tuple[JobFailure, ...]:
        assert options == TWO
        names.extend(job.key for job in jobs)
        sent = [replace(one, arguments=pickle.loads(pickle.dumps(one.arguments))) for one in jobs]
        return run_jobs(sent, ClusterOptions(), **{key: value for key, value in rest.items() if key != "each"})

    monkeypatch.setattr(module, "run_jobs", instead)
    return names


def test_networks_stay_open_from_group_to_group(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: tuple[list[Path], Path, Path],
    whole: Path,
    workers_here: list[str],
) -> None:
    runs, volume, mask = files
    opened: list[str] = []
    real = module.open_member
    monkeypatch.setattr(module, "open_member", lambda spec: (opened.append(spec.path), real(spec))[1])
    found = predict(runs, volume, out=tmp_path / "out.zarr", mask=mask, options=KEEP, cluster=TWO)
    assert digests(found.path) == digests(whole)
    assert workers_here[:2] == ["blocks 0 to 12", "blocks 13 to 23"]
    assert workers_here[-1] == "block 107"
    assert opened == [str(run) for run in runs]
    module._kept.cache_clear()


def test_what_a_worker_cannot_do_ends_the_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[list[Path], Path, Path], workers_here: list[str]
) -> None:
    """Nobody else could, and what is there stays."""
    runs, volume, mask = files
    other = tmp_path / "mask.tif"
    other.write_bytes(mask.read_bytes())
    real = module.begin_output
    changes: list[Callable[[], object]] = [
        lambda: write_image(image_of_array(np.ones((12, 96, 144), np.uint8), voxel_size_nm=SIZE_NM), other),
        lambda: None,
    ]

    def gone_meanwhile(request: Any) -> Any:
        other.unlink()
        changes.pop(0)()
        return real(request)

    monkeypatch.setattr(module, "begin_output", gone_meanwhile)
    with pytest.raises(VolumeError, match="the mask has changed"):
        predict(runs, volume, out=tmp_path / "a.zarr", mask=other, cluster=TWO)
    other.write_bytes(mask.read_bytes())
    with pytest.raises(MissingFileError, match=r"mask\.tif.*on the worker's computer, .*at the paths that they have"):
        predict(runs, volume, out=tmp_path / "b.zarr", mask=other, cluster=TWO)


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [
        (JobFailure("block 3", "too little", "RunError", 1), RunError, "^too little$"),
        (JobFailure("block 3", "KeyError: 1", "KeyError", 2, "Traceback"), ClusterError, "(?s)block 3: .*Traceback"),
        (JobFailure("block 3", "its worker was lost 3 times", "ClusterError", 3), ClusterError, "lost 3 times$"),
    ],
)
def test_failures_keep_their_kind(failure: JobFailure, error: type[CristaeError], message: str) -> None:
    with pytest.raises(error, match=message):
        raise error_of(failure)


def test_a_volume_in_memory_goes_to_no_worker(tmp_path: Path, files: tuple[list[Path], Path, Path]) -> None:
    with pytest.raises(VolumeError, match=r"exists in the memory of one process only.*write_image"):
        predict(files[0], cell(), out=tmp_path / "out.zarr", cluster=TWO)
    assert not (tmp_path / "out.zarr").exists()


def test_the_ceiling_holds_for_all_workers_together(tmp_path: Path, files: tuple[list[Path], Path, Path]) -> None:
    alone, three = (find_budget(torch.device("cpu"), max_ram="6GiB", workers=n) for n in (1, 3))
    assert alone.together(alone.ram) == 6 * GIB
    assert 6 * GIB - 3 < three.together(three.ram) <= 6 * GIB
    assert three.ram < (alone.ram - three.used) / 3, "each holds the libraries, and so does the one that waits"
    assert find_budget(torch.device("cpu"), workers=4).ram < find_budget(torch.device("cpu")).ram / 3.5
    with pytest.raises(
        RunError, match=r"in each of 90 workers, which needs .* GiB.*--max-ram \d+MiB, or fewer workers"
    ):
        plan_prediction(
            files[0],
            files[1],
            out=tmp_path / "out.zarr",
            options=PredictOptions(max_ram="8GiB"),
            cluster=ClusterOptions(workers=90),
        )


def test_more_workers_take_less_memory_each_and_keep_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another number of workers goes on with the blocks that there are, and hears what that takes."""
    this = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=GIB // 4))  # whatever ran here before
    machine = SimpleNamespace(Process=lambda: this, virtual_memory=psutil.virtual_memory)
    monkeypatch.setattr("cristae.inference.memory.psutil", machine)
    run = make_run(tmp_path / "run", model="{name: unet_bn, widths: [32, 64]}", predict="windows: exact")
    write_image(cell(np.zeros((1, 3000, 3000), np.uint8)).image, tmp_path / "cell.tif")
    need = (find_budget(torch.device("cpu")).used + GIB / 10) / GIB
    what: dict[str, Any] = {"out": tmp_path / "out.zarr", "options": PredictOptions(max_ram=f"{4 * need:.2f}GiB")}
    few, many = (
        plan_prediction([run], tmp_path / "cell.tif", **what, cluster=ClusterOptions(workers=n)).request for n in (2, 3)
    )
    assert few.plan != many.plan
    assert few.plan.memory_bytes > many.plan.memory_bytes
    module.begin_prediction(few)
    heard = Said()
    resumed = plan_prediction(
        [run], tmp_path / "cell.tif", **what, cluster=ClusterOptions(workers=9), progress=heard
    ).request
    assert (resumed.provenance, resumed.plan) == (few.provenance, few.plan)
    assert [line for line in heard.warned if "planned for fewer processes: 9 workers may take" in line]
    heard = Said()
    plan_prediction([run], tmp_path / "cell.tif", **what, cluster=TWO, progress=heard)
    assert not [line for line in heard.warned if "fewer processes" in line]


def test_jobs_of_a_queue_are_planned_with_their_memory(tmp_path: Path, files: tuple[list[Path], Path, Path]) -> None:
    queue = tmp_path / "slurm.yaml"
    queue.write_text('system: slurm\njobs: 3\ncores: 4\nmemory: 100MiB\nwalltime: "1:00:00"\n')
    cluster = ClusterOptions(cluster=queue)
    assert cluster.expected_workers == 3
    with pytest.raises(RunError, match=r"only 100 MiB may be used"):
        plan_prediction(files[0], files[1], out=tmp_path / "out.zarr", cluster=cluster)
    assert ClusterOptions().expected_workers == 1
    assert ClusterOptions(scheduler="tcp://host:1").expected_workers == 64


def test_the_command_refuses_two_places_at_once(tmp_path: Path, files: tuple[list[Path], Path, Path]) -> None:
    more = ["--workers", "2", "--scheduler", "tcp://host:1"]
    result = CliRunner().invoke(app, command(files, tmp_path / "out.zarr", *more)[3:])
    assert result.exit_code == 2
    assert "workers and scheduler are given, but jobs go to one place" in result.stderr


def command(files: tuple[list[Path], Path, Path], out: Path, *more: str) -> list[str]:
    runs, volume, mask = files
    each = [word for run in runs for word in ("--run", str(run))]
    what = [str(volume), "--out", str(out), "--mask", str(mask), "--probabilities", *each]
    return [sys.executable, "-m", "cristae", "predict", *what, *more]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts commands, none of which stays."""
    started: list[subprocess.Popen[str]] = []

    def begin(words: list[str]) -> subprocess.Popen[str]:
        quiet: dict[str, Any] = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
        started.append(subprocess.Popen(words, **quiet))
        return started[-1]

    yield begin
    for one in started:
        if one.poll() is None:
            one.kill()
            one.communicate()


def until(what: Callable[[], bool], seconds: float = 240) -> bool:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.01)
    return what()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_worker_changes_nothing(
    tmp_path: Path, files: tuple[list[Path], Path, Path], whole: Path, start: Start
) -> None:
    out = tmp_path / "out.zarr"
    process = start(command(files, out, "--workers", "2"))
    assert until(lambda: len(list(out.glob(PATTERN))) == 2)
    workers = [one for one in psutil.Process(process.pid).children() if "resource_tracker" not in str(one.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert said.count("its worker was lost; it is begun again") == 1
    assert digests(out) == digests(whole)
    assert_same(whole, out)


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_command_goes_on_with_other_workers(
    tmp_path: Path, files: tuple[list[Path], Path, Path], whole: Path, start: Start, how: signal.Signals
) -> None:
    out = tmp_path / "out.zarr"
    process = start(command(files, out, "--workers", "2"))
    assert until(lambda: count_lines(out) > 5)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    _, said = process.communicate(timeout=300)
    assert process.returncode == (130 if how is signal.SIGINT else -signal.SIGKILL), said
    assert not psutil.wait_procs(workers, timeout=20)[1], "no worker is left"
    assert count_lines(out) < 108
    resumed = subprocess.run(command(files, out, "--workers", "3"), capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert "of 108 blocks are there already" in resumed.stderr
    assert digests(out) == digests(whole)


@pytest.mark.slow
def test_workers_of_a_running_cluster_share_a_folder(
    tmp_path: Path, files: tuple[list[Path], Path, Path], whole: Path
) -> None:
    """Two workers that others have started, each in a folder of its own."""
    runs, volume, mask = files
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    found, cli = tmp_path / "scheduler.json", [sys.executable, "-m"]
    options = ["--no-dashboard", "--host", "127.0.0.1"]
    scheduler = [*cli, "distributed.cli.dask_scheduler", *options, "--port", "0", "--scheduler-file", str(found)]
    processes = [subprocess.Popen(scheduler, cwd=tmp_path, **quiet)]
    try:
        assert until(found.exists)
        address = json.loads(found.read_text())["address"]
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            worker = [*cli, "distributed.cli.dask_worker", address, *options, "--nthreads", "1", "--no-nanny"]
            processes.append(subprocess.Popen(worker, cwd=tmp_path / name, env=dict(os.environ), **quiet))
        prediction = predict(
            runs,
            volume,
            out=tmp_path / "out.zarr",
            mask=mask,
            options=KEEP,
            cluster=ClusterOptions(scheduler=address),
        )
        assert all(one.poll() is None for one in processes), "they are not ours"
    finally:
        for one in reversed(processes):
            one.kill()
            one.wait()
    assert digests(prediction.path) == digests(whole)
    assert_same(whole, prediction.path)
    assert BlockPlan.from_dict(prediction.attributes["plan"]).block == (1, 32, 48)
