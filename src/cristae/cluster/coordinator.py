"""Gives jobs to workers of Dask and hears what becomes of them.

Each worker has one job at a time, which the coordinator gives it by its address, so that the longest jobs are begun
first and none waits at a busy worker. A worker that has gone, as Dask says at once when a process has died, takes none
with it: its job is given to another one.
"""

from __future__ import annotations

import itertools
import pickle
import queue
import time
import uuid
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cristae.cluster.jobs import ERROR_RETRIES, LOST_RETRIES, Done, Failed, Job, JobFailure, Started
from cristae.cluster.options import ClusterOptions
from cristae.cluster.places import Place, workers_at
from cristae.cluster.shown import Shown
from cristae.cluster.versions import differences
from cristae.cluster.worker import Order, Outcome, ask_to_stop, carry_out, introduce
from cristae.errors import ClusterError
from cristae.progress import Progress
from cristae.training.interruption import Interruption

_LOOK_EVERY_S = 0.5
"""Time between looks at which workers there are."""
_POLL_S = 0.1
_SAY_AFTER_S = 5.0
"""How long there may be no worker before that is said."""
_ANSWER_S = 60.0
"""How long the scheduler may take to say which workers there are."""
_FETCH_S = 60.0
"""How long the result of a job may take to arrive."""


def run_on_dask(
    jobs: Sequence[Job],
    options: ClusterOptions,
    on_done: Done,
    on_failed: Failed,
    on_start: Started,
    progress: Progress,
    title: str,
    *,
    each: bool,
) -> None:
    """Carry out jobs in their order; see `run_jobs`."""
    shown, work = Shown(jobs, progress, title, each=each), [_pickled(job) for job in jobs]
    interruption = Interruption(progress, when="where jobs can be resumed")
    imports = dict.fromkeys(job.function.__module__ for job in jobs if job.function.__module__ != "__main__")
    progress.say("Starting the workers")
    with workers_at(options, list(imports)) as place, interruption.noted(), shown.bar():
        coordinator = _Coordinator(place, shown, on_done, on_failed, on_start)
        coordinator.run([_Waiting(job, sent) for job, sent in zip(jobs, work, strict=True)], interruption)


def _pickled(job: Job) -> bytes:
    import cloudpickle

    try:
        found: bytes = cloudpickle.dumps((job.function, job.arguments))
    except Exception as error:  # whatever an object raises that cannot be pickled
        raise ClusterError(f"{job.key}: cannot be sent to a worker: {error}") from error
    return found


@dataclass
class _Waiting:
    """A job that is to be begun."""

    job: Job
    work: bytes
    lost: int = 0
    """How often its worker was lost."""
    errors: int = 0

    @property
    def attempt(self) -> int:
        """Which one comes next, from 1."""
        return self.lost + self.errors + 1


@dataclass
class _Running:
    """A job that a worker has."""

    waiting: _Waiting
    worker: str
    future: Any


