"""Verbs for single files: look at them, convert them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cristae.cli.options import Json, Signed, VoxelSize, print_json, say_error
from cristae.cli.recipes import Set
from cristae.errors import CristaeError

if TYPE_CHECKING:
    from cristae.data.inspection import Inspection
    from cristae.workflows.inspect_weights import WeightInspection

_NAMED = 8
"""Sections that are listed."""
_SHORT = 20
"""Characters of a detail that may be part of a problem by chance, such as a number."""


def _pixels(text: str) -> int:
    if not text.strip().isdecimal():
        raise typer.BadParameter(f"expected a whole number of pixels, such as 3200, got '{text}'")
    return int(text)


def inspect(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Volumes: files, slice folders or globs; with --weights a recipe."),
    ],
    signed: Signed = None,
    weights: Annotated[
        bool,
        typer.Option("--weights", help="Show what the network of a recipe is shown: patches, targets, weights."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="With --weights: a new folder for pictures and arrays.")
    ] = None,
    patches: Annotated[
        int | None, typer.Option("--patches", metavar="N", min=1, help="With --weights: how many; 32 by default.")
    ] = None,
    changes: Set = None,
    as_json: Json = False,
) -> None:
    """Show what volumes hold and what may go wrong. Format, shape, voxel size, intensities, label values."""
    if weights and signed is not None:
        raise typer.BadParameter("--signed/--unsigned is for volumes; a recipe says it behind a path, ::signed=false")
    if weights:
        return _inspect_weights(paths, out, patches, changes, as_json)
    if given := [name for name, value in {"--out": out, "--patches": patches, "--set": changes}.items() if value]:
        raise typer.BadParameter(f"{given[0]} belongs to --weights")
    return _inspect_volumes(paths, signed, as_json)


def _inspect_weights(
    paths: list[Path], out: Path | None, patches: int | None, changes: list[str] | None, as_json: bool
) -> None:
    if len(paths) != 1:
        raise typer.BadParameter(f"--weights takes one recipe, got {len(paths)} paths")
    from cristae.cli.progress import console_progress
    from cristae.recipe.load import load_recipe
    from cristae.workflows.inspect_weights import inspect_weights

    recipe, many = load_recipe(paths[0], changes or ()), {} if patches is None else {"patches": patches}
    found = inspect_weights(recipe, out=out, **many, progress=console_progress())
    if as_json:
        print_json(found.to_dict())
    else:
        print(weights_text(found))


def _inspect_volumes(paths: list[Path], signed: bool | None, as_json: bool) -> None:
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
    grain_filter: Annotated[
        int | None,
        typer.Option(
            "--grain-filter",
            metavar="AREA",
            parser=_pixels,
            help="Leave out bright and dark shapes of fewer pixels than AREA from each slice.",
        ),
    ] = None,
    transpose: Annotated[
        str | None,
        typer.Option("--transpose", metavar="AXES", help="The stored axes that become z, y, x: zxy exchanges y and x."),
    ] = None,
    flip: Annotated[
        str | None, typer.Option("--flip", metavar="AXES", help="Axes to mirror, such as y or zx; after --transpose.")
    ] = None,
    shift: Annotated[
        tuple[int, int, int] | None,
        typer.Option("--shift", metavar="Z Y X", help="Voxels to move the content by, at last; edges are repeated."),
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Exchange dark and bright.")] = False,
) -> None:
    """Write a volume in another format, with its metadata. Memory does not grow with the volume."""
    from cristae.cli.progress import console_progress
    from cristae.workflows.convert import convert as write

    write(
        source,
        destination,
        voxel_size_nm=voxel_size_nm,
        signed=signed,
        grain_filter=grain_filter,
        transpose=transpose,
        flip=flip,
        shift=shift,
        invert=invert,
        progress=console_progress(),
    )
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
    rows += _section_rows(found)
    lines = [found.path, *(f"  {title + ':':14}{text}" for title, text in rows)]
    if found.values:
        lines.append("  label values:")
        lines += [
            f"    {value.value!s:>10}  {value.share:9.4%}  {value.name} {value.color}".rstrip()
            for value in found.values
        ]
    return "\n".join([*lines, *(f"  problem: {problem}" for problem in found.problems)])


def _section_rows(found: Inspection) -> list[tuple[str, str]]:
    """Sections that deserve a look, and how far they lie off each other."""
    shown = [f"{one.slice} {one.kind} ({one.text})" for one in found.sections[:_NAMED]]
    more = [f"and {len(found.sections) - _NAMED} more"] if len(found.sections) > _NAMED else []
    rows = [("sections", "; ".join([*shown, *more]))] if shown else []
    drift = found.drift
    if drift is None or not drift.steps:
        return rows
    if not drift.known:
        text = f"not certain: {drift.certain} of {drift.steps} sections can be compared with the one before"
        return [*rows, ("drift", text)]
    largest = ", ".join(f"{one.y:+.1f} {one.x:+.1f} to slice {one.slice}" for one in drift.largest)
    unsure = (
        f"; {drift.steps - drift.certain} of {drift.steps} steps not certain" if drift.certain < drift.steps else ""
    )
    y, x = drift.reach_vox
    return [*rows, ("drift", f"{y:g} x {x:g} voxels (y, x) in all; largest steps {largest}{unsure}")]


def weights_text(found: WeightInspection) -> str:
    """A table of the classes, for a terminal."""
    head = ("class", "all labels", "voxels", "share", "of weights", "weight: least", "median", "most", "in patches")
    rows = [
        (
            one.name,
            f"{one.training_share:.2%}",
            str(one.voxels),
            f"{one.voxel_share:.2%}",
            f"{one.weight_share:.2%}",
            *("-" if value is None else f"{value:.4g}" for value in one.weight_range),
            f"{one.patch_share:.0%}",
        )
        for one in found.classes
    ]
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in (head, *rows)
    ]
    said = f"{found.recipe}: {found.patches} patches" + ("" if found.weighted else "; every voxel weighs 1")
    return "\n".join([said, *lines, *([] if found.out is None else [str(found.out)])])


def _range(found: Inspection) -> str:
    if math.isnan(found.minimum):
        return "NaN or infinite only"
    low, high = (None, None) if found.values else (found.percentiles.get("1"), found.percentiles.get("99"))
    middle = "" if low is None or high is None else f"; 98 % lie between {low:g} and {high:g}"
    return f"{found.minimum:g} to {found.maximum:g}{middle}"
