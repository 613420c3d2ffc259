"""Which label values mean that a voxel was not annotated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cristae.recipe.label_groups import Group

_SMALL_ID = 64
_TOP = (255, 65_535, 2**32 - 1, 2**63 - 1)
# 'invalid', 'transparent' and 'outside' of BigCAT and Paintera; in CREMI's clefts the highest is the background.
_TOP_OF_64_BITS = (2**64 - 3, 2**64 - 2, 2**64 - 1)
# -100 is PyTorch's, -9999 a habit of tables; a type's least value is NaN's place in integers.
_NEGATIVE = (*range(-10, 0), -99, -100, -127, -128, -255, -999, -1000, -9999, -(2**15), -(2**31), -(2**63))
_NAME = re.compile(
    r"^(un-?label+ed|un-?annotated|not (labell?ed|annotated)|ignored?|void|unknown|undefined)$", re.IGNORECASE
)


@dataclass(frozen=True)
class Marks:
    """Groups of values set apart."""

    marks: tuple[Group, ...]
    """What means 'not annotated'."""
    rest: tuple[Group, ...]
    questions: tuple[str, ...] = ()


def set_marks_apart(groups: Sequence[Group], dtype: np.dtype) -> Marks:
    """Tell what means 'not annotated' from the rest.

    Args:
        groups: Of values.
        dtype: Of the files.
    """
    every = tuple(groups)
    marks = tuple(group for group in groups if _is_mark(group, groups, dtype))
    rest = tuple(group for group in groups if group not in marks)
    shown = " and ".join(group.key for group in marks)
    if len(rest) < 2 and any(_is_odd(group) for group in marks):
        return Marks((), every, (f"does {shown} mean 'not annotated'? Then it is `unlabelled`, not a class",))
    if len(rest) < 2 or not marks:
        return Marks((), every)
    if any(_may_be_background(group) for group in marks) and not any(group.holds(0) for group in rest):
        return Marks((), every)
    doubtful = [group for group in marks if not (_is_odd(group) or _NAME.match(group.name))]
    if not doubtful:
        return Marks(marks, rest)
    if doubtful[0].is_color:
        return Marks(marks, rest, ("do transparent voxels mean 'not annotated'? Otherwise write their class",))
    question = (
        f"does {shown} mean 'not annotated', as in many programs? Otherwise write its class in place of `unlabelled`"
    )
    return Marks(marks, rest, (question,))


def _may_be_background(group: Group) -> bool:
    return group.share > 0.5 and not (group.is_color or group.low < 0 or group.name)


def _is_odd(group: Group) -> bool:
    """Values that hardly anyone gives to a class."""
    return not group.is_color and (group.low < 0 or group.low >= 2**31 - 1)


def _is_mark(group: Group, groups: Sequence[Group], dtype: np.dtype) -> bool:
    if group.name:
        return bool(_NAME.match(group.name))
    if group.low != group.high:
        return False
    if group.is_color:
        return group.low == 0 and any(other.color in ("#000000", "#ffffff") for other in groups)
    if not _looks_marked(group.low, dtype):
        return False
    others = [other.high for other in groups if not _looks_marked(other.low, dtype)]
    if group.low < 0 or group.low in _TOP_OF_64_BITS or not others:
        return True
    many = len(others) > _SMALL_ID and group.low > 2 * max(others)
    return many or (max(others) <= _SMALL_ID and group.low > 4 * (max(others) + 1))


def _looks_marked(value: int, dtype: np.dtype) -> bool:
    largest = int(np.iinfo(dtype).max) if dtype.kind in "iu" else None
    return value in _NEGATIVE or value in _TOP or value in _TOP_OF_64_BITS or value == largest
