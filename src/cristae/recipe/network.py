"""The network that a recipe starts from: drawn from its seed, or filled with weights that are there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cristae.errors import CristaeError, MissingFileError, NetworkError
from cristae.inference.application import choose_application
from cristae.inference.locality import Locality, measure_locality
from cristae.models.external import ExternalConfig, prove_own
from cristae.models.form import NetworkConfig
from cristae.models.pretrained import load_matching
from cristae.progress import Progress
from cristae.recipe.folder import WEIGHTS
from cristae.recipe.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

_MOST = 0.5
"""Fraction of the parameters below which a training hardly starts from the file."""
_MEASURED: dict[tuple[NetworkConfig, int], Locality] = {}
"""What this process has found, by network and channels: a check, a training and its folds ask for the same."""


def build_network(recipe: Recipe, n_logits: int, *, weights: bool = True) -> tuple[nn.Module, Locality]:
    """A network with random weights from the recipe's seed, and how far it sees.

    Args:
        recipe: Checked and complete.
        n_logits: Channels of its output (`Classes.n_logits`).
        weights: Draw weights; else the network is one of shapes alone (PyTorch's device 'meta'), which is made in no
            time, save where it is a network of one's own.

    Raises:
        NetworkError: It cannot be built, has nothing to train, or is not what its config says.
        RunError: The recipe wants it to be applied exactly, which it cannot be.
    """
    import torch

    channels = recipe.in_channels
    prove_own(recipe.model, in_channels=channels, out_channels=n_logits)
    torch.manual_seed(recipe.seed)
    try:
        with nullcontext() if weights or isinstance(recipe.model, ExternalConfig) else torch.device("meta"):
            network = recipe.network.build(channels, n_logits)
    except RuntimeError as error:
        raise NetworkError(
            recipe.problem(
                "model: the network cannot be built, most likely because it is too large for the memory "
                f"({str(error).splitlines()[0][:160]}); choose smaller widths"
            )
        ) from None
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise NetworkError(recipe.problem("model: the network has no parameters to train"))
    locality = locality_of(network, recipe)
    choose_application(recipe.predict, recipe.network, locality)  # raises now what prediction would raise later
    return network, locality


def locality_of(network: nn.Module, recipe: Recipe) -> Locality:
    """How far the network of a recipe sees; it is not local where its input is made of whole patches."""
    found = _measured(network, recipe)
    reason = recipe.network_input.whole_patch
    return found if reason is None else replace(found, local=False, reason=reason)


def _measured(network: nn.Module, recipe: Recipe) -> Locality:
    if isinstance(recipe.model, ExternalConfig):  # code of one's own may change meanwhile
        return measure_locality(network, recipe.network, in_channels=recipe.in_channels)
    key = (recipe.network, recipe.in_channels)
    if key not in _MEASURED:
        _MEASURED[key] = measure_locality(network, recipe.network, in_channels=recipe.in_channels)
    return _MEASURED[key]


def starting_weights(recipe: Recipe) -> Path:
    """The file that `training.start_from` names, itself or as a run folder.

    Raises:
        MissingFileError: There is no such file.
    """
    path = recipe.folder / (recipe.training.start_from or "")
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        what = f"a run folder with {WEIGHTS}" if path.is_dir() else "a .safetensors file or a run folder"
        raise MissingFileError(recipe.problem(f"training.start_from: {path} is not {what}"))
    return file


def weights_at_start(
    network: nn.Module, recipe: Recipe, facts: Mapping[str, Any], *, resumed: bool
) -> dict[str, Tensor] | None:
    """Copies of the parameters that a training began with, for one that starts from weights or has groups.

    Args:
        network: As it is before the first step of a session.
        recipe: What is trained.
        facts: What `start_from` gave, of the first session.
        resumed: Whether a checkpoint will replace the network's weights, which are random ones so far.

    Returns:
        By name, on the CPU; None where nobody asks for them, or the file they came from is gone or has changed.
    """
    training = recipe.training
    if training.start_from is None and not training.groups:
        return None
    if resumed and training.start_from is not None:
        try:
            weights = starting_weights(recipe)
            if _digest(weights) != facts["start_from"]["sha256"]:
                return None
            network = deepcopy(network)
            load_matching(network, weights)
        except (CristaeError, OSError, KeyError):  # it costs a table of the page, and nothing else
            return None
    return {name: value.detach().cpu().clone() for name, value in network.named_parameters()}


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
    return {"path": str(weights.absolute()), "sha256": _digest(weights), **report.to_dict()}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
