"""Jobs on workers: none is lost, none is done twice at once, and what fails is told."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cluster_work as work
import psutil
import pytest
from filelock import FileLock

import cristae
from cristae.cluster import coordinator, worker
from cristae.cluster.jobs import Job, JobFailure
from cristae.cluster.options import ClusterOptions
from cristae.cluster.run import run_jobs
from cristae.cluster.shares import environment, gpu_of, threads_each
from cristae.cluster.versions import differences, versions
from cristae.errors import ClusterError, NetworkError
from cristae.progress import Progress, Task

HERE = Path(__file__).parent
TWO = ClusterOptions(workers=2)
Scheduler = tuple[str, Callable[[], subprocess.Popen[bytes]], subprocess.Popen[bytes]]
"""Its address, what starts a worker of it, and its process."""


class Heard(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self.percent = 0
        self.notes: list[str] = []

    @contextmanager
    def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
        heard = self

        class Listening(Task):
            def advance(self, steps: int = 1, *, note: str = "") -> None:
                heard.percent += steps
                heard.notes.append(note)

        assert (total, unit, done) == (100, "%", 0)
        yield Listening()

    def say(self, message: str) -> None:
        self.said.append(message)

    def warn(self, message: str) -> None:
        self.warned.append(message)


class Results:
    """What the coordinator was told, and in which order."""

    def __init__(self) -> None:
        self.done: dict[str, Any] = {}
        self.failed: list[str] = []
        self.started: list[str] = []

    def run(
        self, jobs: list[Job], options: ClusterOptions = ClusterOptions(), progress: Progress = Progress()
    ) -> dict[str, JobFailure]:
        found = run_jobs(
            jobs,
            options,
            on_done=self._done,
            on_failed=lambda failure: self.failed.append(failure.key),
            on_start=self.started.append,
            progress=progress,
        )
        assert sorted(failure.key for failure in found) == sorted(self.failed)
        return {failure.key: failure for failure in found}

    def _done(self, key: str, result: Any) -> None:
        assert key not in self.done, "done once"
        self.done[key] = result


def begun(folder: Path, key: str) -> list[tuple[float, int]]:
    """When and in which process a job was begun."""
    path = folder / f"{key}.begun"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(float(line.split()[0]), int(line.split()[1])) for line in lines]


def until(what: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.05)
    return what()


def job(folder: Path, key: str, function: Callable[..., Any], *more: Any, **rest: Any) -> Job:
    return Job(key, function, (str(folder), key, *more), **rest)


def test_in_this_process_each_job_is_named_and_what_fails_is_told_at_once(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "a", work.refuse), job(tmp_path, "b", work.fail, 9), job(tmp_path, "c", work.fail, 1)]
    heard, results = Heard(), Results()
    found = results.run(jobs, progress=heard)
    assert heard.said == ["Job 1 of 3: a", "Job 2 of 3: b", "Job 3 of 3: c"]
    assert heard.warned == [
        "a: the network cannot (failed)",
        "b: it failed (ZeroDivisionError: by nothing); it is begun again",
        "b: ZeroDivisionError: by nothing (failed)",
        "c: it failed (ZeroDivisionError: by nothing); it is begun again",
    ]
    assert found["b"].attempts == 2
    assert "raise ZeroDivisionError" in found["b"].traceback
    assert results.done == {"c": "at last"}


def test_in_this_process_no_dask_is_imported_and_the_longest_comes_first(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import cluster_work as work\n"
        "from cristae.cluster.jobs import Job\n"
        "from cristae.cluster.run import run_jobs\n"
        "jobs = [Job(k, work.note, (sys.argv[2], k), cost=c) for k, c in [('a', 1), ('b', 3), ('c', 2)]]\n"
        "run_jobs(jobs, on_done=print)\n"
        "assert not {'dask', 'distributed', 'torch'} & set(sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(HERE), str(tmp_path)], capture_output=True, text=True)
    assert ran.stderr == ""
    assert ran.stdout.split("\n")[:3] == ["b B", "c C", "a A"]
    assert len({begun(tmp_path, key)[0][1] for key in "abc"}) == 1


def test_in_this_process_failures_are_told_and_the_others_go_on(tmp_path: Path) -> None:
    told = Results()
    failures = told.run(
        [
            job(tmp_path, "refuses", work.refuse),
            job(tmp_path, "fails", work.fail, 9),
            job(tmp_path, "fails once", work.fail, 1),
            job(tmp_path, "fine", work.note),
        ]
    )
    assert told.done == {"fails once": "at last", "fine": "FINE"}
    assert told.started == ["refuses", "fails", "fails once", "fine"]
    refused, failed = failures["refuses"], failures["fails"]
    assert (refused.kind, refused.error, refused.attempts) == ("NetworkError", "the network cannot", 1)
    assert (failed.kind, failed.attempts) == ("ZeroDivisionError", 2)
    assert "by nothing" in failed.traceback


def test_in_this_process_each_job_is_named_as_it_begins(tmp_path: Path) -> None:
    told = io.StringIO()
    jobs = [job(tmp_path, "short", work.note, cost=1.0), job(tmp_path, "long", work.note, cost=2.0)]
    run_jobs(jobs, on_done=lambda *_: None, progress=cristae.LineProgress(stream=told))
    assert told.getvalue() == "Job 1 of 2: long\nJob 2 of 2: short\n"


def test_jobs_of_every_kind_on_two_workers(tmp_path: Path) -> None:
    """One run of Dask for all of these, since starting it takes seconds."""
    heard, lock = Heard(), tmp_path / "locked" / ".lock"
    jobs = [
        job(tmp_path, "small", work.note, cost=1),
        job(tmp_path, "refuses", work.refuse, cost=2),
        job(tmp_path, "fails", work.fail, 9, cost=3),
        job(tmp_path, "fails once", work.fail, 1, cost=4, lock=lock),
        job(tmp_path, "facts", work.facts, cost=5),
        job(tmp_path, "more facts", work.facts, cost=5),
        job(tmp_path, "dies", work.die, 9, cost=7),
        job(tmp_path, "dies once", work.die, 1, cost=8),
    ]
    listening: list[str] = []

    class Looking(Results):
        def _done(self, key: str, result: Any) -> None:
            super()._done(key, result)
            listening.extend(listens())

    told = Looking()
    failures = told.run(jobs, TWO, heard)
    assert told.started == [one.key for one in sorted(jobs, key=lambda one: -one.cost)]
    assert set(told.done) == {"small", "fails once", "facts", "more facts", "dies once"}
    assert (told.done["small"], told.done["fails once"], told.done["dies once"]) == ("SMALL", "at last", "survived")
    counts = {one.key: len(begun(tmp_path, one.key)) for one in jobs}
    expected = {"small": 1, "refuses": 1, "fails": 2, "fails once": 2, "facts": 1, "more facts": 1, "dies": 3}
    assert counts == expected | {"dies once": 2}
    assert {key: (one.kind, one.attempts) for key, one in failures.items()} == {
        "refuses": ("NetworkError", 1),
        "fails": ("ZeroDivisionError", 2),
        "dies": ("ClusterError", 3),
    }
    assert "line" in failures["fails"].traceback
    assert "memory runs out" in failures["dies"].error
    assert heard.warned.count("facts: careful") + heard.warned.count("more facts: careful") == 1, "once for all"
    assert sum(line == "dies: its worker was lost; it is begun again" for line in heard.warned) == 2
    assert sum(line.startswith("small: done in 0 s (") for line in heard.said) == 1
    assert heard.percent == 100
    found = told.done["facts"]
    assert found["threads"] == threads_each(2)
    assert found["environment"] == dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads_each(2)))
    workers = {pid for one in jobs for _, pid in begun(tmp_path, one.key)}
    assert os.getpid() not in workers
    assert not lock.exists()
    assert listening
    assert {address for address in listening if not address.startswith(("127.", "::1"))} == set()
    assert until(lambda: not any(map(psutil.pid_exists, workers))), "no worker is left"


def listens() -> list[str]:
    """The addresses at which this process and its workers can be reached."""
    found = []
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            found += [one.laddr.ip for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
        except psutil.Error:
            continue
    return found


def test_what_cannot_be_sent_is_told_before_workers_start(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="a: cannot be sent to a worker"):
        run_jobs([Job("a", work.note, ((one for one in ()),))], TWO, on_done=print)


@pytest.fixture
def coordinating(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process that has three jobs done, of which two run."""
    started: list[subprocess.Popen[str]] = []

    def start(what: str, address: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "cluster_work.py"), what, str(tmp_path), address]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True))
        assert until(lambda: bool(begun(tmp_path, "a") and begun(tmp_path, "b")))
        return started[-1]

    yield start
    for one in started:
        if one.poll() is None:
            one.kill()
        one.communicate()


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=20)
    return not alive


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_lets_jobs_stop_in_order(tmp_path: Path, coordinating: Callable[..., subprocess.Popen[str]]) -> None:
    process = coordinating("wait")
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of them
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopping where jobs can be resumed; Ctrl-C again stops at once" in said
    assert sorted(path.name for path in tmp_path.glob("*.stopped")) == ["a.stopped", "b.stopped"]
    assert not begun(tmp_path, "c"), "none is begun any more"
    assert gone(workers)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_second_ctrl_c_ends_all_at_once(tmp_path: Path, coordinating: Callable[..., subprocess.Popen[str]]) -> None:
    process = coordinating("deaf")
    workers = psutil.Process(process.pid).children(recursive=True)
    assert process.stdout is not None
    os.killpg(process.pid, signal.SIGINT)
    while "stopping where" not in process.stdout.readline():
        pass
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert gone(workers)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_workers_end_when_the_coordinator_is_killed(
    tmp_path: Path, coordinating: Callable[..., subprocess.Popen[str]]
) -> None:
    process = coordinating("deaf")
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    assert gone(workers)


