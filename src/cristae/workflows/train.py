"""Train a network from a recipe: the rooms below, joined."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from cristae.classical.config import RandomForestConfig
from cristae.data.open import open_data
from cristae.errors import RunError
from cristae.inference.device import choose_device
from cristae.models.external import own_errors
from cristae.progress import Progress
from cristae.recipe.complete import completed
from cristae.recipe.consistency import check_consistency, require_regions
from cristae.recipe.folder import CHECKPOINT, read_summary
from cristae.recipe.load import load_run_recipe
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import Run, create_run, is_complete, read_metrics
from cristae.workflows.forest import train_forest_run
from cristae.workflows.judge import PAGE
from cristae.workflows.network_training import CACHE, NetworkTraining, build_network, is_follower
from cristae.workflows.regions import prepare_regions, require_judgement
from cristae.workflows.report import report
from cristae.workflows.start import start_from, starting_weights


def train(
    recipe: Recipe, *, out: str | Path | None = None, resume: bool = False, progress: Progress = Progress()
) -> Run:
    """Train the network, or the random forest, of a recipe.

    Args:
        recipe: What to learn from what, as `load_recipe` gives it.
        out: The run folder; None takes `runs/<name of the recipe>`.
        resume: Go on with a run that was interrupted; it ends with the weights of an undisturbed one.
        progress: Where to show how far it is.

    Returns:
        The run: complete recipe, best weights, scores on the validation regions, page.

    Raises:
        CristaeError: The recipe, its data or the output folder cannot be used; nothing was overwritten.
        KeyboardInterrupt: Ctrl-C; `resume=True` goes on after the last finished epoch.

    Example:
        run = cristae.train(cristae.load_recipe("mito.yaml"))
    """
    recipe = completed(recipe)
    check_consistency(recipe)
    require_regions(recipe)
    follower = is_follower()
    progress = Progress() if follower else progress
    dataset = open_data(recipe.data, recipe.folder)
    regions = prepare_regions(recipe, dataset)
    require_judgement(regions, progress)
    for warning in dataset.warnings:
        progress.warn(warning)
    place = Path(out or Path("runs") / recipe.name)
    if isinstance(recipe.model, RandomForestConfig):
        return train_forest_run(recipe, regions, place, resume=resume, progress=progress)
    device = choose_device(recipe.device)
    network, locality = build_network(recipe, regions)
    start = _start(network, recipe, place, progress)
    fresh = not place.exists()
    before = load_run_recipe(place / "recipe.yaml") if resume and (place / "recipe.yaml").is_file() else None
    run = create_run(place, recipe, resume=resume or follower)
    if is_complete(run, recipe.training.epochs):
        progress.say(f"{run.path}: training had finished already")
        _tidy(run)
        return run
    if before is not None:
        _check_length(run, before, recipe, progress)
    try:
        with own_errors(recipe.model, network):
            NetworkTraining(recipe, run, regions, network, locality, start, device, progress).run_all()
    except Exception:
        # Nothing is lost before the first checkpoint, and what is repaired can be trained at the same place. Ctrl-C
        # leaves the folder: going on with it uses the staged data again.
        if fresh and not follower and not run.checkpoint_path.exists():
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    if follower:  # the process that was started by hand goes on alone
        raise SystemExit(0)
    _tidy(run)
    return run


def _start(network: nn.Module, recipe: Recipe, place: Path, progress: Progress) -> dict[str, Any] | None:
    """Fill a network with the weights that its recipe names; a training that goes on has better ones already."""
    if recipe.training.start_from is None:
        return None
    if (place / CHECKPOINT).is_file():
        with suppress(RunError):  # damage is told elsewhere, and costs nothing but this remark
            return read_summary(place).get("start_from")
        return None
    return start_from(network, starting_weights(recipe), progress)


def _check_length(run: Run, before: Recipe, now: Recipe, progress: Progress) -> None:
    """Make sure that a continued training can still have the length it is given."""
    done, asked = len(read_metrics(run)), now.training.epochs
    if done > asked:
        raise RunError(f"{run.path}: {done} epochs are done already; training.epochs: {asked} cannot take any back")
    if now.training.schedule.name == "cosine" and before.training.epochs != asked:
        progress.warn(
            f"{run.path}: began with {before.training.epochs} epochs and goes on to {asked}; the cosine schedule is "
            "stretched, so the weights differ from those of a training that had this length from its start"
        )


def _tidy(run: Run) -> None:
    """The last of a training: the page, and no staged data left behind; a kill may have come before."""
    if not (run.path / PAGE).exists():
        report(run.path)
    shutil.rmtree(run.path / CACHE, ignore_errors=True)
