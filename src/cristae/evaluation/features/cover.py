"""Which channels can stand for all others: a small set such that every channel is close to one of it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Representative:
    """A channel that is kept."""

    channel: int
    stands_for: int
    """Channels that were close to it and to none that was kept before, itself among them."""


def greedy_cover(close: np.ndarray, wanted: np.ndarray) -> tuple[Representative, ...]:
    """Keep the channel that stands for most, then the one that stands for most of the others, until none is left.

    Ties go to the lower channel. The smallest set can be smaller: no quick way is known to find that, and this one is
    larger by a factor of at most 1 + ln(n).

    Args:
        close: (N, ceil(N / 8)) uint8, bit j of row i (the lowest bit first) set where i and j are close. It is
            symmetric; channels are close to themselves.
        wanted: (N,) bool, the channels that count.

    References:
        Johnson (1974), Approximation algorithms for combinatorial problems, https://doi.org/10.1016/S0022-0000(74)80044-9

    Example:
        >>> close = np.packbits([[1, 1, 0], [1, 1, 1], [0, 1, 1]], axis=1, bitorder="little")
        >>> greedy_cover(close, np.ones(3, bool))
        (Representative(channel=1, stands_for=3),)
    """
    left = np.packbits(wanted, bitorder="little")
    waiting = [(-_count(close[channel] & left), int(channel)) for channel in np.flatnonzero(wanted)]
    heapq.heapify(waiting)
    kept = []
    while waiting:
        before, channel = heapq.heappop(waiting)
        gain = _count(close[channel] & left)  # it can only have become less since
        if gain == -before and gain:
            kept.append(Representative(channel, gain))
            left &= ~close[channel]
        elif gain:
            heapq.heappush(waiting, (-gain, channel))
    return tuple(kept)


def _count(bits: np.ndarray) -> int:
    return int(np.bitwise_count(bits).sum(dtype=np.int64))
