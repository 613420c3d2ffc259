"""Train a network or a random forest from a recipe: the rooms below, joined."""

from __future__ import annotations

from pathlib import Path

from cristae.classical.config import RandomForestConfig
from cristae.errors import MissingFileError, RecipeError
from cristae.progress import Progress
from cristae.recipe.anchor import anchored
from cristae.recipe.complete import completed
from cristae.recipe.folder import is_run
from cristae.recipe.identity import require_same
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import Run
from cristae.workflows.train_forest import train_forest_run
from cristae.workflows.train_network import train_network_run
from cristae.workflows.training_data import begin_training, default_place


def train(
    recipe: Recipe, *, out: str | Path | None = None, resume: bool = False, progress: Progress = Progress()
) -> Run:
    """Train the network, or the random forest, of a recipe.

    Args:
        recipe: What to learn from what, as `load_recipe` gives it.
        out: The run folder; None takes `runs/<name of the recipe>`.
        resume: Resume a run that was interrupted; it ends with the weights of an undisturbed one.
        progress: Where to show how far it is.

    Returns:
        The run: complete recipe, best weights, scores on the validation regions, page.

    Raises:
        RecipeError: It stands for several trainings; `train_study` makes those.
        CristaeError: The recipe, its data or the output folder cannot be used; nothing was overwritten.
        KeyboardInterrupt: Ctrl-C, after the batch; `resume=True` continues with the next.

    Example:
        run = cristae.train(cristae.load_recipe("mito.yaml"))
    """
    if recipe.is_study:
        name = "instances" if recipe.folds is None else "folds"
        raise RecipeError(
            recipe.problem(f"{name}: ask for several trainings, which are no single run; use cristae.train_study")
        )
    return _train(recipe, Path(out or default_place(recipe)), resume, progress)


def train_until(recipe: Recipe, epoch: int, *, out: Path, progress: Progress = Progress()) -> None:
    """Begin or resume the training of a network, and leave it unfinished when so many epochs are done, counted from
    the first; `train` finishes it, with the weights of a training in one go.

    Args:
        recipe: Of one training.
        epoch: The last that is trained now.
        out: The run folder.
        progress: Where to show how far it is.

    Raises:
        CristaeError: The recipe, its data or the output folder cannot be used.
        KeyboardInterrupt: Ctrl-C.
    """
    _train(recipe, out, is_run(out), progress, epoch)


def _train(recipe: Recipe, place: Path, resume: bool, progress: Progress, until_epoch: int | None = None) -> Run:
    try:
        recipe, data = begin_training(recipe, progress)
    except MissingFileError:
        if resume and is_run(place):  # where the run began with other data, that is why these are not there
            require_same(place, anchored(completed(recipe)))
        raise
    if isinstance(recipe.model, RandomForestConfig):
        return train_forest_run(recipe, data, place, resume=resume, progress=progress)
    return train_network_run(recipe, data, place, resume=resume, progress=progress, until_epoch=until_epoch)
