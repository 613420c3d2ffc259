"""The table of metrics: what each is called, what it is measured in and which direction is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cristae.metrics import overlap
from cristae.metrics.confusion import Confusion

Better = Literal["higher", "lower", ""]
"""Which direction is better; empty for what is neither good nor bad, such as a volume fraction."""


@dataclass(frozen=True)
class Metric:
    """A score as it stands in the `metric` column."""

    name: str
    title: str
    """As it stands in tables of pages, other names included."""
    unit: str = "ratio"
    better: Better = "higher"

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The least and the largest value there can be; None where it may be any."""
        if self.unit != "ratio" or not self.better:
            return None
        return (-1.0, 1.0) if self.name == "kappa" else (0.0, 1.0)


@dataclass(frozen=True)
class OverlapMetric(Metric):
    """A score of each class that is a ratio of voxel counts."""

    function: Callable[[Confusion], np.ndarray] = overlap.dice
    """Gives (K,) values."""


METRICS: tuple[OverlapMetric, ...] = (
    OverlapMetric("F1", "F1 (Dice)", function=overlap.dice),
    OverlapMetric("Jaccard", "Jaccard (IoU)", function=overlap.iou),
    OverlapMetric("accuracy", "Accuracy", function=overlap.accuracy),
    OverlapMetric("sensitivity", "Sensitivity (recall)", function=overlap.recall),
    OverlapMetric("specificity", "Specificity", function=overlap.specificity),
    OverlapMetric("PPV", "PPV (precision)", function=overlap.precision),
    OverlapMetric("NPV", "NPV", function=overlap.npv),
)
"""Scores made of the counts of right and wrong voxels."""

_OTHERS = (
    Metric("mIoU", "Mean IoU"),
    Metric("overall_accuracy", "Accuracy over all classes"),
    Metric("AUC-ROC", "AUC-ROC"),
    Metric("AP", "Average precision"),
    Metric("ECE", "Calibration error (ECE)", better="lower"),
    Metric("MCE", "Largest calibration error (MCE)", better="lower"),
    Metric("V_rand", "V_rand (thinned)"),
    Metric("V_info", "V_info (thinned)"),
    Metric("VI", "Variation of information", "bits", "lower"),
    Metric("VI_fg", "VI inside the truth", "bits", "lower"),
    Metric("adapted_rand_error", "Adapted Rand error", better="lower"),
    Metric("components_TP", "Components detected", "components"),
    Metric("components_FN", "Components missed", "components", "lower"),
    Metric("components_UD", "Components under-detected", "components", "lower"),
    Metric("instance_AP", "Instance AP"),
    Metric("PQ", "Panoptic quality"),
    Metric("SQ", "Segmentation quality"),
    Metric("RQ", "Recognition quality"),
    Metric("HD", "Hausdorff distance", "nm", "lower"),
    Metric("HD95", "Hausdorff distance, 95 %", "nm", "lower"),
    Metric("ASD", "Average surface distance", "nm", "lower"),
    Metric("NSD", "Surface Dice (NSD)"),
    Metric("boundary_F1", "Boundary F1"),
    Metric("clDice", "Centreline Dice (clDice)"),
    Metric("kappa", "Cohen's kappa"),
    Metric("volume_fraction", "Volume fraction", better=""),
)

COMPARED = (
    *("F1", "V_rand", "V_info", "accuracy", "sensitivity", "specificity", "PPV", "NPV", "Jaccard", "mIoU", "AUC-ROC"),
    *("AP", "PQ", "HD95", "NSD"),
)
"""Columns of a table of several runs, in the order of the EM-stellar paper's table; files have everything."""


def metric_named(name: str) -> OverlapMetric:
    """The overlap score of this name.

    Raises:
        KeyError: There is none.
    """
    return {metric.name: metric for metric in METRICS}[name]


def describe_metric(name: str) -> Metric:
    """What is known about any name of the `metric` column; variants such as `V_rand_raw` take after their family.

    Example:
        >>> describe_metric("VI_split").better
        'lower'
    """
    family = family_of(name)
    if family is None:
        return Metric(name, name)
    return Metric(name, family.title + name[len(family.name) :].replace("_", " "), family.unit, family.better)


def family_of(name: str) -> Metric | None:
    """The metric that a name is, or is a variant of; None for a name that no score has.

    Example:
        >>> family_of("V_rand_raw").name, family_of("Jacard")
        ('V_rand', None)
    """
    known: dict[str, Metric] = {metric.name: metric for metric in (*METRICS, *_OTHERS)}
    for length in range(len(name), 0, -1):
        if (family := known.get(name[:length])) is not None and name[length : length + 1] in ("", "_"):
            return family
    return None
