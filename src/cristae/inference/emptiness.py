"""Blocks without content: which are not shown to networks, where that is asked for, and become background.

The rule looks at all that networks would be shown for a block, its halo or windows included. So a skipped block is one
whose voxels have nothing to be told apart by, as far as the networks can see.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from cristae.errors import RunError
from cristae.preprocess.normalize import Normalizer

EmptyRule = Literal["constant"] | float
"""`constant`: all grey values are the same. A number: the largest standard deviation of normalised grey values."""


def checked_rule(rule: EmptyRule | None) -> EmptyRule | None:
    """A rule that is one; None skips nothing.

    Raises:
        RunError: It is neither `constant` nor a number above 0.
    """
    if rule is None or rule == "constant":
        return rule
    if isinstance(rule, bool | str) or not (math.isfinite(rule) and rule > 0):
        raise RunError(
            f"skip_empty: expected constant, or the largest standard deviation of normalised grey values that counts "
            f"as empty, such as 0.02; got {rule}"
        )
    return float(rule)


def is_empty(raw: np.ndarray, first_slice: int, rule: EmptyRule, normalizers: Iterable[Normalizer]) -> bool:
    """Whether a block is empty.

    Args:
        raw: All that networks are shown for it: (Z, Y, X), or with filtered copies (C, Z, Y, X).
        first_slice: Of the volume, which the first Z is.
        rule: What counts as empty.
        normalizers: Of the networks; all must find it empty. Numbers are taken before `clip` and a local contrast.
    """
    channels = raw.reshape(-1, *raw.shape[-3:])
    if rule == "constant":
        return all(bool(channel.min() == channel.max()) for channel in channels)
    plain: list[Normalizer] = []
    for one in normalizers:  # members of an ensemble often share theirs
        bare = replace(one, clip=None, contrast=None, quantiles=())
        if bare not in plain:
            plain.append(bare)
    return all(_deviation(channel, first_slice, one) <= rule for one in plain for channel in channels)


def summary(numbers: Sequence[int], voxels: int) -> dict[str, Any]:
    """What a finished prediction says of blocks that were skipped.

    Args:
        numbers: Of the blocks, ascending.
        voxels: In them.

    Example:
        >>> summary([0, 1, 2, 7], 400)
        {'blocks': 4, 'voxels': 400, 'numbers': '0-2, 7'}
    """
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    text = ", ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in parts)
    return {"blocks": len(numbers), "voxels": voxels, "numbers": text}


def rule_text(rule: EmptyRule) -> str:
    """A rule in words."""
    return (
        "one grey value"
        if rule == "constant"
        else f"a standard deviation of normalised grey values of {rule:g} at most"
    )


def _deviation(voxels: np.ndarray, first_slice: int, normalizer: Normalizer) -> float:
    """Standard deviation of normalised grey values (Z, Y, X), slice by slice; NaN where a value is NaN."""
    count, total, squares = 0, 0.0, 0.0
    for z, plane in enumerate(voxels):
        numbers = normalizer.at(plane[None], [first_slice + z]).astype(np.float64)
        count, total, squares = count + numbers.size, total + float(numbers.sum()), squares + float((numbers**2).sum())
    return math.sqrt(max(0.0, squares / count - (total / count) ** 2)) if math.isfinite(squares) else math.nan
