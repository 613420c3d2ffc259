"""Bounded read-ahead: results of threads in the order of their items, never more than a few of them in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int, ahead: int, name: str = "read-ahead"
) -> Generator[Result, None, None]:
    """Yield `function(item)` in the order of the items, computed by threads before it is asked for.

    An exception of `function` is raised in place of its result; items that no thread has begun are then left out, as
    they are when the iterator is closed.

    Args:
        function: Called by several threads at once.
        items: Taken lazily.
        threads: How many threads.
        ahead: How many results may be computed or under way before the one that is asked for is taken.
        name: Prefix of the threads' names.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, name) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