@pytest.mark.slow
def test_a_job_that_holds_the_interpreter_loses_no_worker(tmp_path: Path) -> None:
    """As compiled loops do while they are compiled, for longer than Dask's heartbeats are apart."""
    told = Results()
    assert not told.run([job(tmp_path, key, work.hold, 8.0) for key in "ab"], TWO)
    assert [len(begun(tmp_path, key)) for key in "ab"] == [1, 1]


def test_a_job_waits_for_the_process_that_was_taken_for_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its old process may still write into the job's folder: while the lock is held, nothing is begun."""
    monkeypatch.setattr(worker, "_LOCKED_S", 0.1)
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(Exception, match="a is still worked on by another process; end that one"),
        worker._lock(tmp_path / ".lock", "a"),
    ):
        raise AssertionError("it was begun")
    with worker._lock(tmp_path / ".lock", "a"):
        pass


def test_gpus_are_shared_fairly() -> None:
    """With n GPUs, worker i has number i mod n of those that may be used."""
    assert [gpu_of(number, ["0", "1", "2"]) for number in range(5)] == ["0", "1", "2", "0", "1"]
    assert gpu_of(3, []) is None
    assert environment(1, 2, ["4", "GPU-8"])["CUDA_VISIBLE_DEVICES"] == "GPU-8"
    assert "CUDA_VISIBLE_DEVICES" not in environment(1, 2, [])


