"""What happens in a worker process: it is prepared once, then carries out one job after another.

The coordinator loads this module into its own workers before they do anything else (`preload` of Dask). Jobs run in a
thread of the worker; its main thread talks to the scheduler. All that comes back is plain: progress and warnings as
events, the end of a job as an `Outcome`, never as an exception.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from cristae.allocator import share_one_arena
from cristae.cluster.versions import versions
from cristae.errors import CristaeError, RunError
from cristae.progress import Progress, Task
from cristae.training.interruption import ASKED_FROM_OUTSIDE, stop_if_asked

IMPORTS = "CRISTAE_WORKER_IMPORTS"
"""The variable that names modules a worker imports at its start, so that no job waits for them."""
_TELL_EVERY_S = 0.5
_WATCH_EVERY_S = 1.0
_LOCKED_S = 120.0
"""How long a job waits for one that was taken for lost and still runs."""

_stopped: set[str] = set()
"""Coordinators that have asked their jobs to stop."""
_running: dict[str, str] = {}
"""The coordinator of the job that runs now, by itself."""
_busy = threading.Lock()
"""Held by the job that runs: a worker with several threads, which others may have started, still does one at a time."""


@dataclass(frozen=True)
class Order:
    """A job as it is sent to a worker."""

    topic: str
    """The coordinator: under this name events reach it."""
    key: str
    attempt: int
    work: bytes
    """The pickled function and arguments."""
    main_task: str
    lock: str | None
    threads: int | None
    """How many to use; None takes those that the worker offers."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    kind: Literal["done", "refused", "failed", "interrupted"]
    result: Any = None
    error: str = ""
    error_type: str = ""
    traceback: str = ""
    warnings: tuple[str, ...] = field(default=())
    """All of them, should an event have been lost."""


def dask_setup(worker: Any) -> None:  # noqa: ARG001  # Dask hands it in
    """Prepare a worker process; called by Dask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the coordinator asks for what it wants
    share_one_arena()  # jobs do not run in the first thread
    for name in filter(None, os.environ.get(IMPORTS, "").split(",")):
        importlib.import_module(name)


def introduce() -> dict[str, str]:
    """What the coordinator wants to know of a worker that it has not seen."""
    return versions()


def ask_to_stop(topic: str) -> None:
    """Ask the job of a coordinator, and those that it has sent and that were not begun, to stop."""
    _stopped.add(topic)
    if topic in _running:
        ASKED_FROM_OUTSIDE.set()


def carry_out(sent: bytes) -> Outcome:
    """Do a job in this thread of a worker; the whole of what Dask knows of it."""
    order: Order = pickle.loads(sent)
    while not _busy.acquire(timeout=_WATCH_EVERY_S):
        if order.topic in _stopped:
            return Outcome("interrupted")
    try:
        return _carry_out(order)
    finally:
        _busy.release()


def _carry_out(order: Order) -> Outcome:
    from distributed import get_worker

    worker, ended = get_worker(), threading.Event()
    progress = _Told(lambda message: worker.log_event(order.topic, message), order)
    task = worker.get_current_task()
    ASKED_FROM_OUTSIDE.clear()
    _running[order.topic] = order.key
    if order.topic in _stopped:
        ASKED_FROM_OUTSIDE.set()
    threading.Thread(target=_watch, args=(worker, task, ended), daemon=True).start()
    try:
        with _locked(order):
            stop_if_asked()
            result = _work(order, order.threads or worker.state.nthreads, progress)
        found = Outcome("done", result)
    except KeyboardInterrupt:
        found = Outcome("interrupted")
    except CristaeError as error:
        found = Outcome("refused", None, str(error), type(error).__name__)
    except BaseException as error:  # also SystemExit, which would end the worker
        text = f"{type(error).__name__}: {error}"
        found = Outcome("failed", None, text, type(error).__name__, traceback.format_exc())
    finally:
        ended.set()
        del _running[order.topic]
    return Outcome(found.kind, found.result, found.error, found.error_type, found.traceback, tuple(progress.warned))


def _work(order: Order, threads: int, progress: Progress) -> Any:
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)))
    function, arguments = pickle.loads(order.work)  # imports what the job needs
    use_threads(threads)
    return function(*arguments, progress=progress)


def use_threads(count: int) -> None:
    """Let the libraries use this many threads when they are called from this thread: OpenMP keeps the number for each
    thread, so that what the process began with does not hold here."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
    if "numba" in sys.modules:
        numba = sys.modules["numba"]
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))


def _locked(order: Order) -> AbstractContextManager[Any]:
    return nullcontext() if order.lock is None else _lock(Path(order.lock), order.key)


@contextmanager
def _lock(path: Path, key: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    until = time.monotonic() + _LOCKED_S
    while True:
        stop_if_asked()
        try:
            lock.acquire(timeout=0.5)
            break
        except Timeout:
            if time.monotonic() > until:
                raise RunError(
                    f"{path}: {key} is still worked on by another process; end that one, or wait for it, and then "
                    "continue with --resume"
                ) from None
    try:
        yield
    finally:
        lock.release()


def _watch(worker: Any, task: str, ended: threading.Event) -> None:
    """Ask the job to stop when nobody waits for it any more: its coordinator has gone, or the scheduler."""
    while not ended.wait(_WATCH_EVERY_S):
        state = worker.state.tasks.get(task)
        if state is None or state.state not in ("executing", "long-running") or worker.status.name != "running":
            ASKED_FROM_OUTSIDE.set()
            return


class _Told(Progress):
    """Progress of a job, told to the coordinator: how much of it is done, and its warnings. It is also where a job that
    is asked to stop notices."""

    def __init__(self, send: Callable[[dict[str, Any]], None], order: Order) -> None:
        self._send_raw, self._order, self._last = send, order, 0.0
        self.warned: list[str] = []

    def send(self, **message: Any) -> None:
        """One message."""
        self._send_raw({"key": self._order.key, "attempt": self._order.attempt, **message})

    @contextmanager
    def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
        """See `Progress`."""
        stop_if_asked()
        yield _ToldTask(self, title == self._order.main_task, total, done)

    def say(self, message: str) -> None:
        """Not told: a line for each of many jobs would be too many."""
        stop_if_asked()

    def warn(self, message: str) -> None:
        """See `Progress`."""
        stop_if_asked()
        self.warned.append(message)
        self.send(warn=message)

    def tell(self, fraction: float) -> None:
        """How much is done, unless that was told just now."""
        now = time.monotonic()
        if now - self._last >= _TELL_EVERY_S:
            self._last = now
            self.send(fraction=fraction)


class _ToldTask(Task):
    def __init__(self, told: _Told, counts: bool, total: int, done: int) -> None:
        self._told, self._counts, self._total, self._done = told, counts, max(total, 1), done

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        stop_if_asked()
        self._done += steps
        if self._counts:
            self._told.tell(min(1.0, self._done / self._total))
