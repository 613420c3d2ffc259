"""Processes that train together: one result, one error, and none that is left behind."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from cristae.errors import NetworkError, TrainingError
from cristae.progress import Progress, Task
from cristae.training.interruption import ASKED_FROM_OUTSIDE
from cristae.training.processes import run_processes

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def modules_beside_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


class Heard(Progress):
    def __init__(self) -> None:
        self.heard: list[object] = []

    @contextmanager
    def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
        heard = self.heard

        class Listening(Task):
            def advance(self, steps: int = 1, *, note: str = "") -> None:
                heard.append((steps, note))

        heard.append((title, total, unit, done))
        yield Listening()
        heard.append("end")

    def say(self, message: str) -> None:
        self.heard.append(message)

    def warn(self, message: str) -> None:
        self.heard.append(f"warning: {message}")


def run(what: str, folder: Path, progress: Progress = Progress()) -> dict[str, object]:
    return run_processes("processes_work", [what, str(folder)], 2, progress)


def all_ended(folder: Path) -> bool:
    """Whether the two processes, which wrote their numbers, are gone."""
    numbers = [int(file.read_text()) for file in folder.glob("pid*")]
    until = time.monotonic() + 20
    while any(map(psutil.pid_exists, numbers)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(psutil.pid_exists, numbers))


def test_the_first_process_gives_result_and_progress(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    heard, before = Heard(), dict(os.environ)
    result = run("done", tmp_path, heard)
    assert (result["rank"], math.isnan(result["score"])) == (0, True)  # type: ignore[arg-type]
    assert heard.heard == ["warning: careful", ("Training", 3, "batches", 1), (2, "loss 0.5"), "end", "over"]
    assert dict(os.environ) == before
    assert len(list(tmp_path.iterdir())) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("a line that is no message") == 2


@pytest.mark.parametrize(
    ("what", "error", "text"),
    [
        pytest.param("refuses", NetworkError, "^the network cannot$", marks=pytest.mark.slow),
        pytest.param(
            "fails",
            TrainingError,
            "(?s)process 2 of 2 failed; the others were ended.*ZeroDivisionError: by nothing",
            marks=pytest.mark.slow,
        ),
        ("leaves", TrainingError, "process 2 of 2 failed.*\n.*without a result"),
        pytest.param(
            "killed",
            TrainingError,
            "process 2 of 2 was killed by signal 9.*--resume",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
        ),
    ],
)
def test_one_failure_ends_all_and_is_named(tmp_path: Path, what: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        run(what, tmp_path)
    assert all_ended(tmp_path)


def started(folder: Path) -> bool:
    until = time.monotonic() + 60
    while len(list(folder.glob("pid*"))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    return len(list(folder.glob("pid*"))) == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interruption_ends_all(tmp_path: Path) -> None:
    def interrupt() -> None:
        assert started(tmp_path)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run("wait", tmp_path)
    assert all_ended(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_the_first_ctrl_c_asks_them_to_stop_once_they_train(tmp_path: Path) -> None:
    class Pressed(Heard):
        @contextmanager
        def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
            with super().task(title, total, unit=unit, done=done) as task:
                os.kill(os.getpid(), signal.SIGINT)
                yield task

    heard = Pressed()
    with pytest.raises(KeyboardInterrupt):
        run("stops", tmp_path, heard)
    said = "stopping after at most 20 batches, with a checkpoint; Ctrl-C again stops at once"
    assert heard.heard == [("Training", 3, "", 0), said, "end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert all_ended(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_process_that_is_itself_asked_to_stop_asks_them(tmp_path: Path) -> None:
    """As where the training is a job of a worker."""

    class Asked(Heard):
        @contextmanager
        def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
            with super().task(title, total, unit=unit, done=done) as task:
                ASKED_FROM_OUTSIDE.set()
                yield task

    try:
        with pytest.raises(KeyboardInterrupt):
            run("stops", tmp_path, Asked())
    finally:
        ASKED_FROM_OUTSIDE.clear()
    assert all_ended(tmp_path)


@pytest.mark.slow
def test_they_end_when_the_process_that_waits_is_killed(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "from cristae.progress import Progress\n"
        "from cristae.training.processes import run_processes\n"
        f"run_processes('processes_work', ['wait', {str(tmp_path)!r}], 2, Progress())"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as waiting:
        assert started(tmp_path)
        waiting.kill()
    assert all_ended(tmp_path)
