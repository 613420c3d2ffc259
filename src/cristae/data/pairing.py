"""Which label file belongs to which image: by name, by number, by the part of the names that differs, or by order."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress

from cristae.data.description import Match
from cristae.data.name_parts import pairings, shared_channels, speak_against_order
from cristae.data.names import stem_of
from cristae.errors import LabelError

_SHOWN = 5
"""Names that a message lists."""
_ENDING = re.compile(r"(\.ome)?\.\w+$", re.IGNORECASE)
Pairs = dict[int, int]
"""Index of the image to index of its label file."""


def last_number(name: str) -> int | None:
    """The last run of digits in a file's stem; None when there is none."""
    digits = re.findall(r"\d+", stem_of(name))
    return int(digits[-1]) if digits else None


def pair_files(labels: Sequence[str], images: Sequence[str], match: Match, *, where: str) -> Pairs:
    """Find the image of every label file.

    Args:
        labels: Names of the label files, in natural order.
        images: Names of the image files, in natural order.
        match: The rule; see `IdLabels.match`.
        where: Who asks, for messages, such as "labels of 'cell'".

    Returns:
        Index of the image to index of its label file. Images without a label file are left out.

    Raises:
        LabelError: A label file has no image, two files claim one place, names leave open which is meant, or counts
            differ where order decides. What the message advises has been tried.
    """
    try:
        return _pair(labels, images, match)
    except LabelError as error:
        raise LabelError(f"{where}: {error}\n  {_way_out(labels, images, match)}") from None


def find_match(labels: Sequence[str], images: Sequence[str], *, where: str) -> Match:
    """The rule that surely pairs label files with images: the names leave no other pairing open.

    Order is taken only where there is one label file for each image and names carry nothing that contradicts it.

    Raises:
        LabelError: There is none; says why, and what to do.
    """
    try:
        return _sure_match(labels, images)
    except LabelError as error:
        raise LabelError(f"{where}: {error}\n  {_way_out(labels, images, None)}") from None


def _sure_match(labels: Sequence[str], images: Sequence[str]) -> Match:
    reason = LabelError("there are no label files.")
    rules: tuple[Match, ...] = ("name", "number", "part")
    for match in rules:
        try:
            found = _pair(labels, images, match)
            if match != "number" or found == _pair_by_part(labels, images):
                return match
        except LabelError as error:
            reason = error
    alone = len(labels) == len(images) == 1
    if alone or (len(labels) == len(images) and not _contradicted(labels, images)):
        return "order"
    raise reason


def _contradicted(labels: Sequence[str], images: Sequence[str]) -> bool:
    """Whether names speak against a pairing by order."""
    return bool(pairings(labels, images) or shared_channels(labels, images)) or speak_against_order(labels, images)


def _pair(labels: Sequence[str], images: Sequence[str], match: Match) -> Pairs:
    if match == "order":
        return _pair_by_order(labels, images)
    if match == "part":
        return _pair_by_part(labels, images)
    key: Callable[[str], Hashable] = stem_of if match == "name" else last_number
    rule = "name (without its ending)" if match == "name" else "last number in its name"
    by_image = _unique(images, key, rule, "image")
    by_label = _unique(labels, key, rule, "label")
    missing = [labels[place] for value, place in by_label.items() if value not in by_image]
    if missing:
        raise LabelError(
            f"{_some(missing)} {'has' if len(missing) == 1 else 'have'} no image with the same {rule}; "
            f"the {len(images)} images are {_some(images)}."
        )
    return {by_image[value]: place for value, place in by_label.items()}


def _pair_by_order(labels: Sequence[str], images: Sequence[str]) -> Pairs:
    if len(labels) != len(images):
        raise LabelError(
            f"`match: order` needs one label file for each image, but there are {len(labels)} label files and "
            f"{len(images)} images."
        )
    return {place: place for place in range(len(images))}


def _pair_by_part(labels: Sequence[str], images: Sequence[str]) -> Pairs:
    if channels := shared_channels(labels, images):
        label, several = channels
        raise LabelError(
            f"image files {_some(several)} belong to one label file, {_some([label])}: they are channels of one image, "
            "as nnU-Net names them, and one channel is read."
        )
    stems = {stem_of(name): place for place, name in enumerate(images)}
    if len(stems) == len(images) and len({*map(stem_of, labels)} & {*stems}) == len(labels):
        return {stems[stem_of(name)]: place for place, name in enumerate(labels)}
    found = sorted(pairings(labels, images))
    if not found:
        strays = [name for name in labels if stem_of(name) not in stems]
        if len(strays) < len(labels):
            raise LabelError(
                f"{_some(strays)} {'has' if len(strays) == 1 else 'have'} no image of that name or number among "
                f"{_some(images)}, as the other label files have."
            )
        raise LabelError(
            f"no number or word in the names says which of the {len(images)} images, {_some(images)}, each of the "
            f"{len(labels)} label files, {_some(labels)}, belongs to."
        )
    if len(found) > 1:
        first, other = found[:2]
        place = next(place for place, image in enumerate(first) if image != other[place])
        meant = [images[first[place]], images[other[place]]]
        raise LabelError(
            f"label file {_some([labels[place]])} could belong to image {_some(meant[:1])} or {_some(meant[1:])}: "
            "several numbers or words in the names tell files apart, and they do not agree."
        )
    return {image: place for place, image in enumerate(found[0])}


def _unique(names: Sequence[str], key: Callable[[str], Hashable], rule: str, what: str) -> dict[Hashable, int]:
    places: dict[Hashable, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        places[key(name)].append(place)
    if None in places:
        raise LabelError(
            f"{what} file {_some([names[place] for place in places[None]])} has no number in its name, which "
            "`match: number` needs."
        )
    for same in places.values():
        if len(same) > 1:
            raise LabelError(
                f"{what} files {_some([names[place] for place in same])} have the same {rule}, so it is not "
                "clear which one is meant."
            )
    return {value: same[0] for value, same in places.items()}


def _way_out(labels: Sequence[str], images: Sequence[str], tried: Match | None) -> str:
    """What can be done where a rule failed; every rule that it names was tried."""
    with suppress(LabelError):
        match = _sure_match(labels, images)
        place, label = next(iter(_pair(labels, images, match).items()))
        return f"Pair them with `match: {match}`, which takes {_some([labels[label]])} for {_some([images[place]])}."
    if channels := shared_channels(labels, images):
        channel = stem_of(channels[1][0])[-5:]
        if _works(labels, [name for name in images if stem_of(name).endswith(channel)], "part"):
            return (
                f"Give the image as `FOLDER/*{channel}.*`, or put the files of one channel into a folder of their own."
            )
    key: Callable[[str], Hashable] = last_number if tried == "number" else stem_of
    there = set(map(key, images))
    lone = [name for name in labels if key(name) not in there]
    rest = [name for name in labels if key(name) in there]
    if len(lone) < len(rest) and len(labels) != len(images) and _works(rest, images, tried or "name"):
        return f"Remove {_some(lone)}, or add {'its image' if len(lone) == 1 else 'their images'}."
    single = list({stem_of(name): name for name in labels}.values())
    if len(single) < len(labels) and _works(single, images, tried or "name"):
        return "Keep one file for each of these names."
    named = {stem_of(name) for name in labels}
    image = next((name for name in images if stem_of(name) not in named), images[0])
    return (
        "No rule surely pairs these names. Name each label file like its image, for instance "
        f"'{stem_of(image)}{_ending(labels[0])}' for the label of {_some([image])}."
    )


def _works(labels: Sequence[str], images: Sequence[str], match: Match) -> bool:
    try:
        return bool(_pair(labels, images, match))
    except LabelError:
        return False


def _ending(name: str) -> str:
    found = _ENDING.search(_base(name))
    return found.group() if found else ""


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{_base(name)}'" for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _base(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]
