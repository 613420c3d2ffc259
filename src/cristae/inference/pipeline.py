"""Read, compute, write at the same time, in order, with a bounded number of items under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from cristae.readahead import read_ahead

Item = TypeVar("Item")
Read = TypeVar("Read")
Result = TypeVar("Result")

AHEAD = 2
"""Items that are read ahead of the one that is computed, and items that may wait to be written."""


def run_pipeline(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    compute: Callable[[Read], Result],
    write: Callable[[Result], None],
    *,
    ahead: int = AHEAD,
) -> None:
    """Pass every item through `read` (threads), `compute` (this thread, in order) and `write` (threads).

    The first exception of any of them, Ctrl-C included, stops the others after what they are doing and is raised.
    A result that was computed before that is still written.

    Args:
        items: What to work on; taken lazily.
        read: Called by reader threads.
        compute: Called by the caller's thread.
        write: Called by writer threads.
        ahead: How many items may be read but not yet computed, and computed but not yet written.
    """
    writes: deque[Future[None]] = deque()
    with (
        ThreadPoolExecutor(ahead, "writer") as writers,
        closing(read_ahead(read, items, threads=ahead, ahead=ahead, name="reader")) as found,
    ):
        for one in found:
            result = compute(one)
            while len(writes) >= ahead:
                writes.popleft().result()
            writes.append(writers.submit(write, result))
            del one, result  # a block must not outlive its step: memory is planned without it
        while writes:
            writes.popleft().result()
