"""Tables of scores for the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from cristae.data.image import VoxelSize
from cristae.metrics.score import Score
from cristae.metrics.table import COMPARED, describe_metric
from cristae.metrics.tally import ALL, SLICE_MEAN
from cristae.report.page import Fact, fold, render, table

SHOWN = ("Jaccard", "F1", "PPV", "sensitivity")
"""Metrics of the short table; the full one is folded."""
MAX_ROWS = 2000
"""Longer full tables are cut; the file has them all."""


@dataclass(frozen=True)
class Cell:
    """One number of a table."""

    text: str
    share: float | None = None
    """Length of the bar under it, in percent."""
    n: str = ""
    hint: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A class, a volume or a run, with its numbers."""

    name: str
    cells: tuple[Cell, ...]
    color: str = ""


def scores_markup(scores: Sequence[Score], colors: Mapping[str, str]) -> Markup:
    """Scores of one run: a row for each class, then each volume, then everything.

    Args:
        scores: The rows of the run.
        colors: '#rrggbb' by class name.
    """
    volumes = list(dict.fromkeys(score.volume for score in scores))
    overall = ALL if ALL in volumes else volumes[-1]
    parts = [_by_class([score for score in scores if score.volume == overall], colors)]
    if len(volumes) > 1:
        parts.append(fold(f"Each volume ({len(volumes) - 1})", _by_volume(scores, volumes)))
    parts.append(fold("Every score", every_score([score for score in scores if score.volume == overall])))
    parts.append(fold(f"All {len(scores)} rows", full_table(scores)))
    return Markup("").join(parts)


def comparison_markup(scores: Sequence[Score]) -> Markup:
    """Scores of several runs: for each class a row for each run, the best in bold, then everything."""
    volumes = {score.volume for score in scores}
    overall = ALL if ALL in volumes else None
    parts = []
    for volume in [overall] if overall else sorted(volumes):
        shown = [score for score in scores if score.volume == volume]
        for name in dict.fromkeys(score.class_name for score in shown if score.metric == "Jaccard"):
            title = name if len(volumes) == 1 or overall else f"{volume}: {name}"
            parts.append(Markup("<h4>{}</h4>").format(title) + _by_run(shown, name))
    return Markup("").join([*parts, fold(f"All {len(scores)} rows", full_table(scores))])


def full_table(scores: Sequence[Score]) -> Markup:
    """Every row as it stands in the file, at most `MAX_ROWS` of them."""
    rows = [{key: _plain(value) for key, value in score.as_row().items()} for score in scores[:MAX_ROWS]]
    caption = "" if len(scores) <= MAX_ROWS else f"The first {MAX_ROWS} of {len(scores)} rows."
    return table(rows, numbers=("threshold", "value", "low", "high", "n"), caption=caption)


def headline(scores: Sequence[Score]) -> Score | None:
    """The one number to show large, of all volumes together where there are several.

    The IoU of the one class, or the mean IoU over all classes but the background, which would flatter it.
    """
    wanted = (("foreground", "mIoU"), (ALL, "mIoU"))
    classes = list(dict.fromkeys(score.class_name for score in scores if score.metric == "Jaccard"))
    for name, metric in ((classes[0], "Jaccard"),) if len(classes) == 1 else wanted:
        found = [score for score in scores if (score.class_name, score.metric) == (name, metric)]
        if found:
            return next((score for score in found if score.volume == ALL), found[0])
    return None


def headline_fact(scores: Sequence[Score], note: str = "") -> list[Fact]:
    """The headline as a fact of a page; nothing where there is none."""
    score = headline(scores)
    if score is None:
        return []
    title = f"IoU of {score.class_name}" if score.metric == "Jaccard" else "Mean IoU"
    left_out = "" if score.rule.startswith("mean over all classes;") else ", background left out"
    kinds = "" if score.metric == "Jaccard" else f"{score.n} classes{left_out}"
    return [Fact(title, format_value(score.value), ", ".join(part for part in (note, kinds) if part))]


def format_value(value: float) -> str:
    """Four decimals; a dash where undefined."""
    return "–" if math.isnan(value) else f"{value:.4f}"


def _by_class(scores: Sequence[Score], colors: Mapping[str, str]) -> Markup:
    names = list(dict.fromkeys(score.class_name for score in scores if score.metric == "Jaccard"))
    rows = []
    for name in names:
        pooled = [_cell(_one(scores, metric, name), bar=True) for metric in SHOWN]
        mean = _cell(_one(scores, f"F1{SLICE_MEAN}", name), count=True)
        rows.append(Row(name, (*pooled, mean), colors.get(name, "")))
    columns = [describe_metric(metric).title for metric in SHOWN] + ["F1, slice mean (slices)"]
    return render("scores.html.j2", first="Class", columns=columns, rows=rows, notes=_notes(scores))


