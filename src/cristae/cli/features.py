"""The verb that compares the features of networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cristae.cli.options import Json, Signed, VoxelSize, print_json

if TYPE_CHECKING:
    from cristae.evaluation.features.result import FeatureCorrelation


def correlate(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="What the networks are shown.")],
    runs: Annotated[
        list[str], typer.Option("--run", metavar="RUN", help="A run folder; several compare their networks, too.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.")],
    features: Annotated[
        str,
        typer.Option(
            "--features",
            metavar="convolutions|layers",
            help="Channels of convolutions, after what normalises and activates them; or of every layer.",
        ),
    ] = "convolutions",
    blocks: Annotated[
        str | None,
        typer.Option("--blocks", metavar="B1,B5", help="Only these blocks, by name or stage (encoder.0)."),
    ] = None,
    size: Annotated[int, typer.Option("--size", help="Cells along y and x that features are averaged over.")] = 64,
    places: Annotated[int, typer.Option("--places", metavar="N", help="Slices of each image, evenly spread.")] = 1,
    window: Annotated[
        tuple[int, int] | None,
        typer.Option("--window", metavar="Y X", help="Pixels in the middle of slices; by default those of patches."),
    ] = None,
    close: Annotated[
        float, typer.Option("--close", metavar="R", help="|r| from which a channel can stand for another.")
    ] = 0.95,
    max_ram: Annotated[
        str | None, typer.Option("--max-ram", metavar="SIZE", help="Ceiling for the memory, such as 8GiB.")
    ] = None,
    voxel_size_nm: VoxelSize = None,
    signed: Signed = None,
    as_json: Json = False,
) -> None:
    """Correlate all channels of networks. Within and between their blocks, and what of them is redundant."""
    from cristae.cli.progress import console_progress
    from cristae.evaluation.features.options import FeatureOptions
    from cristae.workflows.correlate import correlate as work

    options = FeatureOptions(
        features=features,  # type: ignore[arg-type]  # it checks the word
        blocks=None if blocks is None else tuple(name.strip() for name in blocks.split(",") if name.strip()),
        size=size,
        places=places,
        window=window,
        close=close,
        max_ram=max_ram,
        signed=signed,
    )
    found = work(runs, images, out=out, voxel_size_nm=voxel_size_nm, options=options, progress=console_progress())
    if as_json:
        print_json(found.to_dict())
    else:
        print(features_text(found), end="")


def features_text(found: FeatureCorrelation) -> str:
    """The blocks as a table for a terminal."""
    rows = found.block_rows()
    names = [f"{row['network']} {row['block']} ({row['stage']})" for row in rows]
    wide = max(len(name) for name in names)
    lines = [f"{'block':{wide}}{'channels':>10}{'constant':>10}{'mean |r|':>10}{'kept':>8}{'share':>8}"]
    for name, row in zip(names, rows, strict=True):
        lines.append(
            f"{name:{wide}}{row['channels']:10}{row['constant']:10}{row['mean_abs_r']:10.3f}{row['kept']:8}"
            f"{100 * row['kept_share']:7.0f}%"
        )
    return "\n".join([*lines, "", str(found.path / "report.html")]) + "\n"