class _Coordinator:
    def __init__(self, place: Place, shown: Shown, on_done: Done, on_failed: Failed, on_start: Started) -> None:
        self._place, self._client, self._shown = place, place.client, shown
        self._on_done, self._on_failed, self._on_start = on_done, on_failed, on_start
        self._topic = f"cristae-{uuid.uuid4().hex}"
        self._heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._waiting: deque[_Waiting] = deque()
        self._running: dict[str, _Running] = {}
        self._workers: set[str] = set()
        self._refused: set[str] = set()
        """Workers of other versions."""
        self._looked = 0.0
        self._without_since: float | None = time.monotonic()
        self._numbers = itertools.count()
        self._stopping = False

    def run(self, jobs: Sequence[_Waiting], interruption: Interruption) -> None:
        """Until all have ended, or those that run have stopped."""
        self._waiting.extend(jobs)
        self._client.subscribe_topic(self._topic, lambda event: self._heard.put(event[1]))
        while self._running or (self._waiting and not self._stopping):
            self._look()
            if interruption.asked and not self._stopping:
                self._stop()
            if not self._stopping:
                self._give()
            self._listen()
        if self._stopping:
            raise KeyboardInterrupt

    def _look(self) -> None:
        """Which workers there are now, at times."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        found = self._known_workers()
        self._admit(found - self._workers - self._refused)
        self._workers &= found
        for key in [key for key, one in self._running.items() if one.worker not in found]:
            self._lose(key)
        self._tell_of_workers(now)
        self._place.keep_up()

    def _known_workers(self) -> set[str]:
        """Addresses of the workers that the scheduler has."""
        try:
            if self._client.status != "running":
                raise OSError("its connection has broken")
            return set(self._client.nthreads(callback_timeout=_ANSWER_S))
        except (OSError, TimeoutError, RuntimeError) as error:
            raise ClusterError(
                f"the Dask scheduler does not answer any more ({error or type(error).__name__}); jobs that are done "
                "are kept, and the same command, with --resume where it knows that, goes on with the others"
            ) from None

    def _admit(self, new: set[str]) -> None:
        """Take workers that have joined, where they are like this process."""
        if not new or not self._place.foreign:
            self._workers |= new
            return
        first = not self._workers
        for worker, theirs in self._client.run(introduce, workers=sorted(new), on_error="return").items():
            if isinstance(theirs, OSError):  # it has gone again
                continue
            unlike = differences(theirs) if isinstance(theirs, dict) else [f"it cannot use Cristae: {theirs}"]
            if not unlike:
                self._workers.add(worker)
                continue
            self._refused.add(worker)
            message = (
                f"the worker at {worker} does not fit this installation, and could give other results: "
                f"{'; '.join(unlike)}; install the same versions there"
            )
            if first and not self._workers and self._refused >= new:
                raise ClusterError(message)
            self._shown.warn("workers", [f"{message}; it is not used"])

    def _tell_of_workers(self, now: float) -> None:
        if self._workers:
            self._without_since = None
        elif self._without_since is None:
            self._without_since = now
        elif 0 < self._without_since < now - _SAY_AFTER_S:
            self._without_since = -1.0
            self._shown.say("there are no workers now; jobs wait until some join")

    def _give(self) -> None:
        """A job for each worker that has none."""
        busy = {one.worker for one in self._running.values()}
        for worker in sorted(self._workers - busy):
            if not self._waiting:
                return
            one = self._waiting.popleft()
            if one.attempt == 1:
                self._on_start(one.job.key)
            self._submit(one, worker)

    def _submit(self, one: _Waiting, worker: str) -> None:
        job, lock = one.job, one.job.lock
        order = Order(
            self._topic,
            job.key,
            one.attempt,
            one.work,
            job.main_task,
            None if lock is None else str(lock.absolute()),
            self._place.threads,
        )
        future = self._client.submit(
            carry_out,
            pickle.dumps(order),
            key=f"{self._topic}-{next(self._numbers)}",
            workers=[worker],
            allow_other_workers=False,
            retries=0,
            pure=False,
        )
        self._running[job.key] = _Running(one, worker, future)
        self._shown.began(job.key)
        future.add_done_callback(lambda ended: self._heard.put({"key": job.key, "ended": ended}))

    def _listen(self) -> None:
        """One message, and what else has come meanwhile."""
        with suppress(queue.Empty):
            message = self._heard.get(timeout=_POLL_S)  # with a timeout, since Windows cannot interrupt it else
            while True:
                self._hear(message)
                message = self._heard.get_nowait()

    def _hear(self, message: dict[str, Any]) -> None:
        key = message["key"]
        one = self._running.get(key)
        if "warn" in message:
            self._shown.warn(key, [message["warn"]])
        elif one is None:
            return
        elif "fraction" in message and message["attempt"] == one.waiting.attempt:
            self._shown.heard(key, message["fraction"])
        elif message.get("ended") is one.future:
            self._end(key, one)

    def _end(self, key: str, one: _Running) -> None:
        try:
            outcome: Outcome = one.future.result(timeout=_FETCH_S)
        except Exception as error:  # Dask's own: the worker has gone, or cannot even unpickle the order
            if type(error).__name__ in ("KilledWorker", "TimeoutError", "CancelledError", "FutureCancelledError"):
                self._lose(key)
            else:
                self._fail(key, Outcome("failed", None, f"{type(error).__name__}: {error}", type(error).__name__))
            return
        self._shown.warn(key, outcome.warnings)
        if outcome.kind == "done":
            del self._running[key]
            self._shown.done(key)
            self._release(one)
            self._on_done(key, outcome.result)
        elif outcome.kind == "interrupted" and self._stopping:
            del self._running[key]
            self._release(one)
        elif outcome.kind == "interrupted":  # not by us: its worker is going away
            self._lose(key)
        else:
            self._fail(key, outcome)

    def _lose(self, key: str) -> None:
        """The worker of a job has gone."""
        one = self._running.pop(key)
        self._workers.discard(one.worker)  # one that is still there is found again
        one.future.cancel(force=True)
        one.waiting.lost += 1
        if self._stopping:
            return
        if one.waiting.lost <= LOST_RETRIES:
            self._shown.again(key, "its worker was lost")
            self._waiting.appendleft(one.waiting)
            return
        error = (
            f"its worker was lost {one.waiting.lost} times, as when its process is killed or memory runs out; fewer "
            "workers take less memory, and so do a lower --max-ram or smaller batches and patches"
        )
        self._give_up(one, JobFailure(key, error, "ClusterError", one.waiting.attempt - 1))

    def _fail(self, key: str, outcome: Outcome) -> None:
        """A job has raised an error."""
        one = self._running.pop(key)
        one.waiting.errors += 1
        if outcome.kind == "failed" and one.waiting.errors <= ERROR_RETRIES and not self._stopping:
            self._shown.again(key, f"it failed ({outcome.error.splitlines()[0][:200]})")
            self._waiting.append(one.waiting)
            return
        attempts = one.waiting.attempt - 1
        self._give_up(one, JobFailure(key, outcome.error, outcome.error_type, attempts, outcome.traceback))

    def _give_up(self, one: _Running, failure: JobFailure) -> None:
        self._release(one)
        self._shown.failed(failure)
        self._on_failed(failure)

    def _release(self, one: _Running) -> None:
        """The file that was locked goes, where no other process can want it."""
        if one.waiting.job.lock is not None and one.waiting.lost == 0:
            with suppress(OSError):
                one.waiting.job.lock.unlink(missing_ok=True)

    def _stop(self) -> None:
        """Ask all workers to stop what they do for us."""
        self._stopping = True
        if self._running:
            workers = sorted({one.worker for one in self._running.values()} & self._workers)
            self._client.run(ask_to_stop, self._topic, workers=workers, on_error="ignore")
