"""The network that a recipe starts from: drawn from its seed, or filled with weights that are there."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cristae.errors import MissingFileError, NetworkError
from cristae.inference.application import choose_application
from cristae.inference.locality import Locality, measure_locality
from cristae.models.external import prove_own
from cristae.models.pretrained import load_matching
from cristae.progress import Progress
from cristae.recipe.folder import WEIGHTS
from cristae.recipe.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

_MOST = 0.5
"""Fraction of the parameters below which a training hardly starts from the file."""


def build_network(recipe: Recipe, n_logits: int) -> tuple[nn.Module, Locality]:
    """A network with random weights from the recipe's seed, and how far it sees.

    Args:
        recipe: Checked and complete.
        n_logits: Channels of its output (`Classes.n_logits`).

    Raises:
        NetworkError: It cannot be built, has nothing to train, or is not what its config says.
        RunError: The recipe wants it to be applied exactly, which it cannot be.
    """
    import torch

    channels = recipe.in_channels
    prove_own(recipe.model, in_channels=channels, out_channels=n_logits)
    torch.manual_seed(recipe.seed)
    try:
        network = recipe.network.build(channels, n_logits)
    except RuntimeError as error:
        raise NetworkError(
            f"{recipe.source or recipe.name}: model: the network cannot be built, most likely because it is too large "
            f"for the memory ({str(error).splitlines()[0][:160]}); choose smaller widths"
        ) from None
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise NetworkError(f"{recipe.source or recipe.name}: model: the network has no parameters to train")
    locality = locality_of(network, recipe)
    choose_application(recipe.predict, recipe.network, locality)  # raises now what prediction would raise later
    return network, locality


def locality_of(network: nn.Module, recipe: Recipe) -> Locality:
    """How far the network of a recipe sees; it is not local where its input is made of whole patches."""
    found = measure_locality(network, recipe.network, in_channels=recipe.in_channels)
    reason = recipe.network_input.whole_patch
    return found if reason is None else replace(found, local=False, reason=reason)


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
    """Fill a network with the weights that match, and report which; warn when most do not.

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
