"""Which label file belongs to which image: by name, by number or by order."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

from cristae.data.description import Match
from cristae.data.names import stem_of
from cristae.errors import LabelError

_SHOWN = 5
"""Names that a message lists."""


def last_number(name: str) -> int | None:
    """The last run of digits in a file's stem; None when there is none."""
    digits = re.findall(r"\d+", stem_of(name))
    return int(digits[-1]) if digits else None


def pair_files(labels: Sequence[str], images: Sequence[str], match: Match, *, where: str) -> dict[int, int]:
    """Find the image of every label file.

    Args:
        labels: Names of the label files, in natural order.
        images: Names of the image files, in natural order.
        match: The rule; see `IdLabels.match`.
        where: Who asks, for messages, such as "labels of 'cell'".

    Returns:
        Index of the image to index of its label file. Images without a label file are left out.

    Raises:
        LabelError: A label file has no image, two files claim one place, or counts differ where order decides.
    """
    if match == "order":
        return _pair_by_order(labels, images, where)
    key: Callable[[str], Hashable] = stem_of if match == "name" else last_number
    rule = "name (without its ending)" if match == "name" else "last number in its name"
    by_image = _unique(images, key, rule, "image", where)
    by_label = _unique(labels, key, rule, "label", where)
    missing = [labels[place] for value, place in by_label.items() if value not in by_image]
    if missing:
        raise LabelError(
            f"{where}: {_some(missing)} {'has' if len(missing) == 1 else 'have'} no image with the same {rule}; "
            f"the {len(images)} images are {_some(images)}.\n"
            f"  Remove the label file, add its image, or pair them another way with `match: {_other(match)}`."
        )
    return {by_image[value]: place for value, place in by_label.items()}


def _pair_by_order(labels: Sequence[str], images: Sequence[str], where: str) -> dict[int, int]:
    if len(labels) != len(images):
        raise LabelError(
            f"{where}: `match: order` needs one label file for each image, but there are {len(labels)} label files and "
            f"{len(images)} images.\n  Add or remove files, or pair them with `match: name` or `match: number`."
        )
    return {place: place for place in range(len(images))}


def _unique(
    names: Sequence[str], key: Callable[[str], Hashable], rule: str, what: str, where: str
) -> dict[Hashable, int]:
    places: dict[Hashable, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        places[key(name)].append(place)
    if None in places:
        raise LabelError(
            f"{where}: {what} file {_some([names[place] for place in places[None]])} has no number in its name, which "
            "`match: number` needs; pair them with `match: name` or `match: order`."
        )
    for same in places.values():
        if len(same) > 1:
            raise LabelError(
                f"{where}: {what} files {_some([names[place] for place in same])} have the same {rule}, so it is not "
                "clear which one is meant; remove one, or use another `match:`."
            )
    return {value: same[0] for value, same in places.items()}


def _other(match: Match) -> str:
    return "number` or `match: order" if match == "name" else "name` or `match: order"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{_base(name)}'" for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _base(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]
