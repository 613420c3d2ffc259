"""Parameters that learn at another rate, or shrink by another weight decay, than the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, NonNegativeFloat
from torch import nn

from cristae.config import Config
from cristae.errors import RecipeError

KINDS = ("bias", "norm", "kernel")
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_SHOWN = 6


class ParameterGroup(Config):
    """Factors for some of a network's parameters."""

    match: Annotated[str, Field(min_length=1)]
    """`norm`: scales and shifts of normalisations; `bias`: all other biases; `kernel`: weights of convolutions and
    linear layers. Or a pattern of parameter names, such as `encoder.*` or `*.ups.[1-4].bias`."""
    learning_rate_factor: NonNegativeFloat = 1.0
    """Times the learning rate of each update; 0 freezes the parameters."""
    weight_decay_factor: NonNegativeFloat = 1.0
    """Times `training.weight_decay`; 0 exempts the parameters."""


@dataclass(frozen=True, eq=False)
class Parameters:
    """Some parameters of a network and the factors they have in common."""

    names: tuple[str, ...]
    values: tuple[nn.Parameter, ...]
    learning_rate_factor: float = 1.0
    weight_decay_factor: float = 1.0


def group_parameters(network: nn.Module, groups: Sequence[ParameterGroup]) -> tuple[Parameters, ...]:
    """The parameters of a network by group, the rest last; each belongs to the first group that it matches.

    Raises:
        RecipeError: A group is empty, or everything is frozen; it begins with the field of the recipe.
    """
    left = {name: (kind, value) for name, kind, value in _kinds(network)}
    found = []
    for number, group in enumerate(groups):
        mine = {name: value for name, (kind, value) in left.items() if _matches(group.match, name, kind)}
        if not mine:
            raise RecipeError(f"training.groups.{number}.match: {_why_empty(group.match, network, groups[:number])}")
        left = {name: one for name, one in left.items() if name not in mine}
        factors = group.learning_rate_factor, group.weight_decay_factor
        found.append(Parameters(tuple(mine), tuple(mine.values()), *factors))
    if left:
        found.append(Parameters(tuple(left), tuple(value for _, value in left.values())))
    if all(group.learning_rate_factor == 0 for group in found):
        raise RecipeError("training.groups: every parameter has a learning_rate_factor of 0: nothing would be learnt")
    return tuple(found)


def _kinds(network: nn.Module) -> Iterator[tuple[str, str, nn.Parameter]]:
    """Each parameter with its name and its kind; '' is none of the three, such as the slopes of a PReLU."""
    norms = {id(value) for module in network.modules() if isinstance(module, _NORMS) for value in module.parameters()}
    for name, value in network.named_parameters():
        own, kind = name.rpartition(".")[2], ""
        if id(value) in norms:
            kind = "norm"
        elif own.endswith("bias"):
            kind = "bias"
        elif own.endswith("weight") and value.ndim > 1:
            kind = "kernel"
        yield name, kind, value


def _matches(match: str, name: str, kind: str) -> bool:
    return match == kind if match in KINDS else fnmatchcase(name, match)


def _why_empty(match: str, network: nn.Module, earlier: Sequence[ParameterGroup]) -> str:
    if any(_matches(match, name, kind) for name, kind, _ in _kinds(network)):
        return (
            f"all that '{match}' matches belongs to the groups before it ({', '.join(one.match for one in earlier)}), "
            "and the first match wins; put it before them"
        )
    if match in KINDS:
        return f"the network has no parameter of kind '{match}'"
    names = [name for name, _ in network.named_parameters()]
    shown = get_close_matches(match, names, n=_SHOWN, cutoff=0.5) or names[:: -(-len(names) // _SHOWN)]
    return (
        f"no parameter is called '{match}'; it is one of {', '.join(KINDS)}, or a pattern of names such as "
        f"{', '.join(shown)} ({len(names)} in all; * stands for any letters)"
    )
