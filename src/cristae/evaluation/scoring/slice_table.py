"""Scores of every slice on its own: what intervals and comparisons of methods are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cristae.evaluation.scoring.counting import Counting
from cristae.evaluation.scoring.settings import Scoring
from cristae.evaluation.scoring.slices import SLICE_SCORES, SliceCounting
from cristae.evaluation.scoring.voxels import VoxelCounting
from cristae.evaluation.unit_tables import SPACING
from cristae.metrics.table import METRICS
from cristae.metrics.tally import class_tables

COLUMNS = (
    *("run", "volume", "slice", SPACING, "class", "TP", "FP", "FN", "TN"),
    *(metric.name for metric in METRICS),
    *SLICE_SCORES,
)
"""An undefined value reads `nan`; what was not asked for is empty."""


def slice_rows(scoring: Scoring, group: Sequence[Counting]) -> Iterator[dict[str, object]]:
    """One row for each slice with a voxel that counts, and each foreground class.

    Args:
        scoring: Whose scores.
        group: What was counted of one volume.
    """
    voxels = next((one for one in group if isinstance(one, VoxelCounting)), None)
    slices = next((one for one in group if isinstance(one, SliceCounting)), None)
    if voxels is None:
        return
    size = voxels.comparison.voxel_size_nm
    spacing = "" if size is None else size[0]
    for z, tables in sorted(voxels.tally.slices.items()):
        for name, table, entry in class_tables(tables, scoring.classes):
            if name not in scoring.classes.foreground or table.total == 0:
                continue
            counts = {"TP": table.tp, "FP": table.fp, "FN": table.fn, "TN": table.tn}
            yield (
                {"run": scoring.run, "volume": voxels.tally.volume, "slice": z, SPACING: spacing, "class": name}
                | {key: int(values[entry]) for key, values in counts.items()}
                | {metric.name: float(metric.function(table)[entry]) for metric in METRICS}
                | (slices.values(z, name) if slices else {})
            )
