"""Read, compute, write at the same time, in order, with a bounded number of items under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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
    waiting = iter(items)
    reads: deque[Future[Read]] = deque()
    writes: deque[Future[None]] = deque()
    with ThreadPoolExecutor(ahead, "reader") as readers, ThreadPoolExecutor(ahead, "writer") as writers:
        try:
            for item in waiting:
                reads.append(readers.submit(read, item))
                if len(reads) > ahead:
                    _step(reads, writes, compute, write, writers, ahead)
            while reads:
                _step(reads, writes, compute, write, writers, ahead)
            while writes:
                writes.popleft().result()
        finally:
            for future in reads:
                future.cancel()


def _step(
    reads: deque[Future[Read]],
    writes: deque[Future[None]],
    compute: Callable[[Read], Result],
    write: Callable[[Result], None],
    writers: ThreadPoolExecutor,
    ahead: int,
) -> None:
    result = compute(reads.popleft().result())
    while len(writes) >= ahead:
        writes.popleft().result()
    writes.append(writers.submit(write, result))
