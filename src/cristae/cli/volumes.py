"""Verbs for single files: look at them, convert them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cristae.cli.options import Json, VoxelSize, print_json


def inspect(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Volumes: files, slice folders or globs.")],
    as_json: Json = False,
) -> None:
    """Show format, shape, voxel size, intensities, label values and problems of volumes."""
    from cristae.cli.progress import console_progress
    from cristae.workflows.inspect import inspect as look

    found = look(paths, progress=console_progress())
    if as_json:
        print_json([one.to_dict() for one in found])
        return
    print("\n\n".join(str(one) for one in found))


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The volume to read.")],
    destination: Annotated[
        Path, typer.Argument(metavar="DST", help="The file to write: .tif, .mrc, .h5 or .zarr decides the format.")
    ],
    voxel_size_nm: VoxelSize = None,
) -> None:
    """Write a volume in another format, with its metadata, in a stream."""
    from cristae.cli.progress import console_progress
    from cristae.workflows.convert import convert as write

    write(source, destination, voxel_size_nm=voxel_size_nm, progress=console_progress())
    print(destination)
