"""Rows of scores that look at whole objects: partition, detection, instances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from cristae.metrics.contingency import Contingency
from cristae.metrics.detection import Detection
from cristae.metrics.instances import (
    InstanceCounts,
    instance_ap,
    panoptic_quality,
    recognition_quality,
    segmentation_quality,
)
from cristae.metrics.overlap import Mean, mean_defined
from cristae.metrics.partition import adapted_rand_error, v_info, v_rand, variation_of_information
from cristae.metrics.score import Score

_UNTIDY = 64
"""Tables put aside before equal pairs are taken together."""


def partition_rows(tables: Sequence[Contingency], subject: Score, suffix: str = "") -> Iterator[Score]:
    """V_rand and V_info as the maps are, variation of information and adapted Rand error; the mean over volumes.

    Args:
        tables: One for each volume.
        subject: Whose scores these are; its rule says what the objects are.
        suffix: What the names end in.
    """
    parts = {
        "V_rand_raw": [v_rand(table) for table in tables],
        "V_info_raw": [v_info(table) for table in tables],
        "VI": [variation_of_information(table) for table in tables],
        "VI_fg": [variation_of_information(table, foreground=True) for table in tables],
    }
    for name, found in parts.items():
        unit = "bits" if name.startswith("VI") else "ratio"
        for part, values in {
            "": [one.value for one in found],
            "_split": [one.split for one in found],
            "_merge": [one.merge for one in found],
        }.items():
            yield _mean_row(subject, f"{name}{part}{suffix}", mean_defined(values), unit)
    errors = mean_defined([adapted_rand_error(table).error for table in tables])
    yield _mean_row(subject, f"adapted_rand_error{suffix}", errors, "ratio")


def detection_rows(found: Sequence[Detection], subject: Score, suffix: str = "") -> Iterator[Score]:
    """True objects that are detected, missed and under-detected, added up; numbers and percentages."""
    counts = {kind: int(sum(getattr(one, kind.lower()) for one in found)) for kind in ("TP", "FN", "UD")}
    total = sum(counts.values())
    rule = f"{subject.rule}; TP: more than 80 % covered, FN: less than 10 %, UD: between; n=true components"
    for kind, count in counts.items():
        yield replace(
            subject, metric=f"components_{kind}{suffix}", value=float(count), unit="components", n=total, rule=rule
        )
    for kind, count in counts.items():
        share = 100 * count / total if total else float("nan")
        yield replace(subject, metric=f"components_{kind}_percent{suffix}", value=share, unit="%", n=total, rule=rule)


def instance_rows(table: Contingency, subject: Score, suffix: str = "") -> Iterator[Score]:
    """AP of instances at IoU 0.5, 0.75 and averaged from 0.5 to 0.95, and panoptic quality with its two factors."""
    counts = InstanceCounts.of(table)
    ap, half = instance_ap(counts), counts.thresholds.index(0.5)
    values = {
        "instance_AP50": (ap[half], "TP / (TP + FP + FN) of objects matched above IoU 0.5"),
        "instance_AP75": (ap[counts.thresholds.index(0.75)], "TP / (TP + FP + FN) of objects matched above IoU 0.75"),
        "instance_AP": (ap.mean(), "mean of TP / (TP + FP + FN) of objects matched above IoU 0.5, 0.55 to 0.95"),
        "PQ": (panoptic_quality(counts)[half], "objects matched above IoU 0.5"),
        "SQ": (segmentation_quality(counts)[half], "mean IoU of objects matched above IoU 0.5"),
        "RQ": (recognition_quality(counts)[half], "F1 of objects matched above IoU 0.5"),
    }
    for name, (value, what) in values.items():
        rule = f"{subject.rule}; {what}; n=true objects"
        yield replace(subject, metric=f"{name}{suffix}", value=float(value), n=counts.n_truth, rule=rule)


def apart(tables: Sequence[Contingency]) -> Contingency:
    """Tables of several volumes as one, in which no object of one is taken for an object of another."""
    parts, truth, prediction = [], 0, 0
    for table in tables:
        true = np.where(table.truth > 0, table.truth + truth, 0)
        predicted = np.where(table.prediction > 0, table.prediction + prediction, 0)
        parts.append(Contingency(true, predicted, table.voxels))
        truth, prediction = max(truth, int(true.max(initial=0))), max(prediction, int(predicted.max(initial=0)))
    return parts[0] if len(parts) == 1 else Contingency.total(parts)


def pushed(parts: list[Contingency], fresh: Contingency) -> list[Contingency]:
    """The tables with one more; equal pairs are taken together now and then."""
    parts = [*parts, fresh]
    return [Contingency.total(parts)] if len(parts) > _UNTIDY else parts


def arrays_of(table: Contingency) -> dict[str, np.ndarray]:
    """A table as plain arrays."""
    return {"truth": table.truth, "prediction": table.prediction, "voxels": table.voxels}


def overlaps_of(arrays: Mapping[str, np.ndarray]) -> Contingency:
    """What `arrays_of` gave."""
    return Contingency(arrays["truth"], arrays["prediction"], arrays["voxels"])


def _mean_row(subject: Score, metric: str, mean: Mean, unit: str) -> Score:
    rule = f"{subject.rule}; mean over volumes; n=volumes"
    return replace(subject, metric=metric, value=mean.value, n=mean.n, unit=unit, rule=rule)
