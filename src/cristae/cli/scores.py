"""Verbs that judge and show: scores and pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cristae.cli.options import Json

if TYPE_CHECKING:
    from cristae.metrics.score import Score


def evaluate(
    truth: Annotated[str, typer.Option("--truth", metavar="T", help="Labels: file, slice folder or glob.")],
    prediction: Annotated[
        str | None, typer.Option("--prediction", metavar="P", help="A prediction, or a label volume.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", metavar="FOLDER", help="One sub-folder for each method.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="R", help="The recipe that says what label values mean.")
    ] = None,
    binarize: Annotated[
        float | None, typer.Option("--binarize", metavar="T", help="Grey truth: foreground where value/255 > T.")
    ] = None,
    mask: Annotated[Path | None, typer.Option("--mask", metavar="M", help="Judge only where this is not 0.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="scores.csv", help="Write the scores here.")] = None,
    as_json: Json = False,
) -> None:
    """Compare a prediction with the truth and print all scores. Both are read block by block."""
    from cristae.cli.progress import console_progress
    from cristae.metrics.score import scores_json
    from cristae.recipe.load import load_recipe
    from cristae.workflows.evaluate import evaluate_folders, evaluate_paths

    if (prediction is None) == (predictions is None):
        raise typer.BadParameter("give either --prediction or --predictions")
    known = None if recipe is None else load_recipe(recipe)
    progress = console_progress()
    if prediction is not None:
        scores = evaluate_paths(
            truth, prediction, recipe=known, binarize=binarize, mask=mask, out=out, progress=progress
        )
    else:
        scores = evaluate_folders(
            truth, str(predictions), recipe=known, binarize=binarize, mask=mask, out=out, progress=progress
        )
    print(scores_json(scores) if as_json else scores_text(scores), end="")


def report(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A run folder, a prediction, or scores (.csv).")],
    out: Annotated[Path | None, typer.Option("--out", metavar="HTML", help="The page to write.")] = None,
) -> None:
    """Write an HTML page about a run, a prediction or scores. The page is one file that needs no other."""
    from cristae.workflows.report import report as write

    print(write(path, out=out))


def scores_text(scores: Sequence[Score]) -> str:
    """Scores as tables for a terminal: classes in rows, metrics in columns, means below."""
    from cristae.metrics.table import METRICS

    metrics = [metric.name for metric in METRICS]
    lines: list[str] = []
    for run, volume in dict.fromkeys((score.run, score.volume) for score in scores):
        own = [score for score in scores if (score.run, score.volume) == (run, volume)]
        lines += [f"{run}: {volume}" if run else volume]
        for title, part in (("pooled over voxels", "pooled"), ("mean over slices", "mean over slices")):
            cells = {(score.class_name, score.metric): score.value for score in own if part in score.rule}
            lines += ["", f"  {title:30}" + "".join(f"{metric:>12}" for metric in metrics)]
            for name in dict.fromkeys(name for name, metric in cells if metric == metrics[0]):
                lines.append(f"  {name:30}" + "".join(f"{cells[name, metric]:12.4f}" for metric in metrics))
        lines += [""]
        means = [score for score in own if score.metric not in metrics]
        lines += [f"  {score.metric:17}{score.value:8.4f}  {score.class_name}: {score.rule}" for score in means]
        lines += [""]
    return "\n".join(lines)
