"""The lines of a starter recipe about labels and their split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cristae.data.slice_ranges import ranges_text, slice_ranges
from cristae.recipe.findings import Findings, LabelFindings
from cristae.recipe.label_groups import Group
from cristae.recipe.label_meaning import ClassMeaning, ObjectMeaning
from cristae.recipe.mask_findings import MaskFindings
from cristae.recipe.proposed_split import Split, split_freely, split_in_order
from cristae.recipe.questions import question_lines
from cristae.recipe.text import scalar_to_yaml as _yaml

_HELD_OF_A_SLICE = 0.25
_SHOWN = 5


def label_lines(labels: LabelFindings | MaskFindings) -> list[str]:
    """The `labels:` block."""
    if isinstance(labels, MaskFindings):
        return _mask_lines(labels)
    meaning = labels.meaning
    kind = "instances" if isinstance(meaning, ObjectMeaning) else meaning.kind
    head = ["      labels:", f"        kind: {kind}", f"        path: {_yaml(labels.path)}"]
    if labels.match != "name":
        such = f": '{labels.example[0]}' is for '{labels.example[1]}'" if labels.example else ""
        head.append(f"        match: {labels.match}  # how label files find their image file{such}")
    if labels.slices is not None:
        head.append(f"        slices: {list(labels.slices)}  # which image slice each label slice belongs to, from 0")
    asked = [line for question in meaning.questions for line in question_lines(question, "        ")]
    if isinstance(meaning, ObjectMeaning):
        return [*head, *_object_lines(meaning, labels), *asked]
    seen = "the labelled voxels" if labels.complete else "the voxels looked at"
    if meaning.kind == "ids":
        return [*head, *(f"        # {_value_words(row.group, seen)}: {row.name}" for row in meaning.rows), *asked]
    return [
        *head,
        *asked,
        "        values:  # what each value means; `unlabelled` means that the voxel does not count",
        *_about_ranges(meaning, jpeg=labels.evidence.jpeg),
        *(
            f"          {_yaml(row.group.key)}: {_yaml(row.name)}  # {_value_words(row.group, seen)}"
            for row in meaning.rows
        ),
    ]


def split_lines(found: Findings) -> list[str]:
    """The regions of training and validation."""
    comment, train, validate, question = _split(found)
    return [
        f"  # {comment}",
        "  # Neighbouring slices are alike: keep train and validate apart, or the score flatters. For scores on all",
        "  # that is labelled, and an ensemble, cross-validate: the section `folds:`.",
        *(question_lines(question, "  ") if question else []),
        "  train:",
        *(f"    - {{volume: {_yaml(found.name)}, {part}}}" for part in train),
        "  validate:",
        *(f"    - {{volume: {_yaml(found.name)}, {part}}}" for part in validate),
    ]


def _mask_lines(labels: MaskFindings) -> list[str]:
    drawn = "; a voxel in several belongs to the last of them" if not labels.overlapping else ""
    lines = ["      labels:", "        kind: masks"]
    for mask in labels.masks:
        lines += [line for question in mask.questions for line in question_lines(question, "        ")]
    if labels.slices is not None:
        lines.append(f"        slices: {list(labels.slices)}  # which image slice each mask slice belongs to, from 0")
    lines.append(f"        masks:  # one file for each class{drawn}")
    for one in labels.masks:
        match = f", match: {one.match}" if one.match != "name" else ""
        lines.append(
            f"          {_yaml(one.name)}: {{path: {_yaml(one.path)}, inside: {_yaml(one.inside)}{match}}}"
            f"  # {one.share:.2%} of the voxels looked at"
        )
    return lines


def _object_lines(meaning: ObjectMeaning, labels: LabelFindings) -> list[str]:
    lines = [f"        # {meaning.count} different values were found, so they are read as ids of objects."]
    if labels.split_apart and labels.touching is not None:
        lines += [
            f"        # {labels.touching.share:.0%} of them touch another in a slice. Two classes tell them apart:",
            "        # interior and contact. `affinities` need no class between; `to: foreground` makes one of all.",
            "        to: interior_and_boundary",
            f"        class_name: {labels.class_names[1]}",
            f"        boundary_name: {labels.class_names[2]}",
        ]
    else:
        if labels.touching is not None and labels.touching.changing > 0.5:
            lines.append("        # Each slice has ids of its own: most voxels have another object in the next slice.")
        other = "`boundary`, for the borders between them" if meaning.to == "foreground" else "`foreground`, for them"
        lines += [
            "        # To tell apart objects that touch: `interior_and_boundary` or `affinities`.",
            f"        to: {meaning.to}  # or {other}",
            f"        class_name: {meaning.class_names[1]}",
        ]
    if meaning.background:
        lines.append(f"        background: {_list(meaning.background)}  # no object, as 0 is")
    if meaning.unlabelled is not None:
        comment = "ids of voxels that were not annotated" if meaning.unlabelled else "every id is an object"
        lines.append(f"        unlabelled: {_list(meaning.unlabelled)}  # {comment}")
    return lines


def _list(groups: Sequence[Group]) -> str:
    return f"[{', '.join(_yaml(group.key) if group.is_color else group.key for group in groups)}]"


def _value_words(group: Group, seen: str) -> str:
    color = f" ({group.color})" if group.color and not group.is_color else ""
    what = "values" if group.low < group.high else "colour" if group.is_color else "value"
    return f"{what} {group.key}{color}, {group.share:.2%} of {seen}"


def _about_ranges(meaning: ClassMeaning, *, jpeg: bool) -> list[str]:
    if all(row.group.low == row.group.high for row in meaning.rows):
        return []
    why = "JPEG changes values" if jpeg else "values are blended at edges"
    return [f"          # {why}, so that ranges are given, half-way between the values that areas have."]


def _split(found: Findings) -> tuple[str, list[str], list[str], str]:
    """A comment, the regions of both sides, and a question or ''."""
    labels = found.labels
    what = "images" if found.kind == "images" else "slices"
    slices = list(range(found.shape[0])) if labels is None else list(labels.labelled)
    counts = np.ones((len(slices), 1), np.int64) if labels is None else labels.counts
    comment = f"{len(slices)} of {found.shape[0]} {what} have labels."
    if labels is not None and labels.complete and _are_few(labels, found.kind):
        slices, counts = list(labels.filled), counts[counts.any(axis=1)]
        some = "1 of them holds" if len(slices) == 1 else f"{len(slices)} of them hold"
        comment += (
            f" Only {some} anything but background and only {'this one is' if len(slices) == 1 else 'these are'} used; "
            "add the others if they were annotated too."
        )
    if len(slices) == 1:
        return _split_one_slice(found, slices[0], comment)
    if found.kind == "images":
        split = split_freely(counts)
        names = [_yaml(name) for name in found.image_names]
        sides = [[f"images: [{', '.join(names[slices[i]] for i in side)}]"] for side in (split.train, split.validate)]
    else:
        split = split_in_order(counts, slices)
        sides = [_slices([slices[i] for i in side]) for side in (split.train, split.validate)]
    return comment, sides[0], sides[1], _about_missing(found, split, slices, counts)


def _are_few(labels: LabelFindings | MaskFindings, kind: str) -> bool:
    """Whether so few slices have foreground that the others were hardly annotated; an image alone cannot be split."""
    return 0 < len(labels.filled) < len(labels.labelled) / 2 and (len(labels.filled) > 1 or kind == "volume")


def _about_missing(found: Findings, split: Split, slices: Sequence[int], counts: np.ndarray) -> str:
    """A question about what is not on both sides."""
    if found.labels is None or not split.missing:
        return ""
    names = found.labels.foreground
    parts = []
    for place in split.missing[:_SHOWN]:
        where = [slices[i] for i in np.flatnonzero(counts[:, place]).tolist()]
        shown = ranges_text(where)
        if found.kind == "images":
            shown = ", ".join(found.image_names[number] for number in where[:_SHOWN])
        parts.append(f"'{names[place]}' ({'only' if found.labels.complete else 'seen only'} in {shown})")
    return (
        f"can more be labelled? Training and validation cannot both have {', '.join(parts)}, and what validation lacks "
        "is not scored"
    )


def _split_one_slice(found: Findings, z: int, comment: str) -> tuple[str, list[str], list[str], str]:
    """Two parts of the one labelled slice, one below the other or, where that has more classes in both, beside it."""
    height, width = found.shape[1:]
    profiles = (np.ones((height, 1), np.int64), np.ones((width, 1), np.int64))
    if found.labels is not None and found.labels.profiles is not None:
        profiles = found.labels.profiles
    splits = [split_in_order(profile, range(len(profile)), held=_HELD_OF_A_SLICE) for profile in profiles]
    axis = 1 if len(splits[1].missing) < len(splits[0].missing) else 0
    split = splits[axis]
    sides = [
        [f"box: '{z}:{z + 1},{span},:'" if axis == 0 else f"box: '{z}:{z + 1},:,{span}'" for span in _spans(side)]
        for side in (split.train, split.validate)
    ]
    names = ("upper", "lower") if axis == 0 else ("left", "right")
    train, validate = names if split.train[0] < split.validate[0] else names[::-1]
    where = f"Its {train} part trains, its {validate} part validates."
    if len(sides[0]) > 1:
        where = "Its outer parts train, one between them validates."
    question = ""
    if found.labels is not None and split.missing:
        missing = ", ".join(f"'{found.labels.foreground[place]}'" for place in split.missing[:_SHOWN])
        question = f"can a second slice be labelled? No two parts of this one both hold {missing}"
    return f"{comment} {where}", sides[0], sides[1], question


def _spans(places: Sequence[int]) -> list[str]:
    return [f"{start}:{stop}" for start, stop in slice_ranges(places)]


def _slices(numbers: Sequence[int]) -> list[str]:
    """Regions of slices: ranges where there are few, otherwise a list."""
    ranges = slice_ranges(numbers)
    if len(ranges) == 1 or (len(ranges) == 2 and all(stop - start > 1 for start, stop in ranges)):
        return [f"slices: {start}:{stop}" for start, stop in ranges]
    return [f"slices: {list(numbers)}"]
