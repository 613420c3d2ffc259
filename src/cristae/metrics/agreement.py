"""How far annotators and algorithms agree with each other: counts of every pair, and the scores made of them.

None of them is the truth, so what is symmetric stands once for each pair; what is not says who is first.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from cristae.data.classes import Classes
from cristae.errors import ScoreError
from cristae.metrics.agreement_counts import (
    Amounts,
    Cell,
    Pair,
    classes_of,
    cohen_kappa,
    confusion_tables,
    mean_iou_of_pair,
    row_fractions,
    subsets,
)
from cristae.metrics.confusion import Confusion
from cristae.metrics.overlap import dice, iou, mean_defined, overall_accuracy
from cristae.metrics.ratio import ratio
from cristae.metrics.score import Score
from cristae.metrics.tally import ALL

CONFUSION_COLUMNS = ("first", "second", "class_of_first", "class_of_second", "voxels", "share")
_SHARE_OF: dict[Cell, str] = {
    "mask": "share of the mask",
    "labelled": "share of the cell: voxels of any class but the background",
    "counted": "share of all voxels that count",
}


@dataclass(eq=False)
class Agreement:
    """Counts of all participants of one volume, growing as its blocks are counted in any order."""

    volume: str
    classes: Classes
    names: tuple[str, ...]
    """The participants; at least two."""
    cell: Cell = "labelled"
    """What volume fractions refer to."""
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
        """All rows: of each pair, then the volume fractions of each participant.

        For each pair, over the voxels that count for both: `mIoU` over all classes, over the foreground and over
        `over`; `overall_accuracy` and `kappa` (for each class where classes overlap); `F1`, `Jaccard` and
        `F1_slice_mean` of each class; `volume_fraction_difference`, second minus first. Everything but the last is the
        same for both orders.
        """
        rows: list[Score] = []
        for pair in self.pairs:
            rows += _means(pair, self)
            rows += _of_classes(pair, self)
            rows += _differences(pair, self)
        for name in self.names:
            rows += _fractions(name, self)
        return tuple(rows)

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

    def add(self, other: Agreement) -> None:
        """Add what was counted of other blocks of the same participants."""
        for name, amounts in other.alone.items():
            self.alone[name] += amounts
        for mine, theirs in zip(self.pairs, other.pairs, strict=True):
            mine.join(theirs)

    @property
    def _table_size(self) -> int:
        return len(self.classes.names) if self.classes.exclusive else 2

    def _amounts(self, name: str, labels: Sequence[np.ndarray], valid: np.ndarray | None) -> Amounts:
        try:
            return Amounts.of(labels, self.classes, valid)
        except ScoreError as error:
            raise ScoreError(f"'{name}' {error}") from error


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


def confusion_rows(agreement: Agreement) -> list[dict[str, Any]]:
    """Every entry of every table of confusions, with its fraction of the voxels that the first gives that class."""
    rows = []
    for pair in agreement.pairs:
        for names, counts in confusion_tables(pair, agreement.classes):
            parts = row_fractions(counts)
            for row, column in np.ndindex(counts.shape):
                entry = (names[row], names[column], int(counts[row, column]), float(parts[row, column]))
                rows.append(dict(zip(CONFUSION_COLUMNS, (pair.first, pair.second, *entry), strict=True)))
    return rows


def confusions_csv(agreement: Agreement) -> str:
    """The rows of `confusion_rows` as CSV; an undefined share reads `nan`."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CONFUSION_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(confusion_rows(agreement))
    return buffer.getvalue()


def _means(pair: Pair, agreement: Agreement) -> Iterator[Score]:
    classes = agreement.classes
    for title, names in subsets(classes, agreement.over).items():
        mean = mean_iou_of_pair(pair, classes, names)
        rule = f"mean over {', '.join(names)}; pooled; n=classes"
        yield Score(pair.name, agreement.volume, title, "mIoU", mean.value, mean.n, rule)
    tables = {ALL: pair.tables[0]} if classes.exclusive else dict(zip(classes.names, pair.tables, strict=True))
    for title, table in tables.items():
        accuracy, kappa = overall_accuracy(table), cohen_kappa(table)
        rule = "share of voxels of equal class; pooled; n=voxels"
        yield Score(pair.name, agreement.volume, title, "overall_accuracy", accuracy, table.total, rule)
        rule = "Cohen's kappa, unweighted; pooled; n=voxels"
        yield Score(pair.name, agreement.volume, title, "kappa", kappa, table.total, rule)


def _of_classes(pair: Pair, agreement: Agreement) -> Iterator[Score]:
    by_slice = np.array([counts for _, counts in sorted(pair.slices.items())], np.int64).reshape(
        -1, 3, len(agreement.classes.names)
    )
    for index, (name, table, entry) in enumerate(classes_of(pair.tables, agreement.classes)):
        pooled = f"positive={name}; pooled; n=voxels"
        for metric, values in (("F1", dice(table)), ("Jaccard", iou(table))):
            yield Score(pair.name, agreement.volume, name, metric, float(values[entry]), table.total, pooled)
        mean = mean_defined(_dice_of_slices(by_slice[:, :, index]))
        rule = f"positive={name}; mean over slices; n=slices"
        yield Score(pair.name, agreement.volume, name, "F1_slice_mean", mean.value, mean.n, rule)


def _dice_of_slices(counts: np.ndarray) -> np.ndarray:
    """(S,) F1 of each slice from (S, 3) voxels that both, only the second and only the first have."""
    twice, rest = 2 * counts[:, 0], counts[:, 1] + counts[:, 2]
    return ratio(twice, twice + rest)


def _differences(pair: Pair, agreement: Agreement) -> Iterator[Score]:
    """Of each class but the background, and of the merged subset."""
    first, second = (_by_name(amounts, agreement) for amounts in pair.amounts)
    rule = f"{pair.second} minus {pair.first}; {_SHARE_OF[agreement.cell]}; n=voxels that count for both"
    for name in first:
        value, n = second[name] - first[name], pair.amounts[0].counted
        yield Score(pair.name, agreement.volume, name, "volume_fraction_difference", value, n, rule)


def _fractions(name: str, agreement: Agreement) -> Iterator[Score]:
    amounts = agreement.alone[name]
    n, rule = amounts.size_of_cell(agreement.cell), f"{_SHARE_OF[agreement.cell]}; n=voxels of it"
    for class_name, value in _by_name(amounts, agreement).items():
        yield Score(name, agreement.volume, class_name, "volume_fraction", value, n, rule)


def _by_name(amounts: Amounts, agreement: Agreement) -> dict[str, float]:
    """Fractions of the foreground classes; for exclusive ones also of all foreground classes of the subset together."""
    classes, over = agreement.classes, agreement.over
    by_class = dict(zip(classes.names, amounts.fractions(agreement.cell).tolist(), strict=True))
    found = {name: by_class[name] for name in classes.foreground}
    if classes.exclusive and len(over) > 1 and classes.background_name not in over:
        found["+".join(over)] = sum(by_class[name] for name in over)
    return found
