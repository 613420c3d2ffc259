"""The progress of many jobs at once: one bar for all of them, one line for each that ended, each warning once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from cristae.cluster.jobs import Job, JobFailure, of_job
from cristae.progress import Progress, Task
from cristae.words import duration

_NAMED = 3
"""Running jobs that the bar names."""


class Shown:
    """What the coordinator shows. The bar counts jobs by their cost, so that the time left is that of the work left."""

    def __init__(self, jobs: Sequence[Job], progress: Progress, title: str, *, each: bool = True) -> None:
        self._progress, self._title, self._each = progress, title, each
        least = max(job.cost for job in jobs) / 1000 or 1.0
        self._cost = {job.key: max(job.cost, least) for job in jobs}
        self._fractions: dict[str, float] = {}
        self._running: dict[str, float] = {}
        self._ended = self._percent = 0
        self._warned: set[str] = set()
        self._task = Task()

    @contextmanager
    def bar(self) -> Iterator[None]:
        """While inside, the bar is shown."""
        with self._progress.task(self._title, 100, unit="%") as self._task:
            yield

    def began(self, key: str) -> None:
        """A job was given to a worker."""
        self._running[key] = time.monotonic()
        self._move()

    def heard(self, key: str, fraction: float) -> None:
        """So much of a job is done; one that was begun again may be behind where it was."""
        self._fractions[key] = max(fraction, self._fractions.get(key, 0.0))
        self._move()

    def done(self, key: str) -> None:
        """A job is done."""
        seconds = time.monotonic() - self._running[key]
        self._end(key)
        if self._each:
            self._progress.say(f"{key}: done in {duration(seconds)} ({self._ended} of {len(self._cost)})")

    def failed(self, failure: JobFailure) -> None:
        """A job failed for good."""
        self._end(failure.key)
        times = f" after {failure.attempts} attempts" if failure.attempts > 1 else ""
        self._progress.warn(f"{of_job(failure.key, failure.error)} (failed{times}; {self._ended} of {len(self._cost)})")

    def again(self, key: str, why: str) -> None:
        """A job will be begun again."""
        self._running.pop(key, None)
        self._progress.warn(f"{key}: {why}; it is begun again")

    def warn(self, key: str, messages: Iterable[str]) -> None:
        """Warnings of a job; what another one has warned of is not said again."""
        for message in messages:
            if message not in self._warned:
                self._warned.add(message)
                self._progress.warn(of_job(key, message))

    def say(self, message: str) -> None:
        """A line about all jobs."""
        self._progress.say(message)

    def _end(self, key: str) -> None:
        self._running.pop(key, None)
        self._fractions[key] = 1.0
        self._ended += 1
        self._move()

    def _move(self) -> None:
        whole = sum(self._cost.values())
        percent = int(100 * sum(self._cost[key] * part for key, part in self._fractions.items()) / whole + 1e-9)
        named = [f"{key} {100 * self._fractions.get(key, 0.0):.0f} %" for key in list(self._running)[:_NAMED]]
        more = [f"{len(self._running) - _NAMED} more"] if len(self._running) > _NAMED else []
        ended = f"{self._ended} of {len(self._cost)} ended"
        self._task.advance(percent - self._percent, note="; ".join([ended, ", ".join([*named, *more])]).strip("; "))
        self._percent = percent
