"""The verb that compares annotators and algorithms with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cristae.cli.options import Cluster, Json, Scheduler, VoxelSize, Workers

if TYPE_CHECKING:
    from cristae.metrics.agreement import Agreement


def agree(
    participants: Annotated[
        list[str], typer.Argument(metavar="NAME=PATH...", help="Two or more annotators or algorithms.")
    ],
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="R", help="Recipe that maps label values to classes.")
    ] = None,
    binarize: Annotated[
        float | None, typer.Option("--binarize", metavar="T", help="Probability maps: foreground where value/255 > T.")
    ] = None,
    mask: Annotated[Path | None, typer.Option("--mask", metavar="M", help="Compare only where this is not 0.")] = None,
    over: Annotated[
        str, typer.Option("--over", metavar="CLASS,CLASS", help="Classes to take a mean IoU of their own over.")
    ] = "",
    merge: Annotated[
        list[str] | None, typer.Option("--merge", metavar="NAME=A+B", help="Merge classes; may be repeated.")
    ] = None,
    cell_from: Annotated[
        str | None, typer.Option("--cell-from", metavar="NAME", help="Compare only near the cell that NAME labelled.")
    ] = None,
    margin_nm: Annotated[
        float | None, typer.Option("--margin-nm", metavar="D", help="How far from that cell, in nm.")
    ] = None,
    views: Annotated[bool, typer.Option("--views", help="Show the surfaces of all side by side on the page.")] = False,
    voxel_size_nm: VoxelSize = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="agree.csv", help="Write scores, confusions and a page here.")
    ] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    cluster: Cluster = None,
    as_json: Json = False,
) -> None:
    """Compare annotators and algorithms with each other. All are read block by block."""
    from cristae.cli.progress import console_progress
    from cristae.cluster.options import ClusterOptions
    from cristae.evaluation.agreement import AgreementOptions
    from cristae.evaluation.scoring.settings import parse_merge
    from cristae.metrics.score import scores_json
    from cristae.recipe.load import load_recipe
    from cristae.workflows.agree import agree as compare

    agreement = compare(
        _named(participants),
        recipe=None if recipe is None else load_recipe(recipe),
        mask=mask,
        out=out,
        options=AgreementOptions(
            binarize=binarize,
            merge=parse_merge(merge or ()),
            over=[name.strip() for name in over.split(",") if name.strip()],
            cell_from=cell_from,
            margin_nm=margin_nm,
            views=views,
            voxel_size_nm=voxel_size_nm,
        ),
        cluster=ClusterOptions(workers, scheduler, cluster),
        progress=console_progress(),
    )
    print(scores_json(agreement.scores()) if as_json else agreement_text(agreement), end="")


def agreement_text(agreement: Agreement) -> str:
    """An agreement for a terminal: matrices of mean IoU, then the scores of each pair and each participant."""
    from cristae.cli.scores import all_scores_text
    from cristae.metrics.agreement_counts import mean_iou_of_pair, subsets

    lines: list[str] = []
    for title, names in subsets(agreement.classes, agreement.over).items():
        values: dict[tuple[str, str], float] = {}
        for pair in agreement.pairs:
            value = mean_iou_of_pair(pair, agreement.classes, names).value
            values[pair.first, pair.second] = values[pair.second, pair.first] = value
        lines += [f"mean IoU: {title}", *_matrix(agreement.names, values), ""]
    return "\n".join([*lines, all_scores_text(agreement.scores())])


def _matrix(names: Sequence[str], values: Mapping[tuple[str, str], float]) -> list[str]:
    width = max(12, *(len(name) + 2 for name in names))
    lines = [f"  {'':24}" + "".join(f"{name:>{width}}" for name in names)]
    for row in names:
        cells = ("" if row == column else f"{values[row, column]:.5f}" for column in names)
        lines.append((f"  {row:24}" + "".join(f"{cell:>{width}}" for cell in cells)).rstrip())
    return lines


def _named(texts: Sequence[str]) -> dict[str, str]:
    """Participants from texts such as `anna=labels/anna.tif`, none of them twice."""
    from cristae.errors import ScoreError
    from cristae.metrics.agreement import check_participants

    split = [text.partition("=") for text in texts]
    for text, (name, sign, path) in zip(texts, split, strict=True):
        if not sign or not path or "/" in name or "\\" in name:
            raise ScoreError(f"'{text}': participants are given as NAME=PATH, such as anna=labels/anna.tif")
    check_participants([name for name, _, _ in split])
    return {name: path for name, _, path in split}
