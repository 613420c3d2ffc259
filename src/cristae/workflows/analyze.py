"""Measure organelles: shares of the cell, numbers, sizes, surfaces and distances, with bounded memory."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cristae.analysis.cells import CellMap, cells_near, cells_of_classes, cells_of_mask
from cristae.analysis.census import Census, numbers_in, take_census
from cristae.analysis.class_map import ClassMap
from cristae.analysis.config import AnalysisOptions
from cristae.analysis.measurement import Grid, MeasuredMap, measure_class
from cristae.analysis.mesh_files import write_mesh
from cristae.analysis.render import Rendering
from cristae.analysis.result import Analysis, collect
from cristae.analysis.surfaces import CELLS, class_meshes, draw
from cristae.analysis.tables import (
    CLASS_COLUMNS,
    OBJECT_COLUMNS,
    csv_text,
    null_if_nan,
)
from cristae.data.classes import Classes
from cristae.data.files import require_new, storage_errors, write_json, write_together
from cristae.data.formats import open_image
from cristae.data.geometry import Geometry, common_size
from cristae.data.image import Image
from cristae.errors import ScoreError, VoxelSizeError
from cristae.evaluation.segmentation import Meaning, Segmentation, SegmentationSource, open_segmentation
from cristae.progress import Progress
from cristae.report.analysis_page import analysis_page

if TYPE_CHECKING:
    from cristae.recipe.recipe import Recipe

OBJECTS = "objects.zarr"
"""Folder of the label images of object numbers, one for each class under `labels/`."""
_GROUP = {"zarr_format": 3, "node_type": "group", "attributes": {}}


def analyze(
    prediction: SegmentationSource,
    options: AnalysisOptions = AnalysisOptions(),
    *,
    recipe: Recipe | None = None,
    classes: Classes | None = None,
    cell: Image | str | Path | None = None,
    cell_from: Image | str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress = Progress(),
) -> Analysis:
    """Measure the organelles of a prediction, or of labels in any format.

    Args:
        prediction: A prediction, its path, or a label file; a volume with labels, or an image of class ids in memory.
        options: What to measure, and how.
        recipe: The meaning of the values of a label file.
        classes: The meaning of class ids that are not a prediction's.
        cell: A mask whose values other than 0 are the numbers of cells; None takes all voxels that are not background
            as one cell.
        cell_from: Instead, a mask of the cells from elsewhere: voxels that are not background inside it or within
            `options.margin_nm` are the cell.
        out: The folder to write; None writes nothing.
        progress: Where to show progress.

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
    if cell is not None and cell_from is not None:
        raise ScoreError("a mask of the cell and a cell from elsewhere say different things; give one of them")
    if out is not None:
        require_new(Path(out), what="the analysis")
    opened = open_segmentation(prediction, Meaning(classes, recipe, options.binarize), progress=progress)
    given = [opened.fit(_image(mask)) for mask in (cell, cell_from) if mask is not None]
    measured = _class_map(opened, given, options, progress)
    measured.check_names(options.split, "split")
    measured.check_names([] if options.membrane is None else [options.membrane], "membrane")
    grid = Grid.of(measured, given)
    cells, expected = _cells(measured, cell, cell_from, given, grid, options)
    with _folder(None if out is None else Path(out)) as folder:
        with progress.task("Counting voxels", len(grid.blocks), unit="blocks") as task:
            census = take_census(measured, cells, grid.blocks, expected=expected, advance=task.advance)
        _check_cells(census, given)
        place, keep = folder / OBJECTS / "labels", options.keep_objects
        measurements = [
            measure_class(
                name, MeasuredMap(measured, cells, census, grid), place, options, keep_map=keep, progress=progress
            )
            for name in measured.classes.foreground
        ]
        path = None if out is None else Path(out)
        result = collect(opened.path, measured, cells, census, measurements, options, path)
        _warn(result, opened, cell is None and cell_from is None, progress)
        if out is not None:
            if options.keep_objects:
                write_json(folder / OBJECTS / "zarr.json", _GROUP)
            else:
                shutil.rmtree(folder / OBJECTS)
            pictures = _write_meshes(measured, cells, census, grid, folder, progress) if options.meshes else []
            _write(result, opened, folder, pictures)
    return result


def _class_map(opened: Segmentation, masks: Sequence[Image], options: AnalysisOptions, progress: Progress) -> ClassMap:
    """What is measured: labels whose voxels have a size, which masks of the same shape have too."""
    if options.binarize is not None and len(opened.classes.foreground) != 1:
        raise ScoreError(
            f"{opened.path}: a probability map at a threshold is of one class, but the recipe has "
            f"{', '.join(opened.classes.foreground)}; leave --binarize out for labels"
        )
    places = [opened.geometry(""), *(Geometry.of(mask, "the mask") for mask in masks if mask.shape == opened.shape)]
    size = common_size(places, options.voxel_size_nm, progress)
    if size is None:
        raise VoxelSizeError(
            f"{opened.path}: the voxel size is not known, but volumes and distances need it; give it with "
            "--voxel-size-nm Z Y X"
        )
    labels = tuple(replace(label, voxel_size_nm=size) for label in opened.drawn)
    return ClassMap(labels, opened.classes, size, opened.valid)


def _image(mask: Image | str | Path) -> Image:
    return mask if isinstance(mask, Image) else open_image(mask)


def _cells(
    classes: ClassMap,
    cell: object,
    cell_from: object,
    given: Sequence[Image],
    grid: Grid,
    settings: AnalysisOptions,
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


def _warn(result: Analysis, opened: Segmentation, whole: bool, progress: Progress) -> None:
    """Warn of what a reader of the numbers should know."""
    if whole and len(opened.classes.foreground) == 1:
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


def _write(result: Analysis, opened: Segmentation, folder: Path, pictures: Sequence[Rendering]) -> None:
    classes, objects = [row.as_row() for row in result.classes], [row.as_row() for row in result.objects]
    known = opened.classes
    page = analysis_page(
        opened.volume,
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
