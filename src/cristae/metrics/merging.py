"""Merged classes, such as granules and their cores as one: names and label images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from pydantic import ValidationError

from cristae.config import problem_of
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import Image
from cristae.errors import ScoreError


def merge_classes(classes: Classes, groups: Mapping[str, Sequence[str]]) -> tuple[Classes, np.ndarray]:
    """Join each group of classes to one, which stands where the first of them stood and has its colour.

    Args:
        classes: The classes as they are.
        groups: Old names by new name. A class may join the background in a group called as the background is.

    Returns:
        The new classes, in which every class keeps the colour it had, and a lookup: (K,) int64, the new place in
        `names` of each old one. Places are ids where classes are exclusive.

    Raises:
        ScoreError: A name is unknown, a class is in two groups, a new name is taken, the background is in a group of
            another name, or no two classes would be left.

    Example:
        >>> classes = Classes(names=("rest", "cell", "granule", "core"))
        >>> merged, lookup = merge_classes(classes, {"dense": ["granule", "core"]})
        >>> merged.names, lookup
        (('rest', 'cell', 'dense'), array([0, 1, 2, 2]))
    """
    _check(classes, groups)
    borders = _merged_borders(classes, groups)
    renamed = {old: new for new, members in groups.items() for old in members}
    names = [renamed.get(name, name) for name in classes.names]
    kept = list(dict.fromkeys(names))
    colors = {new: classes.color_of(old) for new, old in reversed(list(zip(names, classes.names, strict=True)))}
    fields = {"exclusive": classes.exclusive, "background": classes.background}
    try:
        merged = Classes(names=tuple(kept), colors=colors, borders=borders, **fields)
    except ValidationError as error:
        raise ScoreError(f"the merged classes {', '.join(kept)}: {problem_of(error, 'classes')}") from None
    return merged, np.array([kept.index(name) for name in names])


def merge_images(images: Sequence[Image], lookup: np.ndarray, *, exclusive: bool) -> tuple[Image, ...]:
    """Label images of the new classes, read as lazily as the old ones.

    Args:
        images: One image of class ids, or one mask of 0 and 1 for each overlapping class.
        lookup: As `merge_classes` gave it.
        exclusive: Whether there is one image of ids.

    Returns:
        One image of new ids, or one mask for each new class, 1 where one of the old masks is. What is no id of an old
        class stays what it is, for the counting to complain about.
    """
    if exclusive:
        return tuple(image.map(lambda ids: _renumbered(ids, lookup), image.dtype) for image in images)
    return tuple(
        _joined([image for image, place in zip(images, lookup, strict=True) if place == new])
        for new in range(int(lookup.max()) + 1)
    )


def _merged_borders(classes: Classes, groups: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    """A merged class is a border where all of its members are."""
    if classes.borders is None:
        return None
    merged = {old for group in groups.values() for old in group}
    kept = [name for name in classes.borders if name not in merged]
    return (*kept, *(new for new, group in groups.items() if set(group) <= set(classes.borders)))


def _check(classes: Classes, groups: Mapping[str, Sequence[str]]) -> None:
    known = ", ".join(classes.names)
    members = Counter(old for group in groups.values() for old in group)
    if unknown := [old for old in members if old not in classes.names]:
        raise ScoreError(f"cannot merge '{unknown[0]}': there is no such class; there are {known}")
    if twice := [old for old, times in members.items() if times > 1]:
        raise ScoreError(f"class '{twice[0]}' is merged twice; name it in one group, once")
    for new, group in groups.items():
        if not group:
            raise ScoreError(f"no class is merged into '{new}'; name some of {known}")
        if new in classes.names and new not in group:
            raise ScoreError(
                f"there is a class '{new}' already; add it to those merged into it, or choose another name"
            )
        background = classes.background_name
        if background is not None and background in group and new != background:
            raise ScoreError(
                f"the background '{background}' cannot be a part of '{new}'; classes to be ignored can be merged "
                f"into it: {background}={'+'.join(dict.fromkeys((background, *group)))}"
            )


def _renumbered(ids: np.ndarray, lookup: np.ndarray) -> np.ndarray:
    if ids.dtype == np.uint8:
        table = np.arange(256, dtype=np.uint8)
        table[: len(lookup)] = lookup
        renumbered: np.ndarray = table[ids]
        return renumbered
    known = (ids >= 0) & (ids < len(lookup))
    found: np.ndarray = np.where(known, lookup[np.where(known, ids, 0).astype(np.intp)], ids).astype(ids.dtype)
    return found


def _joined(masks: Sequence[Image]) -> Image:
    def read(box: Box) -> np.ndarray:
        """The largest of the values, so that one that is neither 0 nor 1 is seen."""
        largest: np.ndarray = np.maximum.reduce([mask.reader(box) for mask in masks])
        return largest

    return masks[0] if len(masks) == 1 else replace(masks[0], reader=read)
