"""The page of a table of scores, of one run or of several side by side."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from cristae.errors import ScoreError
from cristae.metrics.calibration import Reliability
from cristae.metrics.score import Score
from cristae.metrics.table import describe_metric
from cristae.report.curves import precision_recall_curves, reliability_diagram, roc_curves, threshold_curves
from cristae.report.page import Section, build_page
from cristae.report.scores import comparison_markup, headline_fact, scores_markup

DRAWN = ("F1", "Jaccard", "V_rand", "V_info")
"""Scores whose curves over the threshold are drawn."""
RELIABILITY = "reliability"
"""What stands in the `metric` column for points of a reliability diagram."""


@dataclass(frozen=True)
class CurvePoint:
    """One row of a table of curves."""

    run: str
    class_name: str
    metric: str
    threshold: float
    """Of a reliability diagram: the mean probability."""
    value: float
    n: int


def read_curves(path: Path) -> list[CurvePoint]:
    """The table of curves that `evaluate` writes beside a table of scores; empty where there is none.

    Raises:
        ScoreError: It is damaged.
    """
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [
                CurvePoint(
                    row["run"],
                    row["class"],
                    row["metric"],
                    float(row["threshold"] or "nan"),
                    float(row["value"]),
                    int(row["n"]),
                )
                for row in csv.DictReader(file)
            ]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ScoreError(f"{path}: not a table of curves ({error}); remove it, or evaluate again") from error


def scores_page(name: str, scores: Sequence[Score], curves: Sequence[CurvePoint] = ()) -> str:
    """One table for each run of the file, or a comparison when there are several; then the curves.

    Args:
        name: What the page is called.
        scores: At least one row.
        curves: Scores over the threshold, where probability maps were scored.
    """
    runs = list(dict.fromkeys(score.run for score in scores))
    sections = []
    if len(runs) > 1:
        sections.append(Section("Comparison", comparison_markup(scores)))
    else:
        sections.append(Section("Scores", scores_markup(scores, {})))
    if curves:
        sections.append(Section("Thresholds", _curves(curves)))
    if any(point.metric == "sensitivity" for point in curves):
        sections.append(Section("Ranking", _rankings(curves, scores)))
    if any(point.metric == RELIABILITY for point in curves):
        sections.append(Section("Calibration", _calibration(curves, scores)))
    lead = f"{len(runs)} runs side by side." if len(runs) > 1 else ""
    facts = headline_fact(scores) if len(runs) == 1 else []
    return build_page(f"Scores: {name}", sections, lead=lead, facts=facts)


def _curves(points: Sequence[CurvePoint]) -> Markup:
    drawn = []
    for name in dict.fromkeys(point.class_name for point in points):
        for metric in DRAWN:
            lines = {
                run: ([p.threshold for p in own], [p.value for p in own])
                for run, own in _by_run(points, name, metric).items()
            }
            if lines:
                drawn.append(threshold_curves(lines, metric=f"{describe_metric(metric).title} of {name}"))
    note = Markup(
        '<p class="note">The marked threshold is the best on these very data, so its score is optimistic; choose it '
        "on validation data.</p>"
    )
    return Markup("").join([*drawn, note])


def _rankings(points: Sequence[CurvePoint], scores: Sequence[Score]) -> Markup:
    """ROC curves, and precision over recall, through 101 thresholds."""
    drawn = []
    for name in dict.fromkeys(point.class_name for point in points):
        rates = {metric: _by_run(points, name, metric) for metric in ("sensitivity", "specificity", "PPV")}
        found = {run: _values(own) for run, own in rates["sensitivity"].items()}
        wrong = {run: 1 - _values(own) for run, own in rates["specificity"].items()}
        right = {run: _values(own) for run, own in rates["PPV"].items()}
        roc = {run: (np.r_[0, wrong[run][::-1], 1], np.r_[0, found[run][::-1], 1]) for run in found}
        steps = {run: (found[run][::-1], right[run][::-1]) for run in found}
        areas, averages = (
            {s.run: s.value for s in scores if (s.metric, s.class_name) == (metric, name)}
            for metric in ("AUC-ROC", "AP")
        )
        drawn += [roc_curves(roc, areas), precision_recall_curves(steps, averages)]
    note = Markup(
        '<p class="note">Drawn through the thresholds 0, 0.01, ..., 1; AUC and AP use every probability as a '
        "threshold.</p>"
    )
    return Markup("").join([*drawn, note])


def _values(points: Sequence[CurvePoint]) -> np.ndarray:
    return np.array([point.value for point in points])


def _calibration(points: Sequence[CurvePoint], scores: Sequence[Score]) -> Markup:
    drawn = []
    for name in dict.fromkeys(point.class_name for point in points):
        bins = {}
        for run, own in _by_run(points, name, RELIABILITY).items():
            mean, observed = np.array([p.threshold for p in own]), np.array([p.value for p in own])
            voxels = np.array([p.n for p in own], np.int64)
            bins[run] = Reliability(np.linspace(0, 1, len(own) + 1), voxels, mean, observed)
        errors = {s.run: s.value for s in scores if (s.metric, s.class_name) == ("ECE", name)}
        drawn.append(reliability_diagram(bins, errors))
    note = Markup(
        '<p class="note">Of the voxels scored 0.7, about 70 % should be foreground: on the dashed line a score can be '
        "taken at its word.</p>"
    )
    return Markup("").join([*drawn, note])


def _by_run(points: Sequence[CurvePoint], name: str, metric: str) -> dict[str, list[CurvePoint]]:
    own = [point for point in points if (point.class_name, point.metric) == (name, metric)]
    return {run: [point for point in own if point.run == run] for run in dict.fromkeys(point.run for point in own)}
