"""The rows of an analysis, and the text of its files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

CLASS_COLUMNS = (
    "cell",
    "class",
    "voxels",
    "volume_um3",
    "fraction_of_cell",
    "objects",
    "median_volume_um3",
    "mean_volume_um3",
    "surface_um2",
)
OBJECT_COLUMNS = (
    "cell",
    "class",
    "object",
    "voxels",
    "volume_um3",
    "surface_um2",
    "equivalent_diameter_nm",
    "z_nm",
    "y_nm",
    "x_nm",
    "z0",
    "y0",
    "x0",
    "z1",
    "y1",
    "x1",
    "touches_border",
    "distance_to_membrane_nm",
    "centroid_to_membrane_nm",
)


@dataclass(frozen=True)
class CellSize:
    """One cell."""

    cell: int
    """Its number in the mask; 1 where the whole map is one cell."""
    voxels: int
    volume_um3: float


@dataclass(frozen=True)
class ClassSize:
    """One class in one cell."""

    cell: int
    class_name: str
    """The column is called `class`."""
    voxels: int
    volume_um3: float
    fraction_of_cell: float
    """Fraction of the cell's voxels; NaN for a cell without any."""
    objects: int
    """How many are listed, without those that are too small."""
    median_volume_um3: float
    """Of the objects; NaN when there are none."""
    mean_volume_um3: float
    surface_um2: float
    """Of the class as a whole: where objects touch there is no surface."""

    def as_row(self) -> dict[str, Any]:
        """The columns of the table by name."""
        return _row(self, CLASS_COLUMNS)


@dataclass(frozen=True)
class ObjectSize:
    """One object."""

    cell: int
    class_name: str
    """The column is called `class`."""
    object: int
    """Its number among all objects of the class."""
    voxels: int
    volume_um3: float
    surface_um2: float
    equivalent_diameter_nm: float
    """Of the ball of this volume."""
    z_nm: float
    """Centroid, counted from the middle of voxel (0, 0, 0) and moved by the file's origin."""
    y_nm: float
    x_nm: float
    z0: int
    """The box around it in voxels, stops exclusive."""
    y0: int
    x0: int
    z1: int
    y1: int
    x1: int
    touches_border: bool
    """Whether it reaches the edge of the volume, so that a part of it may be missing."""
    distance_to_membrane_nm: float
    """From its nearest voxel."""
    centroid_to_membrane_nm: float

    def as_row(self) -> dict[str, Any]:
        """The columns of the table by name."""
        return _row(self, OBJECT_COLUMNS)


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A table as CSV: twelve digits; undefined values read `nan`, truth values `true` and `false`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell_text(row[column]) for column in columns] for row in rows)
    return buffer.getvalue()


def null_if_nan(value: Any) -> Any:
    """The same value for JSON, which has no NaN."""
    if isinstance(value, Mapping):
        return {key: null_if_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [null_if_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell_text(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value).lower() if isinstance(value, bool) else value


def _row(size: ClassSize | ObjectSize, columns: Sequence[str]) -> dict[str, Any]:
    names = (field.name for field in fields(size))
    return {column: getattr(size, name) for column, name in zip(columns, names, strict=True)}
