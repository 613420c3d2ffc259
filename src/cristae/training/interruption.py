"""Ctrl-C while a network is trained: the first one is noted, and the training stops where it can be resumed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from cristae.progress import Progress

ASKED_FROM_OUTSIDE = threading.Event()
"""Set where another process, which has seen Ctrl-C, asks this one to stop."""
_noting: list[Interruption] = []
"""The trainings that are under way, which stop by themselves when they are asked from outside."""


def stop_if_asked() -> None:
    """For work beside trainings, such as reading and validating: end it where another process asks this one to stop.

    Raises:
        KeyboardInterrupt: It does, and no training is under way that will stop where it can be resumed.
    """
    if ASKED_FROM_OUTSIDE.is_set() and not _noting:
        raise KeyboardInterrupt


class Interruption:
    """Whether Ctrl-C was pressed: the first one is only noted, a second one interrupts at once.

    Args:
        progress: Where to say that the training will stop.
        when: How soon, and what is kept, in words.
        notable: Whether there is something to stop; where not, the first one interrupts at once.
        then: What to do when the first one is noted.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        when: str = "after this batch, with a checkpoint",
        notable: Callable[[], bool] = lambda: True,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        self._progress, self._when, self._notable, self._then = progress, when, notable, then
        self._noted = False

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self._noted or ASKED_FROM_OUTSIDE.is_set()

    def heed(self) -> None:
        """Where another process asks this one to stop, do what Ctrl-C would do here.

        Raises:
            KeyboardInterrupt: There is nothing that could stop in order.
        """
        if ASKED_FROM_OUTSIDE.is_set() and not self._noted:
            if not self._notable():
                raise KeyboardInterrupt
            self._noted = True
            self._then()

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the first Ctrl-C while inside; not where someone else handles it already."""
        before = signal.getsignal(signal.SIGINT)
        mine = threading.current_thread() is threading.main_thread() and before is signal.default_int_handler
        if mine:
            signal.signal(signal.SIGINT, self._note)
        _noting.append(self)
        try:
            yield
        finally:
            _noting.remove(self)
            if mine:  # Lightning ignores the signal once it has seen one
                signal.signal(signal.SIGINT, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if not self._notable():
            raise KeyboardInterrupt
        self._noted = True
        self._progress.say(f"stopping {self._when}; Ctrl-C again stops at once")
        self._then()
