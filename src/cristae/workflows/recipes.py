"""Start a recipe from data, and check one against its data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cristae.data.files import require_new, write_text
from cristae.data.formats.paths import signed_path
from cristae.data.open import open_data, read_samples
from cristae.data.public import find_set
from cristae.errors import RecipeError
from cristae.inference.device import choose_device
from cristae.models.external import prove_own
from cristae.models.form import NetworkConfig
from cristae.progress import Progress
from cristae.recipe.complete import completed
from cristae.recipe.consistency import check_consistency, require_regions
from cristae.recipe.findings import examine
from cristae.recipe.load import load_recipe, parse_recipe
from cristae.recipe.recipe import Recipe
from cristae.recipe.starter import set_starter_text, starter_text
from cristae.training.regions import prepare_regions, require_validation


def new_recipe(
    out: str | Path,
    *,
    image: str | None = None,
    labels: str | None = None,
    signed: bool | None = None,
    label_slices: Sequence[int] | None = None,
    set_name: str | None = None,
    progress: Progress = Progress(),
) -> Path:
    """Write a commented starter recipe, after a look at the data.

    Args:
        out: The recipe file; it must not exist yet.
        image: File, folder or glob of the image.
        labels: The same for its labels.
        signed: Whether the 8-bit values of an MRC image are signed, where its header does not say.
        label_slices: For labels with fewer slices than the image: the image slice of each, from 0.
        set_name: A public data set, instead of files.
        progress: Where to show how far it is.

    Raises:
        RecipeError: Neither or both of `image` and `set_name` were given.
        OutputExistsError: There is a file already.
        CristaeError: The data cannot be read or do not fit together.
    """
    out = Path(out)
    if (image is None) == (set_name is None):
        raise RecipeError("give either an image (--image) or a public data set (--set-name) to start from")
    require_new(out, what="the recipe")
    if set_name is not None:
        chosen = find_set(set_name)
        task, description = chosen.find_task(None)
        text = set_starter_text(chosen.name, task, description, tuple(chosen.tasks))
    else:
        found = examine(
            str(signed_path(str(image), signed)),
            labels,
            label_slices=label_slices,
            folder=out.absolute().parent,
            progress=progress,
        )
        text = starter_text(found)
    parse_recipe(text, str(out))
    write_text(out, text)
    return out


def check_recipe(path: str | Path, overrides: Sequence[str] = (), *, progress: Progress = Progress()) -> Recipe:
    """Check a recipe, open its data and look at one labelled slice of each part.

    Args:
        path: The recipe file.
        overrides: Changes such as `training.epochs=5`.
        progress: Where warnings go.

    Returns:
        The recipe, with what a public data set fills in.

    Raises:
        RecipeError: The recipe is not valid.
        NetworkError: A network of one's own is not what its config says.
        CristaeError: Its data cannot be opened, or do not fit together.
    """
    recipe = load_recipe(path, overrides)
    complete = completed(recipe)
    check_consistency(complete)
    require_regions(complete)
    dataset = open_data(recipe.data, recipe.folder)
    for warning in dataset.warnings:
        progress.warn(warning)
    regions = prepare_regions(dataset, complete.data.voxel_size_nm, flat=complete.model.ndim == 2)
    require_validation(regions, progress)
    choose_device(complete.device)
    if isinstance(complete.model, NetworkConfig):
        prove_own(complete.model, in_channels=complete.model.in_slices, out_channels=regions.classes.n_logits)
    read_samples(dataset, progress)
    return complete
