"""A choice that a recipe makes, and the measured fact behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(Generic[T]):
    """What a rule chose, and why, as the recipe's comment says it; empty where there is nothing to say."""

    value: T
    reason: str
