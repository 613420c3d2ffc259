"""Tables like those of the papers: a row for each method, mean and deviation of the usual scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cristae.metrics.table import COMPARED, describe_metric
from cristae.report.benchmark.files import BenchmarkFiles, Record, number
from cristae.report.benchmark.tables import Column, sortable, switch
from cristae.report.page import Section

TITLE = "Tables"


def papers_section(files: BenchmarkFiles) -> Section | None:
    """A table for each class; None where nothing is ranked."""
    rows = [row for row in files["ranking"] if row["split"] == files.split]
    known = {(str(row["class"]), str(row["metric"]), str(row["cell"])): row for row in rows}
    classes = sorted(dict.fromkeys(str(row["class"]) for row in rows), key=lambda name: name != files.class_name)
    panes = []
    for name in classes:
        metrics = [one for one in dict.fromkeys((files.metric, *COMPARED)) if any(
            (name, one, cell) in known for cell in files.order)]  # fmt: skip
        if metrics:
            panes.append((name, sortable(_columns(files, name, metrics, known), caption=_caption(files, name))))
    return Section(TITLE, switch("Class", panes)) if panes else None


def _columns(
    files: BenchmarkFiles, name: str, metrics: Sequence[str], known: Mapping[tuple[str, str, str], Record]
) -> list[Column]:
    cells = [cell for cell in files.order if any((name, metric, cell) in known for metric in metrics)]
    columns = [Column("Method", [files.label(cell) for cell in cells])]
    for metric in metrics:
        rows = [known.get((name, metric, cell), {}) for cell in cells]
        means = [number(row, "mean") for row in rows]
        best = _best(means, metric)
        bold = [mean == best for mean in means]
        columns.append(Column(describe_metric(metric).title, [_text(row) for row in rows], means, bold))
    return columns


def _best(values: Sequence[float], metric: str) -> float | None:
    better = describe_metric(metric).better
    known = [value for value in values if math.isfinite(value)]
    if not known or not better:
        return None
    return max(known) if better == "higher" else min(known)


def _text(row: Record) -> str:
    mean, deviation = number(row, "mean"), number(row, "deviation")
    if math.isnan(mean):
        return "–"
    return f"{mean:.4f}" if math.isnan(deviation) else f"{mean:.4f} ± {deviation:.4f}"


def _caption(files: BenchmarkFiles, name: str) -> str:
    return (
        f"Class {name}, {files.split} regions: mean ± standard deviation over folds or trainings; the best mean is "
        "bold, which does not say that it is told apart from the others."
    )