def _notes(scores: Sequence[Score]) -> list[str]:
    notes = []
    for score in scores:
        if score.metric == "mIoU" and score.class_name in (ALL, "foreground"):
            what = score.rule.split(";")[0]
            notes.append(f"Mean IoU {format_value(score.value)}: {what} ({score.n} classes defined).")
        if score.metric == "overall_accuracy":
            notes.append(f"Accuracy {format_value(score.value)}: {score.rule.split(';')[0]}.")
    voxels = next((score.n for score in scores if "pooled; n=voxels" in score.rule), 0)
    notes.append(
        f"Each row takes that class as positive, over {voxels:,} voxels pooled; the last column averages over slices. "
        "A dash means undefined: the class is in neither map."
    )
    return notes


def _by_volume(scores: Sequence[Score], volumes: Sequence[str]) -> Markup:
    names = list(dict.fromkeys(score.class_name for score in scores if score.metric == "Jaccard"))
    by_volume = {volume: [score for score in scores if score.volume == volume] for volume in volumes if volume != ALL}
    rows = [
        Row(volume, tuple(_cell(_one(own, "Jaccard", name), bar=True) for name in names))
        for volume, own in by_volume.items()
    ]
    notes = ["IoU of each class, pooled over the voxels of the volume."]
    return render("scores.html.j2", first="Volume", columns=names, rows=rows, notes=notes)


def _by_run(scores: Sequence[Score], class_name: str) -> Markup:
    runs = list(dict.fromkeys(score.run for score in scores))
    known = {score.metric for score in scores if score.class_name == class_name}
    metrics = [metric for metric in COMPARED if metric in known]
    found = {run: [_one([s for s in scores if s.run == run], metric, class_name) for metric in metrics] for run in runs}
    best = [
        _best([s.value for s in column if s and not math.isnan(s.value)], metric)
        for metric, column in zip(metrics, zip(*found.values(), strict=True), strict=True)
    ]
    rows = [
        Row(run, tuple(_cell(s, best=top) for s, top in zip(cells, best, strict=True))) for run, cells in found.items()
    ]
    columns = [describe_metric(metric).title for metric in metrics]
    notes = [f"Positive class: {class_name}. Best in bold; what each number means shows when you point at it."]
    if {"V_rand", "V_info"} & known:
        notes.append("V_rand and V_info are taken at the threshold that is best on these very data: optimistic.")
    return render("scores.html.j2", first="Run", columns=columns, rows=rows, notes=notes)


def _best(values: Sequence[float], metric: str) -> float | None:
    better = describe_metric(metric).better
    if not values or not better:
        return None
    return max(values) if better == "higher" else min(values)


def every_score(scores: Sequence[Score]) -> Markup:
    """Metrics in rows and classes in columns, with intervals, of one run and volume."""
    names = list(dict.fromkeys(score.class_name for score in scores))
    rows = [
        Row(metric, tuple(_cell(_one(scores, metric, name)) for name in names))
        for metric in dict.fromkeys(score.metric for score in scores)
    ]
    notes = ["What each number means shows when you point at it; the column `rule` of the file says the same."]
    return render("scores.html.j2", first="Score", columns=names, rows=rows, notes=notes)


def _one(scores: Iterable[Score], metric: str, class_name: str) -> Score | None:
    return next((s for s in scores if (s.metric, s.class_name) == (metric, class_name)), None)


def _cell(score: Score | None, *, bar: bool = False, count: bool = False, best: float | None = None) -> Cell:
    if score is None:
        return Cell("")
    share = round(100 * score.value, 1) if bar and not math.isnan(score.value) else None
    behind = f"({score.n})" if count else ""
    if score.low is not None and score.high is not None:
        behind = f"[{format_value(score.low)}, {format_value(score.high)}]"
    at = "" if score.threshold is None else f"threshold {score.threshold:.4g}; "
    return Cell(
        format_value(score.value) if score.unit == "ratio" else _plain(score.value),
        share=share,
        n=behind,
        hint=f"{at}{score.rule} ({score.n:,})",
        best=best is not None and score.value == best,
    )


def _plain(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def share_table(
    voxels: Mapping[str, int],
    total: int,
    colors: Mapping[str, str],
    voxel_size_nm: VoxelSize | None,
    notes: Sequence[str],
) -> Markup:
    """How much of a volume each class takes.

    Args:
        voxels: By class name.
        total: Voxels of the volume.
        colors: '#rrggbb' by class name.
        voxel_size_nm: (z, y, x); None leaves out the column in µm³.
        notes: Lines under the table.
    """
    rows = []
    for name, count in voxels.items():
        cells = [Cell(f"{100 * count / total:.2f} %", share=round(100 * count / total, 1)), Cell(f"{count:,}")]
        if voxel_size_nm is not None:
            cells.append(Cell(f"{count * math.prod(voxel_size_nm) / 1e9:.4g}"))
        rows.append(Row(name, tuple(cells), colors.get(name, "")))
    columns = ["Share", "Voxels", *(["Volume (µm³)"] if voxel_size_nm else [])]
    return render("scores.html.j2", first="Class", columns=columns, rows=rows, notes=notes)
