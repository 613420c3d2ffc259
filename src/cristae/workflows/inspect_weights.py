"""Looking at what a network is shown, before it is trained: patches, their targets, and what each class weighs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cristae.classical.config import RandomForestConfig
from cristae.data.files import require_new, write_bytes, write_json
from cristae.data.formats.write import beside
from cristae.errors import RecipeError
from cristae.progress import Progress
from cristae.recipe.recipe import Recipe
from cristae.training.cache_folder import open_cache
from cristae.workflows.plan_study import first_member
from cristae.workflows.prepare_training import make_network, prepare_network_training
from cristae.workflows.training_data import begin_training

if TYPE_CHECKING:
    from cristae.training.shown import ClassShare

_DRAWN = 8
"""Patches of which there are pictures."""


@dataclass(frozen=True)
class WeightInspection:
    """What the first patches of a training hold."""

    recipe: str
    patches: int
    """How many were looked at."""
    weighted: bool
    """Whether voxels have weights; otherwise each counts as 1."""
    classes: tuple[ClassShare, ...]
    """In the order of the recipe."""
    statistics: dict[str, Any]
    """What the targets found in all training labels."""
    out: Path | None
    """Where pictures and arrays are."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with what they are of."""
        return {
            "recipe": self.recipe,
            "patches": self.patches,
            "weighted": self.weighted,
            "classes": [one.to_dict() for one in self.classes],
            "statistics": self.statistics,
            "out": None if self.out is None else str(self.out),
        }


def inspect_weights(
    recipe: Recipe, *, out: str | Path | None = None, patches: int = 32, progress: Progress = Progress()
) -> WeightInspection:
    """Show what a network is shown: the first patches of the first epoch, normalised, augmented, with their targets.

    Args:
        recipe: As `load_recipe` gives it.
        out: A folder for `patches.png` (image, labels, valid, weight and further targets of the first patches),
            `slice.png` (the same of a whole slice, not augmented), the arrays of all patches as TIFFs, and
            `weights.json`; None writes nothing.
        patches: How many to look at.
        progress: Where to show how far it is.

    Raises:
        RecipeError: The recipe cannot be trained, or has no network.
        OutputExistsError: There is something at `out`.
        CristaeError: Its data cannot be used.

    Example:
        >>> found = inspect_weights(cristae.load_recipe("mito.yaml"), out="shown")  # doctest: +SKIP
    """
    if patches < 1:
        raise RecipeError(f"{patches} patches cannot be looked at; give 1 or more")
    if isinstance(recipe.model, RandomForestConfig):
        raise RecipeError(
            recipe.problem(
                "model: a random forest learns from single voxels, so there are no patches and weights to look at; "
                "choose a network"
            )
        )
    if out is not None:
        require_new(Path(out), what="the pictures")
    from cristae.report.shown_patches import draw_shown
    from cristae.training.shown import class_shares, first_patches, whole_slice
    from cristae.training.shown_files import write_shown

    recipe, data = begin_training(first_member(recipe, progress), progress)
    _, locality = make_network(recipe, data.regions.classes)
    with open_cache() as cache:
        prepared = prepare_network_training(recipe, data, locality, cache, progress)
        assert prepared is not None, "only a part of the data can be too little"
        shown = first_patches(prepared.step, prepared.feed, patches)
        classes, place = data.regions.classes, None if out is None else Path(out)
        found = WeightInspection(
            recipe=recipe.name,
            patches=len(shown.places),
            weighted=shown.weight is not None,
            classes=class_shares(shown, prepared.cached, classes),
            statistics=dict(prepared.target_statistics),
            out=place,
        )
        if place is not None:
            one = whole_slice(prepared.step, prepared.cached, flat=recipe.network.ndim == 2)
            with beside(place) as folder:
                folder.mkdir()
                write_bytes(folder / "patches.png", draw_shown(shown, classes, most=_DRAWN))
                write_bytes(folder / "slice.png", draw_shown(one, classes, most=1))
                write_shown(shown, classes, folder, data.regions.voxel_size_nm)
                write_json(folder / "weights.json", found.to_dict())
    return found
