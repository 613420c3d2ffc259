"""Counts of one volume slice by slice, and the rows of scores made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from cristae.data.classes import Classes
from cristae.metrics.confusion import Confusion
from cristae.metrics.overlap import Mean, iou, mean_defined, mean_iou, overall_accuracy
from cristae.metrics.score import Score
from cristae.metrics.table import METRICS, OverlapMetric, metric_named

ALL = "all"
"""What stands in the `volume` or `class` column where several are pooled."""
SLICE_MEAN = "_slice_mean"
"""What the name of a score ends in when it is the mean over slices instead of pooled over voxels."""


@dataclass(eq=False)
class Tally:
    """Voxel counts of one volume, growing as its blocks are counted in any order.

    Exclusive classes share one (K, K) table for each slice. Overlapping classes have a 2 x 2 table each, of the class
    against the rest.
    """

    volume: str
    classes: Classes
    slices: dict[int, tuple[Confusion, ...]] = field(default_factory=dict)
    """By slice z: one table, or one for each overlapping class."""

    def count(
        self, z: int, truth: Sequence[np.ndarray], prediction: Sequence[np.ndarray], valid: np.ndarray | None = None
    ) -> None:
        """Add part of slice `z`.

        Args:
            z: Slice, counted in the volume.
            truth: One array (Y, X) of class ids, or one mask (Y, X) for each overlapping class.
            prediction: The same of the prediction.
            valid: (Y, X), 0 where a voxel does not count.

        Raises:
            ScoreError: Shapes or ids do not fit.
        """
        pairs = zip(truth, prediction, strict=True)
        self.add(z, tuple(Confusion.of(t, p, self.table_size, valid) for t, p in pairs))

    def add(self, z: int, tables: tuple[Confusion, ...]) -> None:
        """Add tables that were counted elsewhere to those of slice `z`."""
        known = self.slices.get(z)
        self.slices[z] = tables if known is None else tuple(a + b for a, b in zip(known, tables, strict=True))

    @property
    def table_size(self) -> int:
        """Rows of each table: K, the background included where there is one, or 2 for overlapping classes."""
        return len(self.classes.names) if self.classes.exclusive else 2

    @property
    def pooled(self) -> tuple[Confusion, ...]:
        """The tables of the whole volume."""
        return pool(self.slices.values(), self.classes)


def pool(parts: Iterable[tuple[Confusion, ...]], classes: Classes) -> tuple[Confusion, ...]:
    """Add up tables of slices or volumes."""
    size = len(classes.names) if classes.exclusive else 2
    total = tuple(Confusion.empty(size) for _ in range(1 if classes.exclusive else len(classes.names)))
    for part in parts:
        total = tuple(a + b for a, b in zip(total, part, strict=True))
    return total


def scores_of(
    tallies: Sequence[Tally], *, run: str = "", threshold: float | None = None, complement: bool = False
) -> tuple[Score, ...]:
    """All rows for some volumes: each volume on its own, then, if there are several, all of them pooled.

    Args:
        tallies: Counts of the volumes, all of the same classes.
        run: What stands in the `run` column.
        threshold: What stands in the `threshold` column.
        complement: Also take the background as a positive class, as some published tables do.
    """
    rows: list[Score] = []
    groups = [(tally.volume, [tally]) for tally in tallies]
    if len(tallies) > 1:
        groups.append((ALL, list(tallies)))
    for volume, members in groups:
        rows += overlap_rows(volume, members, run, threshold, complement=complement)
    return tuple(rows)


def class_values(tables: tuple[Confusion, ...], classes: Classes, metric: OverlapMetric) -> dict[str, float]:
    """One score by class name."""
    return {name: float(metric.function(table)[entry]) for name, table, entry in class_tables(tables, classes)}


def mean_iou_of(tables: tuple[Confusion, ...], classes: Classes) -> Mean:
    """Mean IoU over all classes, the background included where classes are exclusive."""
    if classes.exclusive:
        return mean_iou(tables[0])
    return mean_defined([mean_iou(table, [1]).value for table in tables])


def volume_fractions(table: Confusion, entry: int) -> dict[str, float]:
    """Fraction of the voxels that count in the prediction, in the truth, and by how much the prediction has more.

    Inside the mask of a cell this is the organelle volume fraction of Guay et al. (2021),
    https://doi.org/10.1038/s41598-021-81590-0; NaN where no voxel counts.
    """
    total = table.total or float("nan")
    predicted, true = (float(table.tp[entry] + other[entry]) / total for other in (table.fp, table.fn))
    names = ("volume_fraction", "volume_fraction_truth", "volume_fraction_difference")
    return dict(zip(names, (predicted, true, predicted - true), strict=True))


def class_tables(tables: tuple[Confusion, ...], classes: Classes) -> Iterator[tuple[str, Confusion, int]]:
    """Name, table and entry in it of every class, the background included where classes are exclusive."""
    for index, name in enumerate(classes.names):
        yield (name, tables[0], index) if classes.exclusive else (name, tables[index], 1)


def overlap_rows(
    volume: str,
    tallies: Sequence[Tally],
    run: str,
    threshold: float | None,
    *,
    complement: bool = False,
    over: Sequence[str] = (),
) -> Iterator[Score]:
    """Rows of one volume, or of several pooled under one name; arguments as in `scores_of`."""
    classes = tallies[0].classes
    slices = [tables for tally in tallies for _, tables in sorted(tally.slices.items()) if tables[0].total]
    pooled = pool(slices, classes)
    shown = classes.names if complement else classes.foreground

    def row(name: str, metric: str, mean: Mean, rule: str, unit: str = "ratio") -> Score:
        return Score(run, volume, name, metric, mean.value, mean.n, rule, unit, threshold)

    for name, table, entry in class_tables(pooled, classes):
        for metric in METRICS if name in shown else ():
            value = float(metric.function(table)[entry])
            yield row(name, metric.name, Mean(value, table.total), f"positive={name}; pooled; n=voxels", metric.unit)
    for name in shown:
        for metric in METRICS:
            mean = mean_defined([class_values(tables, classes, metric)[name] for tables in slices])
            rule = f"positive={name}; mean over slices; n=slices"
            yield row(name, f"{metric.name}{SLICE_MEAN}", mean, rule, metric.unit)
    for name, mean in _paper_means(slices, classes).items():
        rule = f"positive={name}; mean over slices where any class is right somewhere; absent counts 0; n=slices"
        yield row(name, f"F1{SLICE_MEAN}_paper", mean, rule)
    for name, table, entry in class_tables(pooled, classes):
        for fraction, value in volume_fractions(table, entry).items() if name in classes.foreground else ():
            yield row(
                name,
                fraction,
                Mean(value, table.total),
                f"positive={name}; its share of all voxels that count; n=voxels",
            )
    for subset, rule, mean in _class_means(pooled, classes):
        yield row(subset, "mIoU", mean, f"{rule}; pooled; n=classes")
    if over:
        yield row("+".join(over), "mIoU", *_mean_over(pooled, classes, over))
    if classes.exclusive:
        accuracy = Mean(overall_accuracy(pooled[0]), pooled[0].total)
        yield row(ALL, "overall_accuracy", accuracy, "share of voxels of the right class; pooled; n=voxels")
    else:
        for name, table in zip(classes.names, pooled, strict=True):
            yield row(name, "mIoU", mean_iou(table), f"mean of {name} and its complement; pooled; n=classes")


def _mean_over(pooled: tuple[Confusion, ...], classes: Classes, over: Sequence[str]) -> tuple[Mean, str]:
    """Mean IoU of some classes, and its rule, which names those that are left out because nobody has them."""
    values = {name: float(iou(table)[entry]) for name, table, entry in class_tables(pooled, classes) if name in over}
    absent = [name for name in over if np.isnan(values[name])]
    rule = f"mean over {', '.join(over)}" + (f" without {', '.join(absent)}, which neither has" if absent else "")
    return mean_defined([values[name] for name in over]), f"{rule}; pooled; n=classes"


def _paper_means(slices: Sequence[tuple[Confusion, ...]], classes: Classes) -> dict[str, Mean]:
    """Slice-averaged F1 as Meyer et al. computed it: an absent class scores 0, a slice without any hit is left out."""
    values = [class_values(tables, classes, metric_named("F1")) for tables in slices]
    zeroed = [{name: np.nan_to_num(one[name]) for name in classes.foreground} for one in values]
    kept = [one for one in zeroed if sum(one.values()) > 0]
    return {name: mean_defined([one[name] for one in kept]) for name in classes.foreground}


def _class_means(pooled: tuple[Confusion, ...], classes: Classes) -> Iterator[tuple[str, str, Mean]]:
    if not classes.exclusive:
        yield ALL, "mean over the overlapping classes", mean_iou_of(pooled, classes)
        return
    if classes.background_name is None:
        yield ALL, "mean over all classes", mean_iou(pooled[0])
        return
    yield ALL, "mean over all classes, background included", mean_iou(pooled[0])
    if len(classes.foreground) > 1:
        yield "foreground", "mean over all classes but the background", mean_iou(pooled[0], classes.foreground_ids)
