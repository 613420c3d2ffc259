"""How sure a score is: the interval that independent units of the data leave open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cristae.errors import ScoreError
from cristae.evaluation.comparison import Comparison
from cristae.evaluation.scoring.counting import Counting
from cristae.evaluation.scoring.settings import Scoring
from cristae.evaluation.scoring.slices import SliceCounting
from cristae.evaluation.scoring.voxels import VoxelCounting
from cristae.metrics.confusion import Confusion
from cristae.metrics.overlap import iou
from cristae.metrics.ratio import ratio
from cristae.metrics.score import Score
from cristae.metrics.table import METRICS
from cristae.metrics.tally import ALL, SLICE_MEAN, class_tables
from cristae.metrics.uncertainty.bootstrap import interval
from cristae.metrics.uncertainty.statistic import Statistic, best_mean, mean, mean_rows
from cristae.metrics.uncertainty.units import Unit, group_rows, parse_unit, slab_of
from cristae.metrics.v_scores import MAP_METRICS, NAMES, THRESHOLDS, VTable

_OF_ALL = ("mIoU", "overall_accuracy")
UnitOf = Callable[[int, int], int]
"""The number of the unit that slice z of a volume (by its place) belongs to."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What a score is made of: a row for each slice, the unit each belongs to, and the score as function of sums."""

    table: np.ndarray
    """(N, k) float64."""
    unit: np.ndarray
    """(N,) int64."""
    statistic: Statistic

    @property
    def units(self) -> np.ndarray:
        """(n, k) sums over the slices of each unit."""
        return group_rows(self.unit.tolist(), self.table)[1]


def with_intervals(
    rows: Sequence[Score], volume: str, members: Sequence[Sequence[Counting]], scoring: Scoring
) -> Iterator[Score]:
    """The rows, with `low` and `high` where the score is made of units of the kind that was asked for.

    Args:
        rows: Of one volume, or of several together.
        volume: Its name.
        members: What was counted of each volume.
        scoring: `options.unit` is `volume`, `slice` or `slab:500nm`; None leaves all rows as they are.

    Raises:
        ScoreError: The unit is unknown, or slabs need a voxel size that is not known.
    """
    if scoring.options.unit is None:
        yield from rows
        return
    unit = parse_unit(scoring.options.unit)
    if unit.kind == "volume" and volume != ALL:
        yield from rows
        return
    unit_of = _unit_of(unit, [_comparison(group) for group in members])
    for row in rows:
        made_of = _rows_of(row, members, scoring, unit_of)
        if made_of is None:
            yield replace(row, rule=f"{row.rule}; no interval is made for this score")
            continue
        found = interval(made_of.units, made_of.statistic, bounds=None if row.unit == "bits" else (0.0, 1.0))
        what = f"{found.n} units ({unit})"
        why = f"; no interval: {found.reason}" if found.reason else f"; 95 % interval over {what}"
        yield replace(row, low=found.low, high=found.high, rule=row.rule + why)


def check_slabs(unit: str | None, comparisons: Sequence[Comparison]) -> None:
    """Find out before anything is counted whether volumes can be cut into the units that are asked for.

    Raises:
        ScoreError: The unit is unknown, or slabs need a voxel size that is not known, or are thinner than a slice.
    """
    if unit is not None:
        unit_of = _unit_of(parse_unit(unit), comparisons)
        for place in range(len(comparisons)):
            unit_of(place, 0)


def _unit_of(unit: Unit, comparisons: Sequence[Comparison]) -> UnitOf:
    if unit.kind == "volume":
        return lambda place, _: place
    if unit.kind == "slice":
        return lambda place, z: place << 32 | z
    if unit.kind == "column":
        raise ScoreError("a column names units in tables, for `cristae compare`; here give volume, slice or slab:500nm")
    for comparison in comparisons:
        if comparison.voxel_size_nm is None:
            raise ScoreError(
                f"{comparison.volume}: slabs of {unit.thickness_nm:g} nm need the voxel size, which no file has; "
                "give it with --voxel-size-nm Z Y X"
            )
    steps = [comparison.voxel_size_nm[0] for comparison in comparisons if comparison.voxel_size_nm]
    return lambda place, z: place << 32 | int(slab_of(np.array([z]), steps[place], unit.thickness_nm)[0])


def _comparison(group: Sequence[Counting]) -> Comparison:
    return next(one.comparison for one in group if isinstance(one, VoxelCounting))


