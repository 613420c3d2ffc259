"""Machine code that runs on several cores at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """One thread for each item; the function must let other threads run. A single item needs none."""
    if len(items) == 1:
        return [function(items[0])]
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(function, items))
