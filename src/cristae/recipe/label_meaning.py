"""What label values mean, from all that files show; where that leaves doubt, a question to the user."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cristae.data.classes import UNLABELLED
from cristae.data.label_evidence import LabelEvidence
from cristae.data.object_ids import is_usual_mark
from cristae.data.values import HIGHEST
from cristae.recipe.label_background import find_background
from cristae.recipe.label_groups import MAX_CLASSES, Group, groups_of
from cristae.recipe.label_marks import Marks, set_marks_apart

_MANY = 64
"""More values than this can only be ids of objects."""
_THIN = 0.65
"""Less of a stroke of two or three voxels is not at its edge; of a spot five voxels wide, more."""
_SEVERAL = 8
"""So many values of one connected part each are ids of objects rather than classes."""
_HASHED = 65_536
"""Few ids from here on are no numbers that a person gives to classes."""


@dataclass(frozen=True)
class Row:
    """A value, range or colour and what it means."""

    group: Group
    name: str
    """Class name, or `unlabelled`."""


@dataclass(frozen=True)
class ClassMeaning:
    """Values stand for classes."""

    kind: Literal["ids", "values"]
    rows: tuple[Row, ...]
    """The background first, what was not annotated last."""
    questions: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The background first."""
        return tuple(row.name for row in self.rows if row.name != UNLABELLED)

    def foreground_counts(self, found: Mapping[int, int]) -> list[int]:
        """Voxels of each foreground class, from the counts of values."""
        ranges = self.foreground_ranges
        return [sum(count for value, count in found.items() if low <= value <= high) for low, high in ranges]

    @property
    def foreground_ranges(self) -> list[tuple[int, int]]:
        """Inclusive ranges of values of each foreground class."""
        return [(row.group.low, row.group.high) for row in self.rows[1:] if row.name != UNLABELLED]

    def says_nothing(self, found: Mapping[int, int]) -> bool:
        """Whether a slice with these values was not annotated at all."""
        marks = [row.group for row in self.rows if row.name == UNLABELLED]
        return bool(found) and all(any(mark.holds(value) for mark in marks) for value in found)


