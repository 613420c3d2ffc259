"""Counting in pieces: several at once, put together in their order, kept for the case of a kill."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from cristae.evaluation.scoring.ledger import Arrays, Ledger
from cristae.metrics.score import Score
from cristae.progress import Progress, Task
from cristae.readahead import read_ahead

MOST_THREADS = 4
"""Pieces in work at once; memory grows with them."""


class Counting(Protocol):
    """One family of scores of one volume, made of counts that add up over pieces."""

    title: str
    """What the progress line says."""
    pieces: Sequence[Any]
    """What is counted one after the other: boxes of the volume, mostly."""

    @property
    def preparations(self) -> int:
        """Times that `prepare` advances."""

    def prepare(self, advance: Callable[[], None]) -> None:
        """Find out what must be known of the whole volume before pieces can be counted; repeated after a kill."""

    def measure(self, piece: Any) -> Any:
        """Count one piece; called from several threads at once."""

    def add(self, counted: Any) -> None:
        """Take over what `measure` found; called in the order of the pieces."""

    def arrays(self) -> Arrays:
        """Everything counted so far, as plain arrays."""

    def restore(self, arrays: Arrays) -> None:
        """Continue from what `arrays` gave."""

    @staticmethod
    def rows(volume: str, parts: Sequence[Any]) -> Iterator[Score]:
        """The scores of one volume, or of several pooled under one name; `parts` are of this class."""


def count_all(countings: Mapping[str, Counting], ledger: Ledger, progress: Progress) -> None:
    """Count what is not in the ledger yet.

    Args:
        countings: By a name, unique in the ledger.
        ledger: Holds what an earlier, killed evaluation had counted.
        progress: Where to show how far it is.

    Raises:
        CristaeError: An image cannot be read, or holds values that cannot be compared.
    """
    for name, counting in countings.items():
        done = ledger.done.get(name, 0)
        if done:
            counting.restore(ledger.counts[name])
        if done < len(counting.pieces):
            total = counting.preparations + len(counting.pieces)
            with progress.task(counting.title, total, unit="blocks", done=done) as task:
                counting.prepare(task.advance)
                _count(name, counting, done, ledger, task)


def _count(name: str, counting: Counting, done: int, ledger: Ledger, task: Task) -> None:
    whole = True  # False while a piece is added: counts that hold half of it, or it and not its number, are not kept
    try:
        threads = min(MOST_THREADS, os.cpu_count() or 1, len(counting.pieces) - done)
        for counted in read_ahead(counting.measure, counting.pieces[done:], threads=threads, ahead=threads):
            whole = False
            counting.add(counted)
            done += 1
            whole = True
            task.advance()
            if ledger.due():
                ledger.put(name, done, counting.arrays())
                ledger.save()
    finally:
        if whole:
            ledger.put(name, done, counting.arrays())
            if done < len(counting.pieces):
                ledger.save()
