"""Options that several verbs share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cristae.errors import CristaeError

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
VoxelSize = Annotated[
    tuple[float, float, float] | None,
    typer.Option(
        "--voxel-size-nm", metavar="Z Y X", help="Voxel size in nm, where the file says none or an impossible one."
    ),
]

Signed = Annotated[
    bool | None,
    typer.Option(
        "--signed/--unsigned",
        help="Whether 8-bit values of MRC files are signed, where their header does not say; ::signed=false after a "
        "path says it of one file.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", metavar="N", help="Processes on this computer that work side by side and share its cores and GPUs."
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="A Dask scheduler that runs already, such as tcp://host:8786."),
]
Cluster = Annotated[
    Path | None,
    typer.Option("--cluster", metavar="FILE", help="YAML file that says which jobs to submit to SLURM, LSF or PBS."),
]


def say(message: str, style: str = "") -> None:
    """A line on stderr."""
    typer.secho(message, err=True, fg=style or None)


def say_error(error: CristaeError) -> None:
    """An error's kind and its message, which may start with file:line instead."""
    from cristae.errors import RecipeError

    kind = "" if isinstance(error, RecipeError) else f"{type(error).__name__}: "
    say(f"{kind}{error}", style="red")


def print_json(content: Any) -> None:
    """Print a value as readable JSON on stdout."""
    print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))
