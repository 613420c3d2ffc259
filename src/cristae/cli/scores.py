"""Verbs that judge and show: scores and pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cristae.cli.options import Json


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
    """Compare a prediction with the truth, block by block, and print all scores."""
    raise NotImplementedError


def report(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A run folder or a prediction.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="HTML", help="The page to write.")] = None,
) -> None:
    """Write one self-contained HTML page about a run or a prediction."""
    from cristae.workflows.report import report as write

    print(write(path, out=out))
