"""Blocks in groups, as jobs for workers."""

from __future__ import annotations

from collections.abc import Iterator

_AT_ONCE = 4
"""A worker gets at most this part, one fourth, of its share of the blocks that are left."""


def groups_of(blocks: int, workers: int) -> Iterator[range]:
    """Neighbouring blocks that a worker gets at once, by their places: ever fewer, so that all workers end together.

    Example:
        >>> [len(group) for group in groups_of(20, workers=1)]
        [5, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1]
    """
    first = 0
    while first < blocks:
        size = max(1, (blocks - first) // (_AT_ONCE * workers))
        yield range(first, first + size)
        first += size


def name_of_group(group: range) -> str:
    """Such as 'blocks 4 to 7'."""
    return f"block {group.start}" if len(group) == 1 else f"blocks {group.start} to {group.stop - 1}"
