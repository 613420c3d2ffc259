"""File names as words, numbers, dates and measures, and what in two sets of names says which belong together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations, takewhile

from cristae.data.names import stem_of

_UNITS = "bits?|nm|um|µm|μm|mm|kx|kv|ev|px|pix|vox|dpi|fps|hz|khz|ms"
_PART = re.compile(
    rf"""
    (?<!\d)(?P<date>(?:19|20)\d\d(?P<dash>-?)(?:0[1-9]|1[0-2])(?P=dash)(?:0[1-9]|[12]\d|3[01]))(?!\d)
    | (?P<measure>\d+(?:x\d+)*)(?P<unit>{_UNITS})(?![^\W\d_])
    | (?P<number>\d+)
    | (?P<word>[A-Z]+(?![a-z]) | [A-Z]?[a-z]+ | [^\W\d_]+)
    """,
    re.VERBOSE,
)
_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")

Part = tuple[str, str | int]
"""Kind and value: ('word', 'mask'), ('number', 7), ('date', '20240102'), ('nm', '4')."""
Key = tuple[Part, ...]
"""Some parts of a name, by which it is told from others."""
Pairing = tuple[int, ...]
"""The image of each label, by place."""


@dataclass(frozen=True)
class _Names:
    """The names of one set, in parts."""

    parts: tuple[tuple[Part, ...], ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> _Names:
        return cls(tuple(parts_of(name) for name in names))

    @property
    def columns(self) -> dict[int, tuple[Part, ...]]:
        """Parts at the same place in all names; counted from the end too (from -1) where names differ in length."""
        lengths = {len(one) for one in self.parts}
        shortest = min(lengths, default=0)
        places = [*range(shortest), *(range(-shortest, 0) if len(lengths) > 1 else ())]
        return {place: tuple(one[place] for one in self.parts) for place in places}

    def constant_runs(self) -> set[tuple[Part, Part]]:
        """Parts that all names share behind a word that all share, such as the number of a run."""
        columns = self.columns
        return {
            (columns[place - 1][0], column[0])
            for place, column in columns.items()
            if place > 0 and len({*zip(columns[place - 1], column, strict=True)}) == 1 and column[0][0] != "word"
        }

    def without_ends(self) -> Iterator[tuple[Key, ...]]:
        """The names without what all of them begin and end with, and without less of it; two parts are left or more."""
        if not self.parts:
            return
        first, last = _shared(self.parts), _shared([one[::-1] for one in self.parts])
        shortest = min(map(len, self.parts))
        for start in range(first + 1):
            for stop in range(min(last, shortest - start - 2) + 1):
                yield tuple(one[start : len(one) - stop] for one in self.parts)


def parts_of(name: str) -> tuple[Part, ...]:
    """A file's stem in parts: case, separators and leading zeros make no difference.

    Example:
        >>> parts_of("Mask_003_8bit.png")
        (('word', 'mask'), ('number', 3), ('bit', '8'))
    """
    found: list[Part] = []
    for match in _PART.finditer(stem_of(name)):
        if match["date"]:
            found.append(("date", re.sub(r"\D", "", match["date"])))
        elif match["measure"]:
            found.append((match["unit"].lower().replace("bits", "bit"), match["measure"]))
        elif match["number"]:
            found.append(("number", int(match["number"])))
        else:
            found.append(("word", match["word"].casefold()))
    return tuple(found)


def pairings(labels: Sequence[str], images: Sequence[str]) -> set[Pairing]:
    """Every different way in which parts of the names give each label an image of its own.

    A part, or two, tell files apart when no two images share them. The parts of labels and images are compared at all
    places, so that the right pairing is among the results wherever its number or word stands; more than one result
    means that names alone do not decide.
    """
    ours, theirs = _Names.of(labels), _Names.of(images)
    found = {_paired(a, b) for b in map(_places, theirs.without_ends()) if b for a in ours.without_ends()}
    own = ours.columns
    if len(labels) == 1 < len(images):  # of several labels, what all have in common does not tell them apart
        known = theirs.constant_runs()
        own = {place: column for place, column in own.items() if not _explained(ours.parts[0], place, known)}
    single = [_places(zip(column, strict=True)) for column in theirs.columns.values()]
    found |= {_paired(list(zip(a, strict=True)), b) for b in single if b for a in own.values()}
    rest = [column for column in theirs.columns.values() if 1 < len(set(column)) < len(images)]
    double = [_places(zip(*two, strict=True)) for two in combinations(rest, 2)]
    if any(double):
        pairs = [list(zip(*two, strict=True)) for two in permutations(ours.columns.values(), 2)]
        found |= {_paired(a, b) for b in double if b for a in pairs}
    return {one for one in found if one is not None}


def speak_against_order(labels: Sequence[str], images: Sequence[str]) -> bool:
    """Whether both sets have numbers that differ from name to name, or share what not all names of a set have.

    Where `pairings` finds nothing, such names contradict a pairing by order.
    """
    varying = []
    for names in (labels, images):
        parts = [set(parts_of(name)) for name in names]
        varying.append({one for each in parts for one in each if not all(one in other for other in parts)})
    numbered = [any(kind != "word" for kind, _ in parts) for parts in varying]
    return all(numbered) or bool(varying[0] & varying[1])


def shared_channels(labels: Sequence[str], images: Sequence[str]) -> tuple[str, list[str]] | None:
    """A label and the several images of its name with a channel number behind, as nnU-Net names them."""
    channels = defaultdict(list)
    for name in images:
        match = _CHANNEL.fullmatch(stem_of(name))
        if match:
            channels[match["case"]].append(name)
    return next(((one, channels[stem_of(one)]) for one in labels if len(channels.get(stem_of(one), ())) > 1), None)


def _shared(keys: Sequence[Key]) -> int:
    """How many parts all begin with."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*keys, strict=False)))


def _explained(label: tuple[Part, ...], place: int, known: set[tuple[Part, Part]]) -> bool:
    """Whether a number says of a label what it says of all images: behind the same word it means the same thing."""
    return place > 0 and (label[place - 1], label[place]) in known


def _places(keys: Iterable[Key]) -> dict[Key, int]:
    """Where each key stands; empty where two are equal."""
    listed = list(keys)
    found = {key: place for place, key in enumerate(listed)}
    return found if len(found) == len(listed) else {}


def _paired(labels: Sequence[Key], images: dict[Key, int]) -> Pairing | None:
    """The image of each label with an equal key; None where one has none, or two have the same."""
    found = []
    for key in labels:
        if key not in images:
            return None
        found.append(images[key])
    return tuple(found) if len(set(found)) == len(found) else None