def test_threads_are_shared_and_no_more_than_were_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda which: set(range(12)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_each(workers) for workers in (1, 2, 5, 40)] == [12, 6, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [threads_each(workers) for workers in (1, 2, 5)] == [3, 3, 2]


def test_other_versions_are_named() -> None:
    assert differences(versions()) == []
    (text,) = differences(versions() | {"torch": "1.0"})
    assert text.startswith("torch 1.0 instead of ")
    assert len(differences({})) == len(versions())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers: must be 1 or more, got 0"),
        ({"scheduler": "host"}, "'host' is no address of a Dask scheduler; write it as tcp://host:8786"),
        ({"workers": 2, "scheduler": "tcp://host:1"}, "workers and scheduler are given, but jobs go to one place"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        ClusterOptions(**options)


def test_a_scheduler_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cristae.cluster.places.CONNECT_S", 0.5)
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        run_jobs([Job("a", work.note)], ClusterOptions(scheduler="tcp://127.0.0.1:9"), on_done=print)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Scheduler]:
    """A scheduler of Dask in a process of its own, and what starts workers of it."""
    processes = []
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    found = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard", "--host", "127.0.0.1"]
    processes.append(subprocess.Popen([*dask, "--port", "0", "--scheduler-file", str(found)], env=environment, **quiet))
    assert until(found.exists)
    address = json.loads(found.read_text())["address"]

    def join() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-dashboard", "--nthreads", "2"]
        processes.append(
            subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--no-nanny", "--death-timeout", "30"], env=environment, **quiet
            )
        )
        return processes[-1]

    yield address, join, processes[0]
    for process in reversed(processes):
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_running_scheduler_whose_workers_join_die_and_return(tmp_path: Path, scheduler: Scheduler) -> None:
    address, join, _ = scheduler
    first = join()

    class Replaced(Results):
        def _done(self, key: str, result: Any) -> None:
            super()._done(key, result)
            if key == "a":
                first.kill()
                join()

    told = Replaced()
    jobs = [job(tmp_path, key, work.facts, cost=cost) for key, cost in (("a", 3), ("b", 2), ("c", 1))]
    assert not told.run(jobs, ClusterOptions(scheduler=address))
    assert set(told.done) == {"a", "b", "c"}
    assert [one["threads"] for one in told.done.values()] == [2] * 3, "as many as the worker offers"
    assert first.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_scheduler_that_goes_is_told(tmp_path: Path, scheduler: Scheduler) -> None:
    address, join, process = scheduler
    join()

    class Killing(Results):
        def _done(self, key: str, result: Any) -> None:
            super()._done(key, result)
            process.kill()

    told = Killing()
    with pytest.raises(ClusterError, match="the Dask scheduler does not answer any more"):
        told.run([job(tmp_path, key, work.note) for key in "ab"], ClusterOptions(scheduler=address))
    assert set(told.done) == {"a"}


