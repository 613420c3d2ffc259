"""Progress for people: bars on a terminal, a line now and then in a log. It goes to stderr unless told otherwise."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from cristae.progress import Progress, Task
from cristae.words import duration

_LOG_EVERY_S = 10.0
_BLINK_S = 1.0


def console_progress() -> Progress:
    """Bars with the time left on a terminal, plain lines at most every ten seconds otherwise."""
    if sys.stderr.isatty():
        return BarProgress()
    return LineProgress()


class LineProgress(Progress):
    """Plain lines, for logs and notebooks.

    Args:
        every_s: Seconds between the lines of a task, at least.
        stream: Where they go, such as `sys.stdout` in a notebook; None takes stderr.

    Example:
        >>> cristae.train(recipe, progress=cristae.LineProgress(stream=sys.stdout))  # doctest: +SKIP
    """

    def __init__(self, every_s: float = _LOG_EVERY_S, stream: TextIO | None = None) -> None:
        self._every_s, self._stream = every_s, stream

    @contextmanager
    def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
        """A line at most every few seconds, and one at the end."""
        task = _LineTask(title, total, unit, done, self._every_s, self._write)
        yield task
        task.finish()

    def say(self, message: str) -> None:
        """A line."""
        self._write(message)

    def warn(self, message: str) -> None:
        """A line that starts with 'warning'."""
        self._write(f"warning: {message}")

    def _write(self, line: str) -> None:
        print(line, file=self._stream or sys.stderr, flush=True)


class _LineTask(Task):
    def __init__(
        self, title: str, total: int, unit: str, done: int, every_s: float, write: Callable[[str], None]
    ) -> None:
        self._title, self._total, self._unit, self._every_s, self._write = title, total, unit, every_s, write
        self._done = self._before = done
        self._note = ""
        self._start = self._last = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        with self._lock:
            self._done += steps
            self._note = note or self._note
            now = time.monotonic()
            if now - self._last >= self._every_s and self._done < self._total:
                self._last = now
                self._write(f"{self._state()}, about {duration(self._left_s(now))} left{self._ending()}")

    def finish(self) -> None:
        """The closing line, unless it all went in a blink."""
        with self._lock:
            if time.monotonic() - self._start < _BLINK_S:
                return
            self._write(f"{self._state()} in {duration(time.monotonic() - self._start)}{self._ending()}")

    def _state(self) -> str:
        unit = f" {self._unit}" if self._unit else ""
        return f"{self._title}: {self._done}/{self._total}{unit}"

    def _ending(self) -> str:
        return f"; {self._note}" if self._note else ""

    def _left_s(self, now: float) -> float:
        worked = self._done - self._before
        return (now - self._start) / max(worked, 1) * (self._total - self._done)


class BarProgress(Progress):
    """Bars on a terminal. Tasks may be opened inside each other and advanced from any thread."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._console = Console(stderr=True, highlight=False)
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
        )
        self._open = 0
        self._lock = threading.Lock()

    @contextmanager
    def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
        """A bar with the time left."""
        with self._lock:
            if self._open == 0:
                self._bars.start()
            self._open += 1
        number = self._bars.add_task(title, total=total, completed=done, unit=unit, note="")
        try:
            yield _BarTask(lambda steps, note: self._advance(number, steps, note))
        finally:
            self._bars.stop_task(number)
            with self._lock:
                self._open -= 1
                if self._open == 0:
                    self._bars.stop()
                    for task_id in self._bars.task_ids:
                        self._bars.remove_task(task_id)

    def say(self, message: str) -> None:
        """A line above the bars."""
        self._console.print(message, markup=False)

    def warn(self, message: str) -> None:
        """A yellow line above the bars."""
        self._console.print(f"warning: {message}", style="yellow", markup=False)

    def _advance(self, number: int, steps: int, note: str) -> None:
        from rich.progress import TaskID

        self._bars.update(TaskID(number), advance=steps)
        if note:
            self._bars.update(TaskID(number), note=note)


class _BarTask(Task):
    def __init__(self, move: Callable[[int, str], None]) -> None:
        self._move = move

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        self._move(steps, note)
