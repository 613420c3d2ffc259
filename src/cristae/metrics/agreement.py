"""How far annotators and algorithms agree with each other: counts of every pair, and the scores made of them.

None of them is the truth, so what is symmetric stands once for each pair; what is not says who is first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from cristae.data.classes import Classes
from cristae.errors import ScoreError
from cristae.metrics.confusion import Confusion

if TYPE_CHECKING:
    from cristae.metrics.score import Score

Cell = Literal["mask", "labelled", "counted"]
"""What a volume fraction is a share of: the voxels of a cell mask, those that a participant labels with any class but
the background, or all that count."""


def cohen_kappa(counts: Confusion) -> float:
    """Agreement of two participants beyond what their class sizes alone would bring: (p_o - p_e) / (1 - p_e).

    p_o is the share of voxels with equal classes, p_e that share if both had spread their classes at random. 1 is full
    agreement, 0 that of chance. Computed in whole numbers of any size.

    Returns:
        -1 to 1; NaN where chance alone agrees on every voxel, as when both hold one and the same class, or there is no
        voxel.

    References:
        Cohen (1960), https://doi.org/10.1177/001316446002000104

    Example:
        >>> cohen_kappa(Confusion.of([0, 0, 1, 1], [0, 1, 1, 1], n_classes=2))
        0.5
    """
    rows, columns = counts.counts.sum(axis=1).tolist(), counts.counts.sum(axis=0).tolist()
    total = sum(rows)
    by_chance = sum(row * column for row, column in zip(rows, columns, strict=True))
    found = total * sum(counts.tp.tolist())
    return (found - by_chance) / (total * total - by_chance) if total * total != by_chance else float("nan")


@dataclass(frozen=True, eq=False)
class Amounts:
    """How much of each class one participant has. They add with `+`."""

    voxels: np.ndarray
    """(K,) int64 of each class, in the order of `Classes.names`."""
    labelled: int
    """Voxels of any class but the background; all that count where there is none."""
    counted: int
    """All voxels that count."""

    @classmethod
    def empty(cls, classes: Classes) -> Amounts:
        """Nothing yet."""
        return cls(np.zeros(len(classes.names), np.int64), 0, 0)

    @classmethod
    def of(cls, labels: Sequence[np.ndarray], classes: Classes, valid: np.ndarray | None = None) -> Amounts:
        """Count the voxels of one array of class ids, or of one mask for each overlapping class.

        Raises:
            ScoreError: A voxel that counts holds something that is not an id.
        """
        kept = [one.reshape(-1) if valid is None else one[valid != 0] for one in labels]
        size = len(classes.names) if classes.exclusive else 2
        tables = [_counts_of_ids(one, size) for one in kept]
        if classes.exclusive:
            return cls(tables[0], int(tables[0][list(classes.foreground_ids)].sum()), kept[0].size)
        some = np.logical_or.reduce([one != 0 for one in kept])
        return cls(np.array([table[1] for table in tables]), int(np.count_nonzero(some)), some.size)

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(self.voxels + other.voxels, self.labelled + other.labelled, self.counted + other.counted)

    def size_of_cell(self, cell: Cell) -> int:
        """What the fractions are a share of."""
        return self.labelled if cell == "labelled" else self.counted

    def fractions(self, cell: Cell) -> np.ndarray:
        """(K,) share of the cell that each class takes; NaN where the cell is empty.

        References:
            Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0
        """
        size = self.size_of_cell(cell)
        return self.voxels / size if size else np.full(len(self.voxels), np.nan)


@dataclass(eq=False)
class Pair:
    """Two participants laid on each other."""

    first: str
    """Stands in the rows of tables."""
    second: str
    """Stands in the columns."""
    tables: tuple[Confusion, ...]
    """Exclusive classes: one (K, K) table. Overlapping classes: one 2 x 2 table each, the class in row and column 1."""
    amounts: tuple[Amounts, Amounts]
    """Of the first and of the second, over voxels that count for both."""
    slices: dict[int, np.ndarray] = field(default_factory=dict)
    """By slice: (3, K) int64, voxels of each class that both have, only the second and only the first."""

    @property
    def name(self) -> str:
        """What stands in the `run` column of scores."""
        return f"{self.first} vs {self.second}"

    def add(self, z: int, tables: Sequence[Confusion], amounts: tuple[Amounts, Amounts], classes: Classes) -> None:
        """Add what was counted of slice `z`."""
        self.tables = tuple(a + b for a, b in zip(self.tables, tables, strict=True))
        self.amounts = self.amounts[0] + amounts[0], self.amounts[1] + amounts[1]
        each = [(table.tp[entry], table.fp[entry], table.fn[entry]) for _, table, entry in classes_of(tables, classes)]
        self.slices[z] = np.array(each, np.int64).T + self.slices.get(z, 0)


@dataclass(eq=False)
class Agreement:
    """Counts of all participants of one volume, growing as its blocks are counted in any order."""

    volume: str
    classes: Classes
    names: tuple[str, ...]
    """The participants; at least two."""
    cell: Cell = "labelled"
    """What volume fractions are a share of."""
    over: tuple[str, ...] = ()
    """Classes that a mean IoU of their own is taken over."""
    alone: dict[str, Amounts] = field(init=False)
    """By participant: what it has, over all voxels that count for it."""
    pairs: tuple[Pair, ...] = field(init=False)
    """Each two participants, in the order of `names`."""

    def __post_init__(self) -> None:
        check_participants(self.names)
        check_subset(self.over, self.classes)
        none = Amounts.empty(self.classes)
        n_tables = 1 if self.classes.exclusive else len(self.classes.names)
        tables = (Confusion.empty(self._table_size),) * n_tables
        self.alone = dict.fromkeys(self.names, none)
        self.pairs = tuple(Pair(*names, tables, (none, none)) for names in combinations(self.names, 2))

    def pair(self, first: str, second: str) -> Pair:
        """The pair of these two, in their order.

        Raises:
            KeyError: There is none of that order.
        """
        return {(pair.first, pair.second): pair for pair in self.pairs}[first, second]

    def scores(self) -> tuple[Score, ...]:
        """The rows of `agreement_scores`."""
        from cristae.metrics.agreement_scores import agreement_scores

        return agreement_scores(self)

    def count(
        self,
        z: int,
        labels: Sequence[Sequence[np.ndarray]],
        valid: Sequence[np.ndarray | None],
        inside: np.ndarray | None = None,
    ) -> None:
        """Add part of slice `z`.

        Args:
            z: Slice, counted in the volume.
            labels: For each participant one array (Y, X) of class ids, or one mask (Y, X) for each overlapping class.
            valid: For each participant (Y, X), 0 where its labels do not count; None where all do.
            inside: (Y, X), 0 where nobody's labels count.

        Raises:
            ScoreError: Something is not a class id; it says whose.
        """
        keep = [_both(one, inside) for one in valid]
        fresh = [self._amounts(*each) for each in zip(self.names, labels, keep, strict=True)]
        for name, amounts in zip(self.names, fresh, strict=True):
            self.alone[name] += amounts
        for pair, (a, b) in zip(self.pairs, combinations(range(len(self.names)), 2), strict=True):
            kept = _both(keep[a], valid[b])
            both = fresh[a], fresh[b]
            if valid[a] is not None or valid[b] is not None:
                both = Amounts.of(labels[a], self.classes, kept), Amounts.of(labels[b], self.classes, kept)
            if both[0].counted:
                arrays = zip(labels[a], labels[b], strict=True)
                tables = [Confusion.of(first, second, self._table_size, kept) for first, second in arrays]
                pair.add(z, tables, both, self.classes)

    @property
    def _table_size(self) -> int:
        return len(self.classes.names) if self.classes.exclusive else 2

    def _amounts(self, name: str, labels: Sequence[np.ndarray], valid: np.ndarray | None) -> Amounts:
        try:
            return Amounts.of(labels, self.classes, valid)
        except ScoreError as error:
            raise ScoreError(f"'{name}' {error}") from error


def classes_of(tables: Sequence[Confusion], classes: Classes) -> Iterator[tuple[str, Confusion, int]]:
    """Name, table and entry in it of every class."""
    for index, name in enumerate(classes.names):
        yield (name, tables[0], index) if classes.exclusive else (name, tables[index], 1)


def check_participants(names: Sequence[str]) -> None:
    """Do nothing for two or more different names.

    Raises:
        ScoreError: There are fewer, one is empty, or two are equal.
    """
    if not all(names):
        raise ScoreError("a participant has no name; give NAME=PATH, such as anna=labels-anna.tif")
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise ScoreError(f"two participants are called '{twice[0]}'; give each its own name")
    if len(names) < 2:
        found = f"only '{names[0]}'" if names else "none"
        raise ScoreError(f"agreement is between at least two participants, there is {found}")


def check_subset(over: Sequence[str], classes: Classes) -> None:
    """Do nothing for different names of classes.

    Raises:
        ScoreError: A class is unknown, or named twice.
    """
    if unknown := [name for name in over if name not in classes.names]:
        raise ScoreError(f"there is no class '{unknown[0]}' to average over; there are {', '.join(classes.names)}")
    if len(set(over)) != len(over):
        raise ScoreError(f"a class is named twice among those to average over: {', '.join(over)}")


def _both(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    if first is None or second is None:
        return second if first is None else first
    both: np.ndarray = (first != 0) & (second != 0)
    return both


def _counts_of_ids(ids: np.ndarray, size: int) -> np.ndarray:
    if ids.dtype.kind not in "bui":
        raise ScoreError(f"must hold class ids (integers), got {ids.dtype}")
    if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= size):
        wrong = [int(value) for value in np.unique(ids) if not 0 <= value < size]
        values = ", ".join(map(str, wrong[:6])) + (", ..." if len(wrong) > 6 else "")
        raise ScoreError(f"holds {values}, but there are {size} classes (ids 0 to {size - 1})")
    return Confusion.of(ids, ids, size).tp
