"""The verb that estimates fractions, volumes and totals with intervals, and plans which slices to label for that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cristae.cli.options import Json, VoxelSize, print_json

if TYPE_CHECKING:
    from cristae.evaluation.estimate_options import Whole
    from cristae.evaluation.estimate_rows import EstimateRow, Estimation
    from cristae.metrics.uncertainty.designs import Design


def estimate(
    prediction: Annotated[
        list[str],
        typer.Argument(metavar="P...", help="Prediction or labels of a whole volume, one or several; or units.csv."),
    ],
    truth: Annotated[
        list[str] | None,
        typer.Option("--truth", metavar="T", help="Labels of some of its slices; once for each prediction."),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="R", help="Recipe that maps label values to classes.")
    ] = None,
    cell: Annotated[
        list[str] | None,
        typer.Option("--cell", metavar="MASK", help="Fractions of this (not 0); once for each prediction."),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run", metavar="RUN", help="Run, or folder of the runs, that made it; their training labels are left out."
        ),
    ] = None,
    of: Annotated[
        str | None, typer.Option("--of", metavar="WHOLE", help="Fractions of the volume, the cell or the foreground.")
    ] = None,
    design: Annotated[
        str | None,
        typer.Option("--design", metavar="D", help="How slices were chosen: random, systematic or stratified."),
    ] = None,
    slices: Annotated[
        str | None, typer.Option("--slices", metavar="3,17,40:60:10", help="Which slices are labelled.")
    ] = None,
    trained: Annotated[
        str | None, typer.Option("--trained", metavar="SLICES", help="Slices that the network has seen, or none.")
    ] = None,
    binarize: Annotated[
        float | None, typer.Option("--binarize", metavar="T", help="A probability map: foreground where value/255 > T.")
    ] = None,
    merge: Annotated[
        list[str] | None, typer.Option("--merge", metavar="NAME=A+B", help="Merge classes; may be repeated.")
    ] = None,
    half_width_percent: Annotated[
        float | None,
        typer.Option("--half-width-percent", metavar="W", help="How many more slices for fractions +- W points?"),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="BOX", help="A box labelled in 3D: estimate numbers and sizes of objects."),
    ] = None,
    guard_nm: Annotated[
        float, typer.Option("--guard-nm", metavar="D", help="How far around boxes objects are labelled, too.")
    ] = 0.0,
    min_um3: Annotated[float, typer.Option("--min-um3", metavar="V", help="Count no smaller objects.")] = 0.0,
    voxel_size_nm: VoxelSize = None,
    plan: Annotated[
        int | None, typer.Option("--plan", metavar="N", help="Only print N slices of P to label, chosen by chance.")
    ] = None,
    box_vox: Annotated[
        tuple[int, int, int] | None,
        typer.Option("--box-vox", metavar="Z Y X", help="Plan boxes of this size in voxels, not slices."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of --plan.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="estimates.csv", help="Write the estimates here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Estimate organelle fractions, with intervals. They come from labels of few slices and a prediction of all."""
    from cristae.cli.progress import console_progress
    from cristae.evaluation.estimate_options import EstimateOptions
    from cristae.evaluation.scoring.settings import parse_merge
    from cristae.recipe.load import load_recipe
    from cristae.workflows.estimate import estimate as work

    options = EstimateOptions(
        of=cast("Whole | None", of),
        design=cast("Design | None", design),
        slices=slices,
        trained=trained,
        binarize=binarize,
        merge=parse_merge(merge or ()),
        half_width_percent=half_width_percent,
        box=tuple(box or ()),
        guard_nm=guard_nm,
        min_um3=min_um3,
        voxel_size_nm=voxel_size_nm,
    )
    if plan is not None:
        if truth or len(prediction) != 1:
            raise typer.BadParameter("--plan is for one volume before it is labelled: give its path alone")
        if box_vox is not None:
            _print_boxes(prediction[0], plan, box_vox, seed, as_json)
        else:
            _print_plan(prediction[0], plan, options.design or "systematic", seed, as_json)
        return
    if box_vox is not None:
        raise typer.BadParameter("--box-vox is for --plan; labelled boxes are named by --box")
    found = work(
        prediction,
        truth or None,
        options,
        recipe=None if recipe is None else load_recipe(recipe),
        cell=cell or None,
        run=run or (),
        out=out,
        progress=console_progress(),
    )
    if as_json:
        print_json(found.as_json())
    else:
        print(estimation_text(found), end="")


def estimation_text(found: Estimation) -> str:
    """Estimates for a terminal: a table, then a line for each class."""
    keys = list(dict.fromkeys((row.class_name, row.quantity) for row in found.rows))
    header = f"{'':40}{'labels alone':>20}{'prediction alone':>20}{'corrected':>20}{'gain':>7}{'n':>6}"
    lines = [f"95 % intervals, unit {found.unit}", "", header]
    for name, quantity in keys:
        by: dict[str, EstimateRow] = {
            r.estimator: r for r in found.rows if (r.class_name, r.quantity) == (name, quantity)
        }
        cells = "".join(f"{_cell(by[which]):>20}" for which in ("labels", "prediction", "corrected"))
        best = by["corrected"]
        gain = "" if best.gain is None else f"{best.gain:.2f}"
        lines.append(f"{f'{name}: {quantity}':40}{cells}{gain:>7}{best.n:6}")
    lines += ["", *found.sentences, "", *found.notes]
    return "\n".join([*lines, *([] if found.path is None else ["", str(found.path)])]) + "\n"


def _cell(row: EstimateRow) -> str:
    from cristae.evaluation.estimate_rows import amount_text

    return amount_text(row)


def _print_plan(path: str, n: int, design: Design, seed: int, as_json: bool) -> None:
    from cristae.workflows.estimate import plan_slices

    chosen: Sequence[int] = plan_slices(path, n, design=design, seed=seed)
    document: dict[str, Any] = {"kind": "plan", "design": design, "seed": seed, "slices": list(chosen)}
    if as_json:
        print_json(document)
    else:
        print(",".join(map(str, chosen)))


def _print_boxes(path: str, n: int, box_vox: tuple[int, int, int], seed: int, as_json: bool) -> None:
    from cristae.workflows.estimate import plan_label_boxes

    chosen = [str(box) for box in plan_label_boxes(path, n, box_vox=box_vox, seed=seed)]
    if as_json:
        print_json({"kind": "plan", "design": "random", "seed": seed, "boxes": chosen})
    else:
        print("\n".join(chosen))
