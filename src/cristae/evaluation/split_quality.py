"""How well a step that numbers objects tells them apart, on annotated regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cristae.data.image import Image
from cristae.metrics.contingency import Contingency
from cristae.metrics.instances import InstanceCounts, panoptic_quality
from cristae.postprocessing import Split
from cristae.postprocessing.apply import apply_steps
from cristae.postprocessing.form import LabelMaps, Outcome
from cristae.postprocessing.workplace import Workplace

_THRESHOLD = (0.5,)
"""Above this IoU two objects are the same."""


def true_instances(step: Split, found: LabelMaps, truth: Sequence[Image], work: Workplace) -> Outcome:
    """The objects that the annotation itself holds: what the step makes of it when all seeds count.

    Args:
        step: With or without its value.
        found: Whose classes and voxel size the annotation has.
        truth: Class ids, or one mask for each overlapping class.
        work: Room for the objects.
    """
    masks = {} if found.classes.exclusive else dict(zip(found.classes.names, truth, strict=True))
    certain = {name: image.map(lambda mask: mask * np.uint8(255), np.dtype(np.uint8)) for name, image in masks.items()}
    maps = replace(found, images=tuple(truth), probabilities=certain)
    return apply_steps(maps, [step if step.unchanged is None else step.unchanged], work)


def instance_counts(
    step: Split, found: LabelMaps, truth: Outcome, valid: Image | None, work: Workplace
) -> dict[str, InstanceCounts]:
    """Objects of the prediction matched with true ones, by class.

    Args:
        step: With its value.
        found: What was predicted.
        truth: From `true_instances`.
        valid: 0 where voxels do not count; None where all do.
        work: Room for the objects.
    """
    made = apply_steps(found, [step], work).instances
    counts = {}
    for name, image in made.items():
        tables = [
            Contingency.of(
                truth.instances[name].read(block), image.read(block), None if valid is None else valid.read(block)
            )
            for block in work.blocks
        ]
        counts[name] = InstanceCounts.of(Contingency.total(tables), _THRESHOLD)
    return counts


def mean_panoptic_quality(regions: Sequence[dict[str, InstanceCounts]]) -> float:
    """Panoptic quality at an IoU of 0.5 over the objects of all regions, its mean over the classes that have some; NaN
    where there is no object.

    Kirillov et al. (2019), https://arxiv.org/abs/1801.00868
    """
    qualities = []
    for name in regions[0]:
        first, *others = (region[name] for region in regions)
        total = sum(others, start=first)
        qualities.append(float(panoptic_quality(total)[0]))
    known = [quality for quality in qualities if not np.isnan(quality)]
    return float(np.mean(known)) if known else float("nan")
