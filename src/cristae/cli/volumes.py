"""Verbs for single files: look at them, convert them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cristae.cli.options import Json, Signed, VoxelSize, print_json, say_error
from cristae.errors import CristaeError

if TYPE_CHECKING:
    from cristae.data.inspection import Inspection

_SHORT = 20
"""Characters of a detail that may be part of a problem by chance, such as a number."""


def inspect(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Volumes: files, slice folders or globs.")],
    signed: Signed = None,
    as_json: Json = False,
) -> None:
    """Show what volumes hold and what may go wrong. Format, shape, voxel size, intensities, label values."""
    from cristae.cli.progress import console_progress
    from cristae.workflows.inspect import inspect as look

    found: list[Inspection] = []
    errors: list[CristaeError] = []
    progress = console_progress()
    for path in paths:
        try:
            found += look(path, signed=signed, progress=progress)
        except CristaeError as error:
            errors.append(error)
    if as_json and (found or len(paths) > 1):
        print_json([one.to_dict() for one in found])
    elif found:
        print("\n\n".join(inspection_text(one) for one in found))
    for problem in errors:
        say_error(problem)
    if errors:
        raise typer.Exit(max(problem.exit_code for problem in errors))


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The volume to read.")],
    destination: Annotated[
        Path, typer.Argument(metavar="DST", help="The file to write: .tif, .mrc, .h5 or .zarr decides the format.")
    ],
    voxel_size_nm: VoxelSize = None,
    signed: Signed = None,
) -> None:
    """Write a volume in another format, with its metadata. Memory does not grow with the volume."""
    from cristae.cli.progress import console_progress
    from cristae.workflows.convert import convert as write

    write(source, destination, voxel_size_nm=voxel_size_nm, signed=signed, progress=console_progress())
    print(destination)


def inspection_text(found: Inspection) -> str:
    """What was found, for a terminal."""
    from cristae.data.image import voxel_size_text

    size, shape = found.voxel_size_nm, " x ".join(str(n) for n in found.shape)
    rows = [
        ("format", found.format),
        ("shape", f"{shape} voxels (z, y, x), stored as {found.axes}"),
        ("voxel size", "not stated" if size is None else f"{voxel_size_text(size)} (z, y, x)"),
        ("values", f"{found.dtype}, {_range(found)}"),
        ("chunks", " x ".join(str(n) for n in found.chunks)),
    ]
    if found.colors > 1:
        rows.append(("channels", f"{found.colors} (colour or alpha)"))
    if size is not None and found.origin_nm is not None and any(found.origin_nm):
        rows.append(("origin", f"{voxel_size_text(found.origin_nm)} (z, y, x)"))
    said = "\n".join(found.problems)
    for key, value in found.details.items():
        if key == "axes" or (len(value) > _SHORT and value in said):
            continue
        titles = [title for title, _ in rows]
        if key in titles:
            rows[titles.index(key)] = (key, f"{rows[titles.index(key)][1]}; {value}")
        else:
            rows.append((key, value))
    lines = [found.path, *(f"  {title + ':':14}{text}" for title, text in rows)]
    if found.values:
        lines.append("  label values:")
        lines += [
            f"    {value.value!s:>10}  {value.share:9.4%}  {value.name} {value.color}".rstrip()
            for value in found.values
        ]
    return "\n".join([*lines, *(f"  problem: {problem}" for problem in found.problems)])


def _range(found: Inspection) -> str:
    if math.isnan(found.minimum):
        return "NaN or infinite only"
    low, high = (None, None) if found.values else (found.percentiles.get("1"), found.percentiles.get("99"))
    middle = "" if low is None or high is None else f"; 98 % lie between {low:g} and {high:g}"
    return f"{found.minimum:g} to {found.maximum:g}{middle}"
