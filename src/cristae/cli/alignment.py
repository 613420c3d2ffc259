"""The verb that puts sections on each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _pair(text: str) -> tuple[str, str]:
    source, equals, place = text.rpartition("=")
    if not equals or not source or not place:
        raise typer.BadParameter(f"expected LABELS=OUT, got '{text}'")
    return source, place


def align(
    volume: Annotated[str, typer.Argument(metavar="VOLUME", help="The stack: file, slice folder or glob.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write: .tif, .mrc, .h5 or .zarr.")],
    labels: Annotated[
        list[str] | None,
        typer.Option("--labels", metavar="LABELS=OUT", help="Labels of the stack, moved with it to a new file."),
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option("--apply", metavar="TRANSFORMS", help="Move VOLUME by the shifts of an earlier call."),
    ] = None,
    undo: Annotated[
        Path | None,
        typer.Option("--undo", metavar="TRANSFORMS", help="Move VOLUME, such as a prediction, back to the old grid."),
    ] = None,
    detrend: Annotated[
        bool,
        typer.Option(
            "--detrend/--no-detrend",
            help="Leave slow drift, which may be oblique structure, and move only what jumps; or follow it, too.",
        ),
    ] = True,
    outside: Annotated[
        float, typer.Option("--outside", metavar="VALUE", help="Value of voxels that no section covers.")
    ] = 0,
) -> None:
    """Put the sections of a stack on each other. By whole voxels; OUT.transforms.json says how, and undoes it."""
    from cristae.cli.progress import console_progress
    from cristae.workflows.align import align as work

    pairs = [_pair(text) for text in labels or ()]
    if len(dict(pairs)) < len(pairs):
        raise typer.BadParameter("--labels names a file twice")
    work(
        volume,
        out,
        labels=dict(pairs),
        apply=apply,
        undo=undo,
        detrend=detrend,
        outside=outside,
        progress=console_progress(),
    )
    print(out)