@pytest.mark.slow
def test_workers_of_other_versions_are_refused(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    address, join, _ = scheduler
    join()
    monkeypatch.setattr(coordinator, "differences", lambda theirs: ["torch 1.0 instead of 2.0"])
    with pytest.raises(ClusterError, match=r"does not fit this installation.*torch 1.0 instead of 2.0"):
        run_jobs([Job("a", work.note)], ClusterOptions(scheduler=address), on_done=print)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_jobs_stop_on_workers_of_others_when_the_coordinator_has_gone(
    tmp_path: Path,
    scheduler: Scheduler,
    coordinating: Callable[..., subprocess.Popen[str]],
) -> None:
    """They are not ended, since they are not ours, but stop as after Ctrl-C."""
    address, join, _ = scheduler
    workers = [join(), join()]
    process = coordinating("wait", address)
    process.kill()
    assert until(lambda: len(list(tmp_path.glob("*.stopped"))) == 2)
    assert all(one.poll() is None for one in workers)


def test_a_refusal_here_is_the_refusal_there(tmp_path: Path) -> None:
    """In this process errors have passed through no pickle, and are told alike."""
    (failure,) = Results().run([job(tmp_path, "a", work.refuse)]).values()
    assert failure.kind == NetworkError.__name__
    assert failure.traceback == ""
