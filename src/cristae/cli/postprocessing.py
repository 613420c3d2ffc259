"""The verb that changes labels after their prediction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cristae.cli.options import Json, VoxelSize, print_json

if TYPE_CHECKING:
    from cristae.workflows.postprocess import PostProcessed


def postprocess(
    labels: Annotated[str, typer.Argument(metavar="LABELS", help="A prediction, or labels in any format.")],
    steps: Annotated[
        Path,
        typer.Option("--steps", metavar="STEPS.yaml", help="A list of steps, as predict.postprocess of a recipe."),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="OUT", help="The file to write; .zarr, .tif, .mrc or .h5 is the format."),
    ],
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="R", help="Recipe that maps label values to classes.")
    ] = None,
    voxel_size_nm: VoxelSize = None,
    max_ram: Annotated[
        str | None,
        typer.Option(
            "--max-ram",
            metavar="SIZE",
            help="Ceiling for the memory of the whole process, such as 2GiB; by default half of what is free.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Clean up labels: small objects, holes, instances. After a kill the same command continues."""
    from cristae.cli.progress import console_progress
    from cristae.recipe.load import load_recipe, load_steps

    listed = load_steps(steps)
    from cristae.workflows.postprocess import postprocess as work

    done = work(
        labels,
        listed,
        out=out,
        recipe=None if recipe is None else load_recipe(recipe),
        voxel_size_nm=voxel_size_nm,
        max_ram=max_ram,
        progress=console_progress(),
    )
    if as_json:
        print_json(done.as_json())
    else:
        print(postprocessing_text(done), end="")


def postprocessing_text(done: PostProcessed) -> str:
    """What each step changed, as a table for a terminal, and where the results are."""
    lines = [f"{'step':20}{'class':24}{'objects':>10}{'gained':>14}{'lost':>14}{'instances':>11}"]
    for one in done.changes:
        objects, instances = ("-" if value is None else str(value) for value in (one.objects, one.instances))
        lines.append(f"{one.step:20}{one.class_name:24}{objects:>10}{one.gained:14}{one.lost:14}{instances:>11}")
        if one.left_whole:
            lines.append(f"{'':20}{one.left_whole} objects were left whole: their boxes are too large to be cut")
    return "\n".join([*lines, str(done.path), *map(str, done.instances.values())]) + "\n"
