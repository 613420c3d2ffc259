"""Verbs that compute: the demo, training and prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cristae.cli.options import Cluster, Scheduler, Signed, VoxelSize, Workers
from cristae.cli.recipes import Folds, RecipePath, Set, overrides_of

_Statistics = Literal["run", "volume"]
_Runtime = Literal["torch", "onnx", "openvino"]


def _statistics(text: str) -> _Statistics:
    known: dict[str, _Statistics] = {"run": "run", "volume": "volume"}
    if text not in known:
        raise typer.BadParameter(
            f"expected run (as the run says) or volume (find the range again on this volume), got '{text}'"
        )
    return known[text]


def _empty_rule(text: str | None) -> Literal["constant"] | float | None:
    if text is None or text == "constant":
        return "constant" if text else None
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"expected constant or a standard deviation such as 0.02, got '{text}'") from None


def _runtime(text: str) -> _Runtime:
    known: dict[str, _Runtime] = {"torch": "torch", "onnx": "onnx", "openvino": "openvino"}
    if text not in known:
        raise typer.BadParameter(f"expected {', '.join(known)}, got '{text}'")
    return known[text]


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to put everything.")] = Path("cristae-demo"),
) -> None:
    """Show every step on a synthetic volume. Trains, predicts and scores in a few minutes on two cores."""
    from cristae.cli.progress import console_progress
    from cristae.workflows.demo import demo as show

    print(show(out, progress=console_progress()))


def train(
    recipe: RecipePath,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="The run folder; runs/NAME by default.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run or study in the folder.")] = False,
    folds: Folds = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    cluster: Cluster = None,
    changes: Set = None,
) -> None:
    """Train the recipe's network and write a run folder. With folds or instances a study folder holds several runs."""
    from cristae.cli.progress import console_progress
    from cristae.cluster.options import ClusterOptions
    from cristae.recipe.load import load_recipe

    options = ClusterOptions(workers, scheduler, cluster)
    # A slip of the pen is told before the rooms of training are imported.
    read = load_recipe(recipe, overrides_of(recipe, changes or (), folds=folds))
    if read.is_study:
        from cristae.cli.scores import mean_scores_text
        from cristae.workflows.train_study import train_study

        study = train_study(read, out=out, resume=resume, options=options, progress=console_progress())
        print(study.path)
        print(mean_scores_text(study), end="")
        return
    options.require_none("the recipe stands for one training")
    from cristae.workflows.train import train as work

    print(work(read, out=out, resume=resume, progress=console_progress()).path)


def predict(
    volume: Annotated[str, typer.Argument(metavar="VOLUME", help="The image: file, slice folder or glob.")],
    runs: Annotated[
        list[str],
        typer.Option(
            "--run",
            metavar="RUN[:CRITERION]",
            help="A run folder, an ensemble file or a study folder; several are fused. RUN:f1 takes the weights that "
            "were best by another criterion, STUDY:out-of-fold each member where it has held out the voxels.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="OUT.zarr", help="The prediction to write.")],
    voxel_size_nm: VoxelSize = None,
    signed: Signed = None,
    box: Annotated[
        str | None,
        typer.Option(
            "--box",
            metavar="Z0:Z1,Y0:Y1,X0:X1",
            help="Predict only this box of voxels; a normalisation of each volume still reads all grey values.",
        ),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", metavar="M", help="Predict only where this volume is not 0.")
    ] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Keep the 8-bit probabilities too.")] = False,
    disagreement: Annotated[
        bool, typer.Option("--disagreement", help="Keep an 8-bit map of how much the members disagree, too.")
    ] = False,
    normalize: Annotated[
        _Statistics,
        typer.Option(
            "--normalize",
            metavar="run|volume",
            parser=_statistics,
            help="Whose grey values decide: volume finds the range again on this one, as unseen microscopes need.",
        ),
    ] = "run",
    skip_empty: Annotated[
        str | None,
        typer.Option(
            "--skip-empty",
            metavar="constant|SD",
            help="Write background, without asking the networks, where a block and its halo have one grey value, or "
            "normalised grey values of at most this standard deviation, such as 0.02.",
        ),
    ] = None,
    level: Annotated[
        int,
        typer.Option(
            "--level",
            metavar="N",
            min=0,
            help="Predict this level of an OME-Zarr, N5 or precomputed pyramid, for a quick look; 0 is full size.",
        ),
    ] = 0,
    max_ram: Annotated[
        str | None,
        typer.Option(
            "--max-ram",
            metavar="SIZE",
            help="Ceiling for the memory of the whole process, such as 8GiB; by default half of what is free. "
            "All --workers share it; with --scheduler and --cluster each worker has as much.",
        ),
    ] = None,
    max_vram: Annotated[
        str | None,
        typer.Option(
            "--max-vram",
            metavar="SIZE",
            help="Ceiling on the GPU, such as 6GiB; by default 85 % of what is free there.",
        ),
    ] = None,
    runtime: Annotated[
        _Runtime,
        typer.Option(
            "--runtime",
            metavar="torch|onnx|openvino",
            parser=_runtime,
            help="What computes the networks on a CPU; onnx and openvino are extras to install, and may be faster.",
        ),
    ] = "torch",
    workers: Workers = None,
    scheduler: Scheduler = None,
    cluster: Cluster = None,
) -> None:
    """Predict a volume of any size with one or several runs. After a kill the same command continues."""
    from cristae.cli.progress import console_progress
    from cristae.cluster.options import ClusterOptions
    from cristae.inference.config import PredictOptions
    from cristae.workflows.predict import predict as work

    where, empty = ClusterOptions(workers, scheduler, cluster), _empty_rule(skip_empty)
    prediction = work(
        runs,
        volume,
        out=out,
        voxel_size_nm=voxel_size_nm,
        box=box,
        mask=mask,
        options=PredictOptions(
            probabilities, max_ram, max_vram, signed, normalize, disagreement, empty, level, runtime
        ),
        cluster=where,
        progress=console_progress(),
    )
    print(prediction.path)
