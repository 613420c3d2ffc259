"""Pictures of what several participants labelled, side by side and from the same place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cristae.analysis.cells import CellMap, cells_of_classes
from cristae.analysis.class_map import ClassMap
from cristae.analysis.measurement import Grid
from cristae.analysis.render import Rendering
from cristae.analysis.surfaces import class_meshes, draw_side_by_side
from cristae.data.box import Box
from cristae.data.image import Image
from cristae.evaluation.agreement import Panel
from cristae.metrics.agreement import Agreement
from cristae.progress import Progress


def views_of(panel: Panel, agreement: Agreement, progress: Progress) -> dict[str, Rendering]:
    """A picture of each participant's classes, inside what is compared.

    Args:
        panel: The participants; their voxel size is known.
        agreement: How much of each class each of them has.
        progress: Where to show progress.
    """
    assert panel.voxel_size_nm is not None, "open_panel makes sure of it"
    names, found = panel.classes.foreground, {}
    for participant, one in zip(panel.names, panel.segmentations, strict=True):
        labels = tuple(replace(image, voxel_size_nm=panel.voxel_size_nm) for image in one.drawn)
        classes = ClassMap(labels, panel.classes, panel.voxel_size_nm, one.valid)
        grid = Grid.of(classes, panel.inside)
        with progress.task(f"Surfaces of {participant}", len(grid.blocks) * (len(names) + 1), unit="blocks") as task:
            meshes = class_meshes(classes, _inside(classes, panel.inside), grid, advance=task.advance)
        amounts = agreement.alone[participant]
        shares = amounts.voxels / max(1, amounts.labelled)
        found[participant] = meshes, {name: float(shares[panel.classes.names.index(name)]) for name in names}
    return draw_side_by_side(found, {name: panel.classes.color_of(name) for name in names})


def _inside(classes: ClassMap, masks: Sequence[Image]) -> CellMap:
    """All that is not background where none of the masks is 0."""
    cells = cells_of_classes(classes)

    def read(box: Box) -> np.ndarray:
        kept: np.ndarray = np.logical_and.reduce([cells.read(box) != 0, *(mask.read(box) != 0 for mask in masks)])
        return kept.astype(np.uint32)

    return CellMap(read, f"{cells.rule}, inside what is compared")
