"""Verbs that evaluate and show: scores and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cristae.cli.options import Cluster, Json, Scheduler, VoxelSize, Workers

if TYPE_CHECKING:
    from cristae.metrics.score import Score
    from cristae.recipe.study import Study


def evaluate(
    truth: Annotated[
        str,
        typer.Option("--truth", metavar="T", help="Labels: file, folder, glob, or volume of --recipe."),
    ],
    prediction: Annotated[
        str | None, typer.Option("--prediction", metavar="P", help="A prediction, labels, or a probability map.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", metavar="FOLDER", help="One sub-folder for each method.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="R", help="Recipe that maps label values to classes.")
    ] = None,
    binarize: Annotated[
        float | None,
        typer.Option(
            "--binarize",
            metavar="T",
            help="Probability maps: foreground where value/255 > T (also the truth, without --recipe).",
        ),
    ] = None,
    objects: Annotated[bool, typer.Option("--objects", help="Both hold object ids: compare objects.")] = False,
    merge: Annotated[
        list[str] | None, typer.Option("--merge", metavar="NAME=A+B", help="Merge classes; may be repeated.")
    ] = None,
    over: Annotated[
        str, typer.Option("--over", metavar="CLASS,CLASS", help="Classes to take a mean IoU of their own over.")
    ] = "",
    box: Annotated[
        str | None, typer.Option("--box", metavar="Z0:Z1,Y0:Y1,X0:X1", help="Score only this box of voxels.")
    ] = None,
    mask: Annotated[Path | None, typer.Option("--mask", metavar="M", help="Score only where this is not 0.")] = None,
    scores: Annotated[
        str | None,
        typer.Option(
            "--scores",
            metavar="A,B",
            help="Only these families: overlap, ranking, partition, detection, instances, surfaces, centrelines.",
        ),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            "--unit", metavar="U", help="Intervals over independent units: volume, slice, or slab:500nm of slices."
        ),
    ] = None,
    thresholds_from: Annotated[
        Path | None,
        typer.Option("--thresholds-from", metavar="SCORES", help="Also use the thresholds that were best there."),
    ] = None,
    tolerance_nm: Annotated[
        float | None, typer.Option("--tolerance-nm", metavar="D", help="Distance at which surfaces still agree.")
    ] = None,
    voxel_size_nm: VoxelSize = None,
    slices_apart: Annotated[
        bool, typer.Option("--slices-apart", help="Slices are unrelated images: score nothing in 3D.")
    ] = False,
    complement: Annotated[
        bool, typer.Option("--complement", help="Also score the background as the positive class.")
    ] = False,
    border: Annotated[
        list[str] | None,
        typer.Option(
            "--border",
            metavar="NAME",
            help="This class separates objects: score the regions between. May be repeated; `none` for no class.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="scores.csv", help="Write the scores here.")] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    cluster: Cluster = None,
    as_json: Json = False,
) -> None:
    """Compare predictions with the truth and print all scores. Both are read block by block."""
    from cristae.cli.progress import console_progress
    from cristae.cluster.options import ClusterOptions
    from cristae.evaluation.scoring.evaluation import predictions_in
    from cristae.evaluation.scoring.settings import ScoreOptions, parse_borders, parse_families, parse_merge
    from cristae.metrics.score import scores_json
    from cristae.recipe.load import load_recipe
    from cristae.workflows.evaluate import evaluate as score

    if (not prediction) == (predictions is None):
        raise typer.BadParameter("give either --prediction or --predictions")
    found = score(
        prediction or predictions_in(predictions or Path(), truth),
        truth,
        recipe=None if recipe is None else load_recipe(recipe),
        mask=mask,
        out=out,
        options=ScoreOptions(
            binarize=binarize,
            objects=objects,
            merge=parse_merge(merge or ()),
            over=tuple(name.strip() for name in over.split(",") if name.strip()),
            box=box,
            scores=parse_families(scores),
            unit=unit,
            thresholds_from=thresholds_from,
            tolerance_nm=tolerance_nm,
            voxel_size_nm=voxel_size_nm,
            slices_apart=slices_apart,
            complement=complement,
            borders=parse_borders(border or ()),
        ),
        cluster=ClusterOptions(workers, scheduler, cluster),
        progress=console_progress(),
    )
    print(scores_json(found) if as_json else scores_text(found), end="")


def report(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A run, study or benchmark folder, a prediction, or scores (.csv).")
    ],
    out: Annotated[Path | None, typer.Option("--out", metavar="HTML", help="The page to write.")] = None,
) -> None:
    """Write the HTML page of what a folder holds. Of a run, study, benchmark, prediction or table of scores."""
    from cristae.workflows.report import report as write

    print(write(path, out=out))


def scores_text(scores: Sequence[Score]) -> str:
    """Scores as tables for a terminal: all of one run, or the best known ones of several runs side by side."""
    runs = list(dict.fromkeys(score.run for score in scores))
    return all_scores_text(scores) if len(runs) == 1 else _side_by_side(scores, runs)


def mean_scores_text(study: Study) -> str:
    """A short table of the mean scores of a study that is trained, with intervals where there are some."""
    from cristae.metrics.score import read_scores
    from cristae.metrics.table import COMPARED
    from cristae.recipe.study import MEAN, SCORES

    rows = [row for row in read_scores(study.path / SCORES) if row.run == MEAN and row.metric in COMPARED]
    scored = ("tested " if study.nested else "validated ") if study.plan else ""
    title = f"mean of {max(row.n for row in rows)} {f'{scored}folds' if study.plan else 'instances'}"
    return all_scores_text([replace(row, run="", volume=title) for row in rows])


def all_scores_text(scores: Sequence[Score]) -> str:
    """Metrics in rows and classes in columns, a table for each run and volume."""
    lines: list[str] = []
    for run, volume in dict.fromkeys((score.run, score.volume) for score in scores):
        own = [score for score in scores if (score.run, score.volume) == (run, volume)]
        names = list(dict.fromkeys(score.class_name for score in own))
        cells = {(score.metric, score.class_name): _cell(score) for score in own}
        header = [f"{run}: {volume}" if run else volume, *names]
        rows = [
            [f"  {metric}", *(cells.get((metric, name), "") for name in names)]
            for metric in dict.fromkeys(score.metric for score in own)
        ]
        lines += [*_aligned([header, *rows]), ""]
    return "\n".join(lines)


def _side_by_side(scores: Sequence[Score], runs: Sequence[str]) -> str:
    """Runs in rows and the scores that tables in papers have in columns, a table for each volume and class."""
    from cristae.metrics.table import COMPARED

    lines: list[str] = []
    for volume, name in dict.fromkeys((score.volume, score.class_name) for score in scores):
        cells = {(s.run, s.metric): _cell(s) for s in scores if (s.volume, s.class_name) == (volume, name)}
        columns = [metric for metric in COMPARED if any((run, metric) in cells for run in runs)]
        rows = [[f"  {run}", *(cells.get((run, metric), "") for metric in columns)] for run in runs]
        lines += [*_aligned([[f"{volume}: {name}", *columns], *rows]), ""] if columns else []
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right."""
    widths = [max(len(row[place]) for row in rows) + 2 for place in range(len(rows[0]))]
    return [
        row[0].ljust(widths[0]) + "".join(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)) for row in rows
    ]


def _cell(score: Score) -> str:
    """Five decimals of ratios; counts and lengths as they are; the interval behind where there is one."""
    value = f"{score.value:.5f}" if score.unit == "ratio" else f"{score.value:.6g}"
    if score.low is not None and score.high is not None:
        value += f" [{score.low:.4f}, {score.high:.4f}]"
    return value
