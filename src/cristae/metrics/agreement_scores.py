"""Rows of the table of scores, and of the table of confusions, made of the counts of an agreement."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cristae.data.classes import Classes
from cristae.metrics.agreement import Agreement, Amounts, Cell, Pair, classes_of, cohen_kappa
from cristae.metrics.overlap import Mean, dice, iou, mean_defined, overall_accuracy
from cristae.metrics.ratio import ratio
from cristae.metrics.score import Score
from cristae.metrics.tally import ALL

FOREGROUND = "foreground"
CONFUSION_COLUMNS = ("first", "second", "class_of_first", "class_of_second", "voxels", "share")
_SHARE_OF: dict[Cell, str] = {
    "mask": "share of the mask",
    "labelled": "share of the cell: voxels of any class but the background",
    "counted": "share of all voxels that count",
}


def agreement_scores(agreement: Agreement) -> tuple[Score, ...]:
    """All rows: of each pair, then the volume fractions of each participant.

    For each pair, over the voxels that count for both: `mIoU` over all classes, over the foreground and over
    `agreement.over`; `overall_accuracy` and `kappa` (for each class where classes overlap); `F1`, `Jaccard` and
    `F1_slice_mean` of each class; `volume_fraction_difference`, second minus first. Everything but the last is the
    same for both orders.
    """
    rows: list[Score] = []
    for pair in agreement.pairs:
        rows += _means(pair, agreement)
        rows += _of_classes(pair, agreement)
        rows += _differences(pair, agreement)
    for name in agreement.names:
        rows += _fractions(name, agreement)
    return tuple(rows)


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


def shares(table: np.ndarray) -> np.ndarray:
    """A table of counts with each row divided by its sum; NaN in rows without voxels."""
    return ratio(table, table.sum(axis=1, keepdims=True))


def confusion_tables(pair: Pair, classes: Classes) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """Names of rows and columns, and counts: one table, or for overlapping classes one of each class and its rest."""
    if classes.exclusive:
        yield classes.names, pair.tables[0].counts
        return
    for name, table in zip(classes.names, pair.tables, strict=True):
        yield (f"not {name}", name), table.counts


def confusion_rows(agreement: Agreement) -> list[dict[str, Any]]:
    """Every entry of every table of confusions, with its share of the voxels that the first gives that class."""
    rows = []
    for pair in agreement.pairs:
        for names, counts in confusion_tables(pair, agreement.classes):
            parts = shares(counts)
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
    """Of each class but the background, and of the subset taken together."""
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
