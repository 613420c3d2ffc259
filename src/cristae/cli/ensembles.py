"""The verb that chooses members of an ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cristae.cli.options import Json, print_json


def ensemble(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Run folders, ensemble files, or folders with an ensemble.yaml."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="ENSEMBLE.yaml", help="The new ensemble file; of a soup a run folder.")
    ],
    rule: Annotated[
        str,
        typer.Option(
            "--rule",
            metavar="greedy|top|soup|greedy-soup",
            help="greedy: with replacement, by how good the average becomes. top: the best. Soups average weights.",
        ),
    ] = "greedy",
    size: Annotated[
        int | None,
        typer.Option("--size", metavar="K", help="greedy: largest sum of weights (20). top: how many runs."),
    ] = None,
    criterion: Annotated[
        str,
        typer.Option("--criterion", metavar="miou|f1|accuracy", help="What is made best on the validation regions."),
    ] = "miou",
    begin_with: Annotated[
        int, typer.Option("--begin-with", metavar="N", help="greedy: begin with this many of the best runs.")
    ] = 0,
    test: Annotated[bool, typer.Option("--test", help="Also score on the test regions of the first run.")] = False,
    as_json: Json = False,
) -> None:
    """Choose which runs predict together. All are compared on their common validation regions; a killed choice predicts
    nothing twice."""
    from cristae.cli.progress import console_progress
    from cristae.evaluation.ensembles.choice import EnsembleOptions
    from cristae.workflows.ensemble import ensemble as work

    options = EnsembleOptions(rule, size, criterion, begin_with, test)  # type: ignore[arg-type]  # it checks the words
    chosen = work(runs, out=out, options=options, progress=console_progress())
    if as_json:
        print_json(chosen.to_dict())
    else:
        print(chosen.path)
