"""Parts of different splits that lie side by side, where neighbouring slices are alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cristae.data.box import Box
from cristae.data.splits import Part, both_names, labelled_boxes, neighbours

_LEAKY = 0.5
"""A split with a larger fraction of held-out voxels beside training voxels is called leaky: up to three slices between
training slices."""
LEAVE_A_GAP, USE_A_STRETCH = "leave a gap", "use a stretch of slices with a gap to those of data.train"
"""What a person can do, as warnings say it."""


@dataclass(frozen=True)
class Contact:
    """Parts of two splits that touch in one volume."""

    splits: tuple[str, str]
    """'train', 'validate' or 'test'."""
    text: str
    leaky: bool
    """Whether most of what is held out has trained neighbours, as with every fifth slice (Zhang et al., 2018)."""


def contacts(splits: Mapping[str, Sequence[Part]]) -> tuple[Contact, ...]:
    """Where parts of different splits touch: one entry for each two splits and each volume.

    Only what is labelled matters. Whether a split leaks follows from the parts alone: from how many of the held-out
    voxels have a training voxel beside them, in the next slice or in their own.
    """
    labelled = {
        split: [Part(part.volume, box) for part in parts for box in labelled_boxes(part) or (part.box,)]
        for split, parts in splits.items()
    }
    order = list(splits)
    touching: dict[tuple[str, str, str], list[tuple[Box, Box]]] = defaultdict(list)
    names: dict[tuple[str, str, str], str] = {}
    for pair in neighbours(labelled):
        # The later of train, validate and test is held out of the earlier.
        (split, box, name), (held, other, held_name) = sorted(pair, key=lambda entry: order.index(entry[0]))
        if split != held:
            touching[split, held, held_name].append((box, other))
            names.setdefault((split, held, held_name), both_names(name, held_name))
    sizes = {key: sum(p.box.size for p in labelled[key[1]] if p.volume.name == key[2]) for key in touching}
    return tuple(_contact(key[0], key[1], names[key], pairs, sizes[key]) for key, pairs in touching.items())


def _contact(split: str, held: str, names: str, pairs: Sequence[tuple[Box, Box]], voxels: int) -> Contact:
    beside: dict[Box, int] = defaultdict(int)
    for box, other in pairs:
        beside[other] += box.grow((1, 1, 1)).intersect(other).size
    share = sum(min(box.size, near) for box, near in beside.items()) / voxels
    if split == "train" and share > _LEAKY:
        text = (
            f"data.{held} is not kept apart from data.train in {names}: {100 * share:.0f} % of its voxels have a "
            f"training voxel beside them, in the next slice or in their own, so its scores flatter; {USE_A_STRETCH}"
        )
        return Contact((split, held), text, leaky=True)
    (box, other), more = min(pairs), len(pairs) - 1
    places = f", and in {more} more place{'' if more == 1 else 's'}" if more else ""
    text = (
        f"data.{split} ({box}) and data.{held} ({other}) touch in {names}{places}; {LEAVE_A_GAP}, since "
        "neighbouring slices are alike"
    )
    return Contact((split, held), text, leaky=False)
