"""Counts that come from elsewhere, in any order, put together in the order of the pieces: as one process would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cristae.compiled import usable_cores
from cristae.evaluation.scoring.counting import MOST_THREADS, Counting
from cristae.evaluation.scoring.ledger import Ledger
from cristae.progress import Progress
from cristae.readahead import read_ahead

MEASURING = "Counting"
"""The task of the progress of `measure_pieces`."""


class Gathering:
    """Countings whose pieces are measured elsewhere; what is complete stands in the ledger.

    Args:
        countings: By their names in the ledger; those that need no preparation.
        ledger: Holds what an earlier, killed evaluation had counted.
    """

    def __init__(self, countings: Mapping[str, Counting], ledger: Ledger) -> None:
        self._countings, self._ledger = countings, ledger
        self._next = {name: ledger.done.get(name, 0) for name in countings}
        self._waiting: dict[str, dict[int, list[Any]]] = {name: {} for name in countings}
        self._whole = True
        """False while a piece is added: counts that hold half of it are not kept."""
        for name, counting in countings.items():
            if self._next[name]:
                counting.restore(ledger.counts[name])

    def left(self, name: str) -> range:
        """The places of the pieces that are still to be measured."""
        return range(self._next[name], len(self._countings[name].pieces))

    def take(self, name: str, first: int, measured: list[Any]) -> None:
        """Take over neighbouring pieces, of which `first` is the place of the first; each piece comes once."""
        waiting = self._waiting[name]
        waiting[first] = measured
        while (found := waiting.pop(self._next[name], None)) is not None:
            self._whole = False
            for one in found:
                self._countings[name].add(one)
            self._next[name] += len(found)
            self._whole = True
        if self._ledger.due():
            self.keep()
            self._ledger.save()

    def keep(self) -> None:
        """Put into the ledger what was taken over so far."""
        if self._whole:
            for name, counting in self._countings.items():
                self._ledger.put(name, self._next[name], counting.arrays())


Elsewhere = Callable[[Mapping[str, Counting], Ledger], None]
"""Has countings measured elsewhere and puts them into the ledger."""


def measure_pieces(counting: Counting, places: range, progress: Progress) -> list[Any]:
    """What some pieces of a counting hold, which needs no preparation; `Gathering` takes it over."""
    pieces, found = [counting.pieces[place] for place in places], []
    threads = max(1, min(MOST_THREADS, usable_cores(), len(pieces)))
    with progress.task(MEASURING, len(pieces), unit="blocks") as task:
        for measured in read_ahead(counting.measure, pieces, threads=threads, ahead=threads):
            found.append(measured)
            task.advance()
    return found