def _rows_of(row: Score, members: Sequence[Sequence[Counting]], scoring: Scoring, unit_of: UnitOf) -> Rows | None:
    """What a score is made of; None for scores that are no function of sums over slices."""
    overlap = {metric.name: metric for metric in METRICS}
    base = row.metric.removesuffix(SLICE_MEAN)
    if base in overlap and row.class_name in scoring.classes.names:
        tables = list(_class_tables(row.class_name, members, scoring, unit_of))
        entry = tables[0][2] if tables else 0
        function = overlap[base].function
        unit = np.array([number for number, _, _ in tables], np.int64)
        counts = np.array([table.counts for _, table, _ in tables], np.float64)
        if base != row.metric:
            return Rows(mean_rows(function(Confusion(counts))[:, entry]), unit, mean)
        size = counts.shape[-1]

        def pooled(sums: np.ndarray) -> np.ndarray:
            return function(Confusion(sums.reshape(*sums.shape[:-1], size, size)))[..., entry]

        return Rows(counts.reshape(len(counts), -1), unit, pooled)
    of_all = (ALL, "foreground", "+".join(scoring.options.over))
    if row.class_name in of_all and scoring.classes.exclusive and row.metric in _OF_ALL:
        return _rows_of_all(row, members, scoring, unit_of)
    partition = (*MAP_METRICS, *(f"{named}{form}" for named in NAMES for form in ("", "_fixed", "_raw")))
    if row.metric in partition and row.class_name in scoring.classes.foreground:
        return _v_rows_of(row, members, unit_of)
    return None


def _rows_of_all(row: Score, members: Sequence[Sequence[Counting]], scoring: Scoring, unit_of: UnitOf) -> Rows:
    """Scores of the whole table of exclusive classes: mean IoU, with or without the background, and accuracy."""
    tables = list(_class_tables(scoring.classes.names[0], members, scoring, unit_of))
    counts = np.array([table.counts for _, table, _ in tables], np.float64)
    size, over = len(scoring.classes.names), scoring.options.over
    chosen = list(range(int(row.class_name == "foreground"), size))
    if row.class_name == "+".join(over):
        chosen = [scoring.classes.names.index(name) for name in over]

    def pooled(sums: np.ndarray) -> np.ndarray:
        table = Confusion(sums.reshape(*sums.shape[:-1], size, size))
        if row.metric == "overall_accuracy":
            return ratio(table.tp.sum(axis=-1), sums.sum(axis=-1))
        values = iou(table)[..., chosen]
        defined = ~np.isnan(values)
        return ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))

    unit = np.array([number for number, _, _ in tables], np.int64)
    return Rows(counts.reshape(len(counts), -1), unit, pooled)


def _class_tables(
    name: str, members: Sequence[Sequence[Counting]], scoring: Scoring, unit_of: UnitOf
) -> Iterator[tuple[int, Confusion, int]]:
    """Unit, table and the class's entry in it, of every slice with a voxel that counts."""
    for place, group in enumerate(members):
        for counting in group:
            if isinstance(counting, VoxelCounting):
                for z, tables in sorted(counting.tally.slices.items()):
                    for found, table, entry in class_tables(tables, scoring.classes):
                        if found == name and table.total:
                            yield unit_of(place, z), table, entry


def _v_rows_of(row: Score, members: Sequence[Sequence[Counting]], unit_of: UnitOf) -> Rows | None:
    """Partition scores: a mean over slices, or the best of the means at eleven thresholds."""
    found = [
        (place, counting.tables[row.class_name])
        for place, group in enumerate(members)
        for counting in group
        if isinstance(counting, SliceCounting)
    ]
    if not found:
        return None
    unit = np.array([unit_of(place, one.z) for place, table in found for one in table.slices], np.int64)
    table = VTable.total([table for _, table in found])
    if row.metric in MAP_METRICS:
        return Rows(table.map_units(row.metric), unit, mean)
    chosen = NAMES[0] if row.metric.startswith(NAMES[0]) else NAMES[1]
    values = table.units(chosen, "raw" if row.metric.endswith("_raw") else "thin")
    if row.metric in NAMES and table.graded:
        searched = values[:, [place for place, t in enumerate(table.thresholds) if t in THRESHOLDS]]
        return Rows(np.concatenate([searched[..., 0], searched[..., 1]], axis=1), unit, best_mean)
    return Rows(values[:, table.thresholds.index(table.fixed)], unit, mean)
