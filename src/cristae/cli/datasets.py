"""Verbs for public data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cristae.cli.options import Json, print_json

app = typer.Typer(help="Public data sets: list them, fetch them.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Show the public data sets with citation, licence and size."""
    from cristae.workflows.datasets import list_datasets

    sets = list_datasets()
    if as_json:
        keys = ("name", "title", "citation", "doi", "licence", "size_bytes")
        print_json([{**{key: getattr(one, key) for key in keys}, "tasks": list(one.tasks)} for one in sets])
        return
    for one in sets:
        print(f"{one.name}  ({one.size_bytes / 1e6:.0f} MB)")
        print(f"  {one.title}")
        print(f"  tasks: {', '.join(one.tasks)}")
        print(f"  licence: {one.licence}")
        print(f"  cite: {one.citation}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A set's name, see `cristae data list`.")],
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Where to; the cache by default.")] = None,
    mirror: Annotated[
        str | None, typer.Option("--mirror", metavar="URL", help="An address or folder that holds the same files.")
    ] = None,
) -> None:
    """Download a public data set. Every file is checked; repeat the command to continue."""
    from cristae.cli.progress import console_progress
    from cristae.workflows.datasets import fetch_dataset

    print(fetch_dataset(name, to=to, mirror=mirror, progress=console_progress()))
