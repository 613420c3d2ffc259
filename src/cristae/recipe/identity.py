"""What makes a run the same run: its id, and what may change when it is resumed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from cristae.classical.config import RandomForestConfig, without_later_settings
from cristae.config import without
from cristae.errors import RunError
from cristae.recipe.anchor import anchored
from cristae.recipe.folder import RECIPE
from cristae.recipe.load import load_run_recipe
from cristae.recipe.recipe import Recipe
from cristae.recipe.text import diff_recipes, plain
from cristae.training.config import without_later_fields

_MAY_CHANGE = (
    "device",
    "predict.postprocess",
    "training.checkpoint_minutes",
    "training.early_stop_patience",
    "training.epochs",
    "training.give_up",
    "training.reader_threads",
    "training.track",
)
"""What may change when a training is resumed: the run keeps its id."""
_MAY_CHANGE_OF_STUDY = {"folds": "only", "instances": "best"}
"""What may change when a study is resumed, in sections that it may lack."""
_LATER = {"folds": None, "instances": None}
_LATER_OF_FOLDS = {"nested": False, "at_most": 5}
_LATER_OF_VOLUMES = {"sample": None, "samples": None, "second_labels": None}
_LATER_OF_PREDICT = {"test_time": "none", "bridge": False}
"""Fields that earlier versions did not have; at these values they do not change a run's id."""


def run_id(recipe: Recipe) -> str:
    """A run's id: the recipe's name and eight hexadecimal digits of its content."""
    content = without(plain(anchored(recipe)), _LATER)
    for path in _MAY_CHANGE:
        *sections, field = path.split(".")
        part = content
        for section in sections:
            part = part[section]
        part.pop(field)
    for section, field in _MAY_CHANGE_OF_STUDY.items():
        if section in content:
            content[section][field] = None  # which earlier versions wrote
    if "folds" in content:
        content["folds"] = without(content["folds"], _LATER_OF_FOLDS)
    content["data"]["volumes"] = [without(volume, _LATER_OF_VOLUMES) for volume in content["data"]["volumes"]]
    content["predict"] = without(content["predict"], _LATER_OF_PREDICT)
    content["training"] = without_later_fields(content["training"])
    if isinstance(recipe.model, RandomForestConfig):
        content["model"] = without_later_settings(content["model"])
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{recipe.name}-{digest[:8]}"


def require_same(path: Path, recipe: Recipe) -> None:
    """Make sure that a run folder was made from a recipe, but for what may change.

    Args:
        path: The folder.
        recipe: With absolute paths, see `anchored`.

    Raises:
        RunError: It was not; the message says what differs, and how to resume it.
    """
    fields = (*_MAY_CHANGE, *(f"{section}.{field}" for section, field in _MAY_CHANGE_OF_STUDY.items()))
    there, may_change = load_run_recipe(path / RECIPE), tuple(f"{field}." for field in fields)
    changed = [one for one in diff_recipes(there, recipe) if not f"{one.path}.".startswith(may_change)]
    if changed:
        lines = "\n".join(f"  {one}" for one in changed[:8])
        raise RunError(
            f"{path}: holds a run of another recipe; to resume it, repeat the --set of the command that began it, or "
            f"take its own recipe: `cristae train {path / RECIPE} --out {path} --resume`; for a new run choose another "
            f"folder with --out. What differs:\n{lines}"
        )
