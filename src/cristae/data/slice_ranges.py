"""Numbers of slices as ranges of consecutive ones."""

from __future__ import annotations

from collections.abc import Iterable

_SHOWN = 10
"""Ranges that a message lists."""


def slice_ranges(slices: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Ranges (start, stop) of consecutive slices, stop exclusive, rising.

    Example:
        >>> slice_ranges([5, 3, 4, 9, 9])
        ((3, 6), (9, 10))
    """
    ranges: list[tuple[int, int]] = []
    for z in sorted(set(slices)):
        if ranges and ranges[-1][1] == z:
            ranges[-1] = (ranges[-1][0], z + 1)
        else:
            ranges.append((z, z + 1))
    return tuple(ranges)


def ranges_text(slices: Iterable[int]) -> str:
    """The ranges for a message, both ends inclusive, at most ten of them; 'none' for no slices.

    Example:
        >>> ranges_text([5, 3, 4, 9])
        '3-5, 9'
    """
    ranges = slice_ranges(slices)
    shown = [f"{start}" if stop == start + 1 else f"{start}-{stop - 1}" for start, stop in ranges[:_SHOWN]]
    return (", ".join(shown) or "none") + (f" and {len(ranges) - _SHOWN} more ranges" if len(ranges) > _SHOWN else "")
