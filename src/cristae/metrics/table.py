"""The table of metrics: what each is called, what it is measured in and which direction is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cristae.metrics import overlap
from cristae.metrics.confusion import Confusion


@dataclass(frozen=True)
class Metric:
    """One score of each class, made of voxel counts."""

    name: str
    """As it stands in the `metric` column of scores."""
    title: str
    """As it stands in tables, other names included."""
    function: Callable[[Confusion], np.ndarray]
    """Gives (K,) values."""
    unit: str
    better: Literal["higher", "lower"]


METRICS: tuple[Metric, ...] = (
    Metric("iou", "IoU (Jaccard)", overlap.iou, "ratio", "higher"),
    Metric("dice", "Dice (F1)", overlap.dice, "ratio", "higher"),
    Metric("precision", "Precision (PPV)", overlap.precision, "ratio", "higher"),
    Metric("recall", "Recall (sensitivity)", overlap.recall, "ratio", "higher"),
    Metric("specificity", "Specificity", overlap.specificity, "ratio", "higher"),
    Metric("npv", "NPV", overlap.npv, "ratio", "higher"),
    Metric("accuracy", "Accuracy", overlap.accuracy, "ratio", "higher"),
)


def metric_named(name: str) -> Metric:
    """The metric of this name.

    Raises:
        KeyError: There is none.
    """
    return {metric.name: metric for metric in METRICS}[name]
