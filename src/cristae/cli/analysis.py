"""The verb that measures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cristae.cli.options import Json, VoxelSize, print_json

if TYPE_CHECKING:
    from cristae.analysis.result import Analysis


def analyze(
    prediction: Annotated[str, typer.Argument(metavar="P", help="A prediction, or labels in any format.")],
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="R", help="Recipe that maps label values to classes.")
    ] = None,
    binarize: Annotated[
        float | None, typer.Option("--binarize", metavar="T", help="A probability map: foreground where value/255 > T.")
    ] = None,
    cell: Annotated[
        str | None, typer.Option("--cell", metavar="MASK", help="The cells: each value but 0 is the number of one.")
    ] = None,
    cell_from: Annotated[
        str | None,
        typer.Option("--cell-from", metavar="NEIGHBOUR", help="Mask of a known cell; measure only in and near it."),
    ] = None,
    margin_nm: Annotated[float, typer.Option("--margin-nm", help="Largest distance from NEIGHBOUR, in nm.")] = 200,
    membrane: Annotated[
        str | None,
        typer.Option("--membrane", metavar="CLASS", help="Measure distances to it, not to the cell's surface."),
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option("--split", metavar="CLASS", help="Cut objects of this class at their necks.")
    ] = None,
    split_depth_nm: Annotated[
        float | None,
        typer.Option("--split-depth-nm", help="How much thinner a neck must be; by default a voxel's longest edge."),
    ] = None,
    min_um3: Annotated[float, typer.Option("--min-um3", metavar="V", help="Leave out smaller objects.")] = 0.0,
    connectivity: Annotated[int, typer.Option("--connectivity", help="Neighbours that join voxels: 6, 18, 26.")] = 26,
    keep_objects: Annotated[
        bool, typer.Option("--keep-objects", help="Also write label images of the object numbers.")
    ] = False,
    meshes: Annotated[bool, typer.Option("--meshes", help="Also write the surface of each class (.ply).")] = False,
    voxel_size_nm: VoxelSize = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The folder to write.")] = None,
    as_json: Json = False,
) -> None:
    """Measure organelles: fractions, numbers, sizes, surfaces. Reads block by block."""
    from pydantic import ValidationError

    from cristae.analysis.config import AnalysisOptions
    from cristae.cli.progress import console_progress
    from cristae.recipe.load import load_recipe
    from cristae.workflows.analyze import analyze as work

    if out is None and (keep_objects or meshes):
        raise typer.BadParameter("--keep-objects and --meshes need a place to write to: give --out")
    try:
        config = AnalysisOptions.model_validate(
            {
                "binarize": binarize,
                "connectivity": connectivity,
                "min_um3": min_um3,
                "split": tuple(split or ()),
                "split_depth_nm": split_depth_nm,
                "membrane": membrane,
                "margin_nm": margin_nm,
                "voxel_size_nm": voxel_size_nm,
                "keep_objects": keep_objects,
                "meshes": meshes,
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0]).replace("_", "-")
        problem = first["msg"].replace("Input should", "must")
        raise typer.BadParameter(f"--{option}: {problem}, got {first['input']}") from None
    result = work(
        prediction,
        config,
        recipe=None if recipe is None else load_recipe(recipe),
        cell=cell,
        cell_from=cell_from,
        out=out,
        progress=console_progress(),
    )
    if as_json:
        print_json(result.as_json())
    else:
        print(analysis_text(result), end="")


def analysis_text(result: Analysis) -> str:
    """The sizes of classes as a table for a terminal."""
    header = f"{'class':24}{'voxels':>14}{'um3':>12}{'of cell':>10}{'objects':>9}{'median um3':>12}{'um2':>12}"
    lines = []
    for cell in result.cells:
        lines += [f"cell {cell.cell}: {cell.voxels} voxels, {cell.volume_um3:.6g} um3", "", f"  {header}"]
        for row in result.classes:
            if row.cell == cell.cell:
                lines.append(
                    f"  {row.class_name:24}{row.voxels:14}{row.volume_um3:12.5g}{row.fraction_of_cell:10.4f}"
                    f"{row.objects:9}{row.median_volume_um3:12.5g}{row.surface_um2:12.5g}"
                )
        lines.append("")
    if result.path is not None:
        lines.append(str(result.path))
    return "\n".join(lines) + "\n"
