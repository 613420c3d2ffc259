"""Which classes of labels are the commonest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.volume import Volume

_T = TypeVar("_T")
_VOLUMES, _SLICES = 8, 4
"""So many volumes, and slices of each, are counted."""


def common_classes(volumes: Sequence[Volume], classes: Classes, *, most: int) -> tuple[int, ...]:
    """The commonest foreground classes of some volumes, rising: ids of exclusive ones, otherwise places of the masks.

    Raises:
        CristaeError: Labels cannot be read.
    """
    counts: Counter[int] = Counter()
    for volume in _some(volumes, _VOLUMES):
        labelled = volume.labelled_slices
        for z in _some(range(volume.image.shape[0]) if labelled is None else labelled, _SLICES):
            box = Box((z, 0, 0), (z + 1, *volume.image.shape[1:]))
            if classes.exclusive:
                found = np.bincount(volume.labels[0].read(box).ravel(), minlength=256)
                counts.update({number: int(found[number]) for number in classes.foreground_ids})
            else:
                masks = enumerate(volume.labels)
                counts.update({place: int(np.count_nonzero(mask.read(box))) for place, mask in masks})
    return tuple(sorted(number for number, count in counts.most_common(most) if count))


def _some(items: Sequence[_T], most: int) -> list[_T]:
    """At most so many, at even distances."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]
