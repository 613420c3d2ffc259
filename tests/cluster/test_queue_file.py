"""The scripts that are submitted to queues, made without a cluster; and a queue that is played by a script."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import cluster_work as work
import pytest

from cristae.cluster.jobs import Job
from cristae.cluster.options import ClusterOptions
from cristae.cluster.queue_file import job_script
from cristae.cluster.run import run_jobs
from cristae.errors import MissingFileError, RecipeError

FILE = """\
system: {system}
jobs: 4
cores: 8
memory: 32GiB
walltime: "12:30:00"
queue: gpu-long
account: em-lab
gpus: 1
directives: ["{directive}"]
prologue: [module load cuda, source ~/cristae/bin/activate]
logs: {logs}
"""


def script(folder: Path, system: str, directive: str) -> list[str]:
    path = folder / "queue.yaml"
    path.write_text(FILE.format(system=system, directive=directive, logs=folder / "logs"))
    return job_script(path).splitlines()


def the_rest_is_right(lines: list[str]) -> None:
    """The environment is prepared before the worker starts, with one worker for all cores of the job."""
    assert lines.index("module load cuda") < lines.index("source ~/cristae/bin/activate")
    (command,) = [line for line in lines if "dask_worker" in line]
    assert lines.index(command) > lines.index("source ~/cristae/bin/activate")
    assert command.startswith(f"{sys.executable} -m distributed.cli.dask_worker tcp://SCHEDULER:PORT")
    words = command.split()
    assert words[words.index("--nthreads") + 1] == "8"
    assert "--nworkers" not in words
    last = len(words) - 1 - words[::-1].index("--memory-limit")
    assert words[last + 1] == "0", "the queue watches the memory"
    assert words[words.index("--death-timeout") + 1] == "120"
    assert words[words.index("--preload") + 1] == "cristae.cluster.worker"


def test_the_script_of_slurm(tmp_path: Path) -> None:
    lines = script(tmp_path, "slurm", "--constraint=a100")
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert directives == [
        "-J cristae",
        f"-e {tmp_path}/logs/cristae-%J.err",
        f"-o {tmp_path}/logs/cristae-%J.out",
        "-p gpu-long",
        "-A em-lab",
        "-n 1",
        "--cpus-per-task=8",
        "--mem=32G",
        "-t 12:30:00",
        "--gres=gpu:1",
        "--constraint=a100",
    ]
    the_rest_is_right(lines)


def test_the_script_of_lsf(tmp_path: Path) -> None:
    """LSF takes hours and minutes, and memory in MB of a million bytes."""
    lines = script(tmp_path, "lsf", "-R rusage[tmp=10]")
    directives = [line.removeprefix("#BSUB ") for line in lines if line.startswith("#BSUB")]
    expected = ["-J cristae", "-q gpu-long", '-P "em-lab"', "-n 8", '-R "span[hosts=1]"', "-M 34360", "-W 12:30"]
    assert [one for one in directives if not one.startswith(("-e", "-o"))] == [
        *expected,
        '-gpu "num=1"',
        "-R rusage[tmp=10]",
    ]
    the_rest_is_right(lines)


def test_the_script_of_pbs(tmp_path: Path) -> None:
    lines = script(tmp_path, "pbs", "-m n")
    directives = [line.removeprefix("#PBS ") for line in lines if line.startswith("#PBS")]
    assert "-l select=1:ncpus=8:mem=32768MB:ngpus=1" in directives
    assert "-l walltime=12:30:00" in directives
    assert "-A em-lab" in directives
    assert "-m n" in directives
    the_rest_is_right(lines)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("slurm", "sge"), r"queue.yaml:1: system: "),
        (("jobs: 4", "jobs: 0"), r"queue.yaml:2: jobs: "),
        (("32GiB", "much"), r"queue.yaml:4: memory: 'much' is not a memory size; write it as 8GiB"),
        (('"12:30:00"', "a day"), r"queue.yaml:5: walltime: "),
        (("queue:", "partition:"), r"queue.yaml:6: partition: "),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "queue.yaml"
    path.write_text(FILE.format(system="slurm", directive="-x", logs="logs").replace(*change))
    with pytest.raises(RecipeError, match=message):
        job_script(path)


def test_ctrl_c_stays_what_it_was() -> None:
    """Importing dask-jobqueue makes it end the process, without a last checkpoint."""
    pytest.importorskip("dask_jobqueue")
    code = (
        "import signal, sys; from cristae.cluster.queue_file import _jobqueue; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); _jobqueue(); assert 'dask_jobqueue' in sys.modules; "
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="there is no such file; it says which jobs to submit to a queue"):
        job_script(tmp_path / "queue.yaml")


def test_the_script_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "queue.yaml"
    path.write_text(FILE.format(system="slurm", directive="-x", logs=tmp_path / "logs"))
    monkeypatch.setattr(sys, "argv", ["cristae.cluster", str(path)])
    runpy.run_module("cristae.cluster", run_name="__main__")
    assert capsys.readouterr().out.strip() == job_script(path).strip()
    path.write_text("jobs: 2\n")
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module("cristae.cluster", run_name="__main__")
    assert "queue.yaml:1: system:" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts")
def test_jobs_of_a_queue_do_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sbatch` is played by a script that runs what it is given in the background."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in {
        "sbatch": f'cp "$1" {tmp_path}/job.$$; bash {tmp_path}/job.$$ >/dev/null 2>&1 & echo "Submitted batch job $!"',
        "scancel": 'pkill -P "$1"; kill "$1"',
    }.items():
        (tools / name).write_text(f"#!/bin/bash\n{text}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}")
    path = tmp_path / "queue.yaml"
    text = "system: slurm\njobs: 2\ncores: 1\nmemory: 1GiB\nwalltime: '0:10:00'\ninterface: lo\n"
    path.write_text(text)
    done: dict[str, str] = {}
    jobs = [Job(key, work.note, (str(tmp_path), key)) for key in "abc"]
    assert not run_jobs(jobs, ClusterOptions(cluster=path), on_done=done.__setitem__)
    assert done == {"a": "A", "b": "B", "c": "C"}
    assert len(list(tmp_path.glob("job.*"))) == 2
