"""What an analysis found: sizes of cells, classes and objects, with the settings and rules they were measured by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cristae.analysis.cells import CellMap
from cristae.analysis.census import Census
from cristae.analysis.class_map import ClassMap
from cristae.analysis.config import AnalysisOptions
from cristae.analysis.measurement import ClassMeasurement
from cristae.analysis.sizes import cell_sizes
from cristae.analysis.tables import CellSize, ClassSize, ObjectSize, null_if_nan
from cristae.data.address import Place
from cristae.errors import ScoreError

_RULES = {
    "fraction_of_cell": "voxels of the class inside the cell / voxels of the cell, all its organelles included",
    "objects": "connected voxels of one class inside one cell; numbers count through all cells",
    "surface_um2": "Crofton's formula in 13 directions; objects end at the edge of the volume. Balls come out "
    "within 1 %, long objects within 7 %, flat faces along the axes 7 % (cubic voxels) to 23 % (five times as high as "
    "wide) too small. Of a class: without the faces at which its objects touch",
    "z0 to x1": "the box around an object in voxels of the map, stops exclusive",
    "z_nm, y_nm, x_nm": "mean of the middles of the voxels, moved by the origin of the file",
    "touches_border": "the object reaches the edge of the volume (in a single slice: its y and x edges)",
    "distance_to_membrane_nm": "from the object's nearest voxel to the nearest surface voxel of the membrane, between "
    "their middles; 0 where they share voxels",
    "centroid_to_membrane_nm": "from the centroid to the middle of the nearest surface voxel of the membrane",
}
_NOT_MEASURED = ("keep_objects", "meshes", "voxel_size_nm")
"""Options that decide what is written, or that stand in the document already."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """What was measured."""

    cells: tuple[CellSize, ...]
    classes: tuple[ClassSize, ...]
    """Each class in each cell."""
    objects: tuple[ObjectSize, ...]
    about: dict[str, Any]
    """What was measured with which settings and rules, as in `analysis.json`."""
    path: Path | None
    """The folder with the tables; None when they were not written."""

    def as_json(self) -> dict[str, Any]:
        """Everything that JSON can hold; undefined values are null."""
        tables = {"classes": [row.as_row() for row in self.classes], "objects": [row.as_row() for row in self.objects]}
        plain: dict[str, Any] = null_if_nan(self.about | tables)
        return plain

    def fraction(self, *names: str, cell: int | None = None) -> float:
        """The share of the cell that classes have together; NaN for a cell without voxels.

        Args:
            names: The classes.
            cell: Which cell; None where there is only one.
        """
        numbers = [one.cell for one in self.cells]
        if cell is None and len(numbers) != 1:
            raise ScoreError(f"there are {len(numbers)} cells; name one of {numbers} with `cell`")
        number = numbers[0] if cell is None else cell
        shares = {one.class_name: one.fraction_of_cell for one in self.classes if one.cell == number}
        if missing := [name for name in names if name not in shares]:
            raise ScoreError(f"cell {number}: class {', '.join(missing)} was not measured")
        return sum(shares[name] for name in names)


def collect(
    source: Place,
    measured: ClassMap,
    cells: CellMap,
    census: Census,
    measurements: Sequence[ClassMeasurement],
    settings: AnalysisOptions,
    path: Path | None,
) -> Analysis:
    """Put the measurements of all classes together.

    Args:
        source: Where the map was opened.
        measured: What was measured.
        cells: The cells and the rule they were found by.
        census: Voxels of classes and cells.
        measurements: One for each foreground class, in their order.
        settings: How it was measured.
        path: The folder that the tables go to.
    """
    sizes = cell_sizes(measured, census)
    by_class = list(zip(measured.classes.foreground, measurements, strict=True))
    depth = settings.split_depth_nm or max(measured.voxel_size_nm)
    about = {
        "kind": "analysis",
        "cristae": version("cristae"),
        "source": str(source),
        "shape": list(measured.shape),
        "voxel_size_nm": list(measured.voxel_size_nm),
        "origin_nm": list(measured.origin_nm),
        "settings": settings.model_dump(mode="json", exclude=set(_NOT_MEASURED))
        | {"split_depth_nm": depth if settings.split else None},
        "rules": {
            **_RULES,
            "cell": cells.rule,
            "membrane": settings.membrane or "surface of the object's own cell, the edge of the volume left out",
        },
        "cells": [asdict(one) for one in sizes],
        "cut": {name: one.cut for name, one in by_class if name in settings.split},
        "too_large_to_cut": {name: list(one.too_large_to_cut) for name, one in by_class if one.too_large_to_cut},
    }
    rows = sorted((row for one in measurements for row in one.classes), key=lambda row: row.cell)
    return Analysis(sizes, tuple(rows), tuple(row for one in measurements for row in one.objects), about, path)
