"""What two participants have and share: voxels of each class, tables of pairs, and single values made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from cristae.data.classes import Classes
from cristae.errors import ScoreError
from cristae.metrics.confusion import Confusion
from cristae.metrics.overlap import Mean, iou, mean_defined
from cristae.metrics.ratio import ratio
from cristae.metrics.tally import ALL

FOREGROUND = "foreground"
Cell = Literal["mask", "labelled", "counted"]
"""What volume fractions refer to: the voxels of a cell mask, those that a participant labels with any class but the
background, or all that count."""


def cohen_kappa(counts: Confusion) -> float:
    """Agreement of two participants beyond what their class sizes alone would bring: (p_o - p_e) / (1 - p_e).

    p_o is the fraction of voxels with equal classes, p_e that expected if both had spread their classes at random. 1 is
    full agreement, 0 that of chance. Computed in whole numbers of any size.

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
        """The voxels that the fractions refer to."""
        return self.labelled if cell == "labelled" else self.counted

    def fractions(self, cell: Cell) -> np.ndarray:
        """(K,) fraction of the cell that each class takes; NaN where the cell is empty.

        References:
            Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0
        """
        size = self.size_of_cell(cell)
        return self.voxels / size if size else np.full(len(self.voxels), np.nan)


@dataclass(eq=False)
class Pair:
    """Two participants, compared voxel by voxel."""

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

    def join(self, other: Pair) -> None:
        """Add what was counted of other blocks."""
        self.tables = tuple(a + b for a, b in zip(self.tables, other.tables, strict=True))
        self.amounts = self.amounts[0] + other.amounts[0], self.amounts[1] + other.amounts[1]
        for z, counts in other.slices.items():
            self.slices[z] = counts + self.slices.get(z, 0)


def classes_of(tables: Sequence[Confusion], classes: Classes) -> Iterator[tuple[str, Confusion, int]]:
    """Name, table and entry in it of every class."""
    for index, name in enumerate(classes.names):
        yield (name, tables[0], index) if classes.exclusive else (name, tables[index], 1)


def subsets(classes: Classes, over: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """The classes that a mean IoU is taken over, by what stands in the `class` column."""
    found = {ALL: classes.names}
    if classes.background_name is not None and len(classes.foreground) > 1:
        found[FOREGROUND] = classes.foreground
    if over:
        found["+".join(over)] = tuple(over)
    return found


def mean_iou_of_pair(pair: Pair, classes: Classes, names: Sequence[str]) -> Mean:
    """Unweighted mean of the IoU of the classes `names`, without those that neither has."""
    values = {name: float(iou(table)[entry]) for name, table, entry in classes_of(pair.tables, classes)}
    return mean_defined([values[name] for name in names])


def row_fractions(table: np.ndarray) -> np.ndarray:
    """A table of counts with each row divided by its sum; NaN in rows without voxels."""
    return ratio(table, table.sum(axis=1, keepdims=True))


def confusion_tables(pair: Pair, classes: Classes) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """Names of rows and columns, and counts: one table, or for overlapping classes one of each class and its rest."""
    if classes.exclusive:
        yield classes.names, pair.tables[0].counts
        return
    for name, table in zip(classes.names, pair.tables, strict=True):
        yield (f"not {name}", name), table.counts


def _counts_of_ids(ids: np.ndarray, size: int) -> np.ndarray:
    if ids.dtype.kind not in "bui":
        raise ScoreError(f"must hold class ids (integers), got {ids.dtype}")
    if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= size):
        wrong = [int(value) for value in np.unique(ids) if not 0 <= value < size]
        values = ", ".join(map(str, wrong[:6])) + (", ..." if len(wrong) > 6 else "")
        raise ScoreError(f"holds {values}, but there are {size} classes (ids 0 to {size - 1})")
    return Confusion.of(ids, ids, size).tp
