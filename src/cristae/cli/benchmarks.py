"""The verb that compares many recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cristae.cli.options import Cluster, Scheduler, Workers


def benchmark(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="A plan in YAML, or the name of a preset.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The benchmark folder.")],
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="RECIPE", help="The base recipe, in place of the plan's.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the benchmark in the folder.")] = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    cluster: Cluster = None,
) -> None:
    """Compare networks, losses and more on your data. With folds, costs, intervals and one page."""
    from cristae.benchmark.load import load_plan
    from cristae.cli.progress import console_progress
    from cristae.cluster.options import ClusterOptions

    options = ClusterOptions(workers, scheduler, cluster)
    read = load_plan(plan, recipe=recipe)  # a slip of the pen is told before the rooms of training are imported
    from cristae.benchmark.run import benchmark as work

    print(work(read, out=out, resume=resume, options=options, progress=console_progress()))
