"""Verbs for public data sets and for the cache of training data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cristae.cli.options import Json, print_json

app = typer.Typer(help="Public data sets, and cached training data.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Show the public data sets, and those that you have to bring.

    Each with its citation; public ones with licence and size, others with where they come from.
    """
    from cristae.data.public.base import PublicSet
    from cristae.data.public.brought import BroughtSet
    from cristae.workflows.datasets import list_datasets

    sets = list_datasets()
    if as_json:
        keys = ("name", "title", "citation", "doi", "homepage", "licence", "size_bytes", "available_from")
        rows = [{key: getattr(one, key, None) for key in keys} for one in sets]
        tasks = [list(getattr(one, "tasks", ())) for one in sets]
        print_json([{**row, "tasks": names} for row, names in zip(rows, tasks, strict=True)])
        return
    for one in sets:
        size = f"{one.size_bytes / 1e6:.0f} MB" if isinstance(one, PublicSet) else "yours to bring"
        print(f"{one.name}  ({size})")
        print(f"  {one.title}")
        if isinstance(one, BroughtSet):
            print(f"  from: {one.available_from}")
            print(f"  belongs beside your recipe: {', '.join(one.files)}")
            print(f"  layout: {one.layout}")
        elif isinstance(one, PublicSet):
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


@app.command()
def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all that no running process uses; it is made again when needed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the cached training data that all runs share."""
    from cristae.training.cache_folder import cache_folder, cache_limit, clear_cache, list_cache
    from cristae.words import memory

    removed = clear_cache() if clear else ()
    entries = list_cache()
    if as_json:
        print_json([{**asdict(one), "last_used": one.last_used.isoformat(), "path": str(one.path)} for one in entries])
        return
    if clear:
        print(f"Removed {_entries(len(removed))}, {memory(sum(one.size_bytes for one in removed))}")
    for one in entries:
        shape, used = " x ".join(map(str, one.shape)), f"{one.last_used.astimezone():%Y-%m-%d %H:%M}"
        print(f"{one.volume}  {shape} voxels  {memory(one.size_bytes)}  {'in use' if one.in_use else used}  {one.path}")
    total = memory(sum(one.size_bytes for one in entries))
    print(f"{_entries(len(entries))}, {total} of at most {memory(cache_limit())}, in {cache_folder()}")


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"
