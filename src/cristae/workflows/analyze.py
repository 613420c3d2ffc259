"""Measure organelles: shares of the cell, numbers, sizes, surfaces and distances, with bounded memory."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cristae.analysis.cells import CellMap, cells_near, cells_of_classes, cells_of_mask
from cristae.analysis.census import Census, numbers_in, take_census
from cristae.analysis.class_map import ClassMap, block_shape, cut
from cristae.analysis.config import AnalysisConfig
from cristae.analysis.measurement import ClassMeasurement, Grid, MeasuredMap, measure_class
from cristae.analysis.mesh_files import write_mesh
from cristae.analysis.object_map import chunk_of
from cristae.analysis.render import Rendering
from cristae.analysis.sizes import cell_sizes
from cristae.analysis.surfaces import CELLS, class_meshes, draw
from cristae.analysis.tables import (
    CLASS_COLUMNS,
    OBJECT_COLUMNS,
    CellSize,
    ClassSize,
    ObjectSize,
    csv_text,
    null_if_nan,
)
from cristae.data.classes import Classes
from cristae.data.files import require_new, storage_errors, write_json, write_together
from cristae.data.image import Image, VoxelSize
from cristae.errors import ScoreError
from cristae.evaluation.class_maps import OpenedMap, open_map
from cristae.inference.prediction import Prediction
from cristae.progress import Progress
from cristae.report.analysis_page import analysis_page

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe

OBJECTS = "objects.zarr"
"""Folder of the label images of object numbers, one for each class under `labels/`."""
_GROUP = {"zarr_format": 3, "node_type": "group", "attributes": {}}
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
            raise ScoreError(f"cell {number}: nothing is known of class {', '.join(missing)}")
        return sum(shares[name] for name in names)


def analyze(
    prediction: Prediction | Image | str | Path,
    config: AnalysisConfig | None = None,
    *,
    classes: Classes | None = None,
    recipe: Recipe | None = None,
    cell: Image | str | Path | None = None,
    cell_from: Image | str | Path | None = None,
    voxel_size_nm: VoxelSize | None = None,
    keep_objects: bool = False,
    meshes: bool = False,
    out: str | Path | None = None,
    progress: Progress = Progress(),
) -> Analysis:
    """Measure the organelles of a prediction, or of labels in any format.

    Args:
        prediction: A prediction, its path, or a label file; an image of class ids in memory.
        config: What to measure, and how.
        classes: The meaning of an image of class ids that is not a prediction.
        recipe: The meaning of the values of a label file.
        cell: A mask whose values other than 0 are the numbers of cells; None takes all voxels that are not background
            as one cell.
        cell_from: Instead, a mask of the cells from elsewhere: voxels that are not background inside it or within
            `config.margin_nm` are the cell.
        voxel_size_nm: (z, y, x), where the file does not say it.
        keep_objects: Also write a label image of the object numbers of each class.
        meshes: Also write the surface of each class, and show it on the page.
        out: The folder to write; None writes nothing.
        progress: Where to show how far it is.

    Returns:
        Sizes of cells, classes and objects.

    Raises:
        ScoreError: It is not said what the values mean, or a mask has another shape or is empty.
        LabelError: A class is named that there is not.
        VoxelSizeError: The voxel size is not known.
        RunError: The prediction is not finished.
        OutputExistsError: There is something at `out`.
        CristaeError: A file is missing or damaged.

    Example:
        >>> sizes = analyze("cell.zarr", cell="mask.tif", out="sizes")  # doctest: +SKIP
        >>> sizes.fraction("mitochondria", "granule")  # doctest: +SKIP
        0.4
    """
    settings = config or AnalysisConfig()
    if cell is not None and cell_from is not None:
        raise ScoreError("a mask of the cell and a cell from elsewhere say different things; give one of them")
    if out is not None:
        require_new(Path(out), what="the analysis")
    opened = open_map(prediction, classes=classes, recipe=recipe, voxel_size_nm=voxel_size_nm, progress=progress)
    opened.map.check_names(settings.split, "split")
    opened.map.check_names([] if settings.membrane is None else [settings.membrane], "membrane")
    given = [opened.fit(mask) for mask in (cell, cell_from) if mask is not None]
    grid = _grid(opened.map, given)
    cells, expected = _cells(opened.map, cell, cell_from, given, grid, settings)
    with _folder(None if out is None else Path(out)) as folder:
        with progress.task("Counting voxels", len(grid.blocks), unit="blocks") as task:
            census = take_census(opened.map, cells, grid.blocks, expected=expected, advance=task.advance)
        _check_cells(census, given)
        measured = MeasuredMap(opened.map, cells, census, grid)
        measurements = [
            measure_class(
                name, measured, folder / OBJECTS / "labels", settings, keep_map=keep_objects, progress=progress
            )
            for name in opened.map.classes.foreground
        ]
        result = _result(opened, cells, census, measurements, settings, None if out is None else Path(out))
        _tell(result, opened, cell is None and cell_from is None, progress)
        if out is not None:
            if keep_objects:
                write_json(folder / OBJECTS / "zarr.json", _GROUP)
            else:
                shutil.rmtree(folder / OBJECTS)
            pictures = _write_meshes(opened.map, cells, census, grid, folder, progress) if meshes else []
            _write(result, opened, folder, pictures)
    return result


def _grid(classes: ClassMap, masks: Sequence[Image]) -> Grid:
    images = [*classes.labels, *masks]
    if any(image.shape != classes.shape for image in images):
        images = list(classes.labels)  # what does not fit is told when it is read
    edges = block_shape(images, multiple=chunk_of(classes.shape))
    return Grid(edges, tuple(cut(classes.shape, edges)))


def _cells(
    classes: ClassMap,
    cell: object,
    cell_from: object,
    given: Sequence[Image],
    grid: Grid,
    settings: AnalysisConfig,
) -> tuple[CellMap, tuple[int, ...]]:
    """The cells, and the numbers that have rows whatever is found."""
    if cell is not None:
        return cells_of_mask(given[0], classes), ()
    if cell_from is not None:
        near = cells_near(given[0], classes, settings.margin_nm)
        known = numbers_in(cells_of_mask(given[0], classes).read, grid.blocks)
        if not known:
            raise ScoreError(f"{given[0].path}: the mask of the cell is empty: it is 0 everywhere")
        return near, known
    return cells_of_classes(classes), (1,)


def _check_cells(census: Census, given: Sequence[Image]) -> None:
    if not census.cells:
        raise ScoreError(
            f"{given[0].path}: the mask of the cell is empty: it is 0 everywhere, or only where nothing was annotated"
        )


def _result(
    opened: OpenedMap,
    cells: CellMap,
    census: Census,
    measurements: Sequence[ClassMeasurement],
    settings: AnalysisConfig,
    path: Path | None,
) -> Analysis:
    sizes = cell_sizes(opened.map, census)
    found = list(zip(opened.map.classes.foreground, measurements, strict=True))
    depth = settings.split_depth_nm or max(opened.map.voxel_size_nm)
    about = {
        "kind": "analysis",
        "cristae": version("cristae"),
        "source": str(opened.path),
        "shape": list(opened.map.shape),
        "voxel_size_nm": list(opened.map.voxel_size_nm),
        "origin_nm": list(opened.map.origin_nm),
        "settings": settings.model_dump(mode="json") | {"split_depth_nm": depth if settings.split else None},
        "rules": {
            **_RULES,
            "cell": cells.rule,
            "membrane": settings.membrane or "surface of the object's own cell, the edge of the volume left out",
        },
        "cells": [asdict(one) for one in sizes],
        "cut": {name: one.cut for name, one in found if name in settings.split},
        "too_large_to_cut": {name: list(one.too_large_to_cut) for name, one in found if one.too_large_to_cut},
    }
    rows = sorted((row for one in measurements for row in one.classes), key=lambda row: row.cell)
    return Analysis(sizes, tuple(rows), tuple(row for one in measurements for row in one.objects), about, path)


def _tell(result: Analysis, opened: OpenedMap, whole: bool, progress: Progress) -> None:
    """Say what a reader of the numbers should know."""
    if whole and len(opened.map.classes.foreground) == 1:
        progress.warn(
            f"{opened.path}: without a mask the cell is all that is not background, and there is one class: its share "
            "of the cell is 1. Give the cell with --cell"
        )
    for name, numbers in result.about["too_large_to_cut"].items():
        progress.warn(
            f"class '{name}': {len(numbers)} objects are too large to be cut in memory and stay whole: "
            f"{', '.join(map(str, numbers[:5]))}{' ...' if len(numbers) > 5 else ''}"
        )
    for one in result.cells:
        if one.voxels == 0:
            progress.warn(f"cell {one.cell} has no voxels; its shares are not defined")


def _write_meshes(
    classes: ClassMap, cells: CellMap, census: Census, grid: Grid, folder: Path, progress: Progress
) -> list[Rendering]:
    """Surfaces as files, and pictures of them."""
    names = classes.classes.foreground
    with progress.task("Making surfaces", len(grid.blocks) * (len(names) + 1), unit="blocks") as task:
        meshes = class_meshes(classes, cells, grid, advance=task.advance)
    for name, mesh in meshes.items():
        if len(mesh.faces):
            write_mesh(folder / "cells.ply" if name == CELLS else folder / "meshes" / f"{name}.ply", mesh)
    total = max(1, int(census.cell_voxels.sum()))
    shares = {name: float(voxels) / total for name, voxels in zip(names, census.class_voxels.sum(0), strict=True)}
    return draw(meshes, shares, {name: classes.classes.color_of(name) for name in names})


def _write(result: Analysis, opened: OpenedMap, folder: Path, pictures: Sequence[Rendering]) -> None:
    classes, objects = [row.as_row() for row in result.classes], [row.as_row() for row in result.objects]
    known = opened.map.classes
    page = analysis_page(
        opened.name,
        classes,
        objects,
        settings={key: value for key, value in result.about.items() if key not in ("kind", "rules", "cells")},
        rules=result.about["rules"],
        cells=result.about["cells"],
        views=pictures,
        colors={name: known.color_of(name) for name in known.foreground},
    )
    document = json.dumps(null_if_nan(result.about), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_together(
        {
            folder / "classes.csv": csv_text(classes, CLASS_COLUMNS).encode(),
            folder / "objects.csv": csv_text(objects, OBJECT_COLUMNS).encode(),
            folder / "analysis.json": document.encode(),
            folder / "report.html": page.encode(),
        }
    )


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """A place to work in: a hidden folder that becomes `out` at the end, or one that goes away."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="cristae-") as name:
            yield Path(name)
        return
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    made = [folder for folder in out.parents if not folder.exists()]
    try:
        with storage_errors(out):
            part.mkdir(parents=True)
            yield part
            require_new(out, what="the analysis")
            if out.is_dir():
                shutil.rmtree(out)  # it holds nothing but what killed writes left
            part.rename(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise
