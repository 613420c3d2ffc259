"""Progress of long work. Functions take a `Progress`; the command line hands in a visible one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Task:
    """One piece of work with a known length; this base shows nothing."""

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        """Say that `steps` more units are done; `note` is a short fact such as 'loss 0.231'. With 0
        steps only the note is new."""


class Progress:
    """Where progress and messages go; this base is silent, which is what the Python functions use by default."""

    @contextmanager
    def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
        """Open a task of `total` units of which `done` were done earlier (a continued run)."""
        yield Task()

    def say(self, message: str) -> None:
        """A line for the user."""

    def warn(self, message: str) -> None:
        """A line that should not be overlooked."""


class Handed(Progress):
    """Hands all on to another one; a base for those that change what is handed on."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    @contextmanager
    def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
        """As it is shown."""
        with self._shown.task(title, total, unit=unit, done=done) as task:
            yield task

    def say(self, message: str) -> None:
        """As it is shown."""
        self._shown.say(message)

    def warn(self, message: str) -> None:
        """As it is shown."""
        self._shown.warn(message)


class WarnOnce(Handed):
    """Hands each warning on once, as of trainings that share recipe and data."""

    def __init__(self, shown: Progress) -> None:
        super().__init__(shown)
        self._warned: set[str] = set()

    def warn(self, message: str) -> None:
        """Unless it was shown already."""
        if message not in self._warned:
            self._warned.add(message)
            super().warn(message)


class SayOnce(WarnOnce):
    """Hands each line on once, as of plans that are much alike."""

    def __init__(self, shown: Progress) -> None:
        super().__init__(shown)
        self._said: set[str] = set()

    def say(self, message: str) -> None:
        """Unless it was shown already."""
        if message not in self._said:
            self._said.add(message)
            super().say(message)
