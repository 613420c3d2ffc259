"""The weights a training starts from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from torch import nn

from cristae.errors import MissingFileError
from cristae.models.pretrained import load_matching
from cristae.progress import Progress
from cristae.recipe.folder import WEIGHTS
from cristae.recipe.recipe import Recipe

_MOST = 0.5
"""Share of the parameters below which a training hardly starts from the file."""


def starting_weights(recipe: Recipe) -> Path:
    """The file that `training.start_from` names, itself or as a run folder.

    Raises:
        MissingFileError: There is no such file.
    """
    path = recipe.folder / (recipe.training.start_from or "")
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        what = f"a run folder with {WEIGHTS}" if path.is_dir() else "a .safetensors file or a run folder"
        raise MissingFileError(f"{recipe.source or recipe.name}: training.start_from: {path} is not {what}")
    return file


def start_from(network: nn.Module, weights: Path, progress: Progress) -> dict[str, Any]:
    """Fill a network with the weights that match, and tell which; warn when most do not.

    Returns:
        What the summary of the run keeps: the file, its hash and what matched.

    Raises:
        CristaeError: The file is damaged, or hardly anything in it matches.
    """
    report = load_matching(network, weights)
    progress.say(f"Starting from {weights}: {report.summary}")
    if report.parameter_share < _MOST:
        progress.warn(
            f"{weights}: fills less than half of the network's parameters; the others start at random. If both should "
            "be the same network, compare the `model` sections of their recipes"
        )
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": str(weights.absolute()), "sha256": digest, **report.to_dict()}