@dataclass(frozen=True)
class ObjectMeaning:
    """Values are ids of objects."""

    count: int
    """How many were seen."""
    to: Literal["foreground", "boundary"]
    background: tuple[Group, ...]
    """Ids beside 0 that are no object."""
    unlabelled: tuple[Group, ...] | None
    """Ids that were not annotated; None where nothing has to be stated."""
    questions: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The background first."""
        return ("background", "object" if self.to == "foreground" else "boundary")

    def foreground_counts(self, found: Mapping[int, int]) -> list[int]:
        """Voxels of objects, from the counts of values: one number."""
        empty = {group.low for group in (*self.background, *(self.unlabelled or ()))} | {0}
        return [sum(count for value, count in found.items() if value not in empty)]

    @property
    def foreground_ranges(self) -> list[tuple[int, int]]:
        """Inclusive ranges that hold the ids of objects."""
        return [(1, HIGHEST)]

    def says_nothing(self, found: Mapping[int, int]) -> bool:
        """Whether a slice with these values was not annotated at all."""
        return bool(found) and found.keys() <= {group.low for group in self.unlabelled or ()}


LabelMeaning = ClassMeaning | ObjectMeaning


def meaning_of(evidence: LabelEvidence) -> LabelMeaning:
    """Find out what the values mean.

    Raises:
        LabelError: These are no labels; the message says what to do about it.
    """
    apart = set_marks_apart(groups_of(evidence), evidence.dtype)
    background, doubt = find_background(apart.rest)
    others = [group for group in apart.rest if group is not background]
    single = len(others) >= 4 and all(group.parts == 1 and not (group.name or group.color) for group in others)
    if len(apart.rest) > MAX_CLASSES or _are_hashed(others, evidence) or (single and len(others) >= _SEVERAL):
        return _objects(apart, evidence)
    rows = [Row(background, _plain_name(background) or "background")]
    for group in others:
        rows.append(Row(group, _class_name(group, len(others), {row.name for row in rows})))
    are_ids = not apart.marks and [row.group.key for row in rows] == [str(number) for number in range(len(rows))]
    questions = (
        *apart.questions,
        "" if apart.questions and not apart.marks else doubt,
        _about_objects(others) if single else "",
        _about_strokes(background, others) if not apart.marks else "",
        _about_edges(apart.rest),
        _about_jpeg(apart.rest, evidence),
    )
    return ClassMeaning(
        "ids" if are_ids else "values",
        (*rows, *(Row(group, UNLABELLED) for group in apart.marks)),
        tuple(question for question in questions if question),
    )


def _are_hashed(groups: Sequence[Group], evidence: LabelEvidence) -> bool:
    """Whether numbers are too large for classes, and no colours packed into 32 bits either."""
    values = [group.low for group in groups if group.low]
    if evidence.kind == "colors" or evidence.dtype.itemsize <= 2 or len(values) < 2:
        return False
    opaque = all(value & 0xFF == 0xFF for value in values) or all(value >> 24 & 0xFF == 0xFF for value in values)
    return max(abs(value) for value in values) >= _HASHED and not (evidence.dtype.itemsize == 4 and opaque)


def _objects(apart: Marks, evidence: LabelEvidence) -> ObjectMeaning:
    ids, dtype = apart.rest, evidence.dtype
    background, to, about_zero = _what_is_no_object(ids)
    unlabelled, about_marks = apart.marks or None, ""
    if unlabelled is None and any(is_usual_mark(g.low, dtype) for g in ids if not g.is_color and g not in background):
        unlabelled = ()
        about_marks = "are ids below 0, or the largest of the type, objects? List those that were not annotated"
    questions = (*apart.questions, _about_number(ids), about_zero, about_marks)
    return ObjectMeaning(
        evidence.distinct - len(apart.marks),
        to,
        background,
        unlabelled,
        tuple(question for question in questions if question),
    )


def _about_number(ids: Sequence[Group]) -> str:
    if len(ids) > _MANY or (ids[0].is_color and len(ids) > MAX_CLASSES):
        return ""
    return f"are these {len(ids)} values ids of objects? For classes write `kind: values` and map each value"


def _what_is_no_object(ids: Sequence[Group]) -> tuple[tuple[Group, ...], Literal["foreground", "boundary"], str]:
    """Ids beside 0 that are background, what to learn, and a question."""
    commonest = max(ids, key=lambda group: group.share)
    share = f"{commonest.shown} ({commonest.share:.0%})"
    if any(_is_nothing(group) for group in ids):
        if commonest.share <= 0.5 or _is_nothing(commonest):
            return (), "foreground", ""
        return (), "foreground", f"is {share} an object? If not, add `background: [{_quoted(commonest)}]`"
    if commonest.share > 0.3 and commonest.rim_share > 0.3:
        return (commonest,), "foreground", f"0 does not occur; is {share}, the commonest, background?"
    return (), "boundary", "0 does not occur, so that objects fill everything; are the borders between them wanted?"


def _is_nothing(group: Group) -> bool:
    """0, black and transparent are read as no object."""
    return group.color in ("#000000", "#00000000") if group.is_color else group.holds(0)


def _quoted(group: Group) -> str:
    return f"'{group.key}'" if group.is_color else group.key


def _plain_name(group: Group) -> str:
    """The name that the file gives, as a class may be called."""
    return re.sub(r"[\s/\\]+", " ", group.name).strip()[:60]


def _class_name(group: Group, others: int, taken: set[str]) -> str:
    number = group.color.lstrip("#") if group.is_color else str(group.value).replace("-", "minus-")
    name = _plain_name(group) or ("foreground" if others == 1 else f"class-{number}")
    return name if name not in taken and name != UNLABELLED else f"{name}-{number}"


def _about_objects(groups: Sequence[Group]) -> str:
    """Several ids that each have one connected part may be objects rather than classes."""
    if groups[-1].high - groups[0].low + 1 > len(groups):
        return ""
    return (
        f"are {groups[0].key} to {groups[-1].key} classes? Each is one connected part, as ids of single objects are; "
        "for objects write `kind: instances`, `to: foreground` and `class_name: object`"
    )


def _about_strokes(background: Group, others: Sequence[Group]) -> str:
    """Thin lines of several classes in nearly nothing are how sparse annotation is drawn."""
    thin = all(group.flat_share < _THIN and not group.color for group in others)
    if len(others) < 2 or background.share < 0.9 or not thin:
        return ""
    return (
        f"does {background.shown} mean 'not annotated'? The others are thin strokes, as are drawn to mark examples; "
        "then map it to `unlabelled`, and one of them to the background"
    )


def _about_edges(groups: Sequence[Group]) -> str:
    for below, group, above in zip(groups, groups[1:], groups[2:], strict=False):
        thin = group.flat_share < 0.05 and group.share < 0.05 and not group.is_color
        if thin and above.low - below.high >= 64 and group.low == group.high:
            return f"is {group.shown} a class? It is only seen in thin lines between the others, as blended edges are"
    return ""


def _about_jpeg(groups: Sequence[Group], evidence: LabelEvidence) -> str:
    if len(groups) < 3 or not any(group.low < group.high for group in groups):
        return ""
    return (
        f"are there labels from before {'JPEG' if evidence.jpeg else 'they were resampled'}? Here an edge between two "
        "classes looks like a thin line of the one whose values lie between"
    )
