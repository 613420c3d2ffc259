"""Parameters that learn at another rate, or shrink by another weight decay, than the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator
from torch import nn

from cristae.config import Config
from cristae.errors import RecipeError
from cristae.models.encoder import encoder_stages

ENCODER = "encoder"
KINDS = ("bias", "norm", "kernel", ENCODER)
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_SHOWN = 6


class ParameterGroup(Config):
    """Factors for some of a network's parameters."""

    match: Annotated[str, Field(min_length=1)]
    """`encoder`: all of the network's encoder, its stem included; `norm`: scales and shifts of normalisations; `bias`:
    all other biases; `kernel`: weights of convolutions and linear layers. Or a pattern of parameter names, such as
    `decoder.*` or `*.ups.[1-4].bias`."""
    learning_rate_factor: NonNegativeFloat = 1.0
    """Times the learning rate of each update; 0 freezes the parameters."""
    weight_decay_factor: NonNegativeFloat = 1.0
    """Times `training.weight_decay`; 0 exempts the parameters."""
    frozen_epochs: NonNegativeInt = 0
    """The parameters stay as they are in this many first epochs, and learn afterwards (gradual unfreezing)."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """For `encoder`: the learning rate of each stage is this times that of the next one, the last stage having this
    times the group's (Howard and Ruder 2018, https://arxiv.org/abs/1801.06146: 1 / 2.6)."""

    @model_validator(mode="after")
    def _has_an_effect(self) -> ParameterGroup:
        if self.frozen_epochs and not self.learning_rate_factor:
            raise ValueError("frozen_epochs: a learning_rate_factor of 0 freezes for good; leave one of the two out")
        if self.layer_decay != 1 and self.match != ENCODER:
            raise ValueError(f"layer_decay: needs `match: encoder`, whose stages have an order, got '{self.match}'")
        return self


@dataclass(frozen=True, eq=False)
class Parameters:
    """Some parameters of a network and the factors they have in common."""

    names: tuple[str, ...]
    values: tuple[nn.Parameter, ...]
    learning_rate_factor: float = 1.0
    weight_decay_factor: float = 1.0
    frozen_epochs: int = 0

    def learns(self, epoch: int) -> bool:
        """Whether they change in epoch `epoch`, from 0."""
        return self.learning_rate_factor > 0 and epoch >= self.frozen_epochs


def group_parameters(network: nn.Module, groups: Sequence[ParameterGroup]) -> tuple[Parameters, ...]:
    """The parameters of a network by group, the rest last; each belongs to the first group that it matches.

    A group with a layer decay becomes one for each stage of the encoder, the first of them first.

    Raises:
        RecipeError: A group is empty, or everything is frozen; it begins with the field of the recipe.
    """
    left = {name: (kinds, value) for name, kinds, value in _kinds(network)}
    stages = encoder_stages(left)
    found = []
    for number, group in enumerate(groups):
        mine = {name: value for name, (kinds, value) in left.items() if _matches(group.match, name, kinds)}
        if not mine:
            raise RecipeError(f"training.groups.{number}.match: {_why_empty(group.match, network, groups[:number])}")
        left = {name: one for name, one in left.items() if name not in mine}
        found += _with_layer_decay(group, mine, list(stages.values()))
    if left:
        found.append(Parameters(tuple(left), tuple(value for _, value in left.values())))
    if all(group.learning_rate_factor == 0 for group in found):
        raise RecipeError("training.groups: every parameter has a learning_rate_factor of 0: nothing would be learnt")
    if not any(group.learns(0) for group in found):
        raise RecipeError(
            "training.groups: every parameter is frozen in the first epoch: nothing would be learnt in it"
        )
    return tuple(found)


def _with_layer_decay(
    group: ParameterGroup, mine: dict[str, nn.Parameter], stages: Sequence[Sequence[str]]
) -> list[Parameters]:
    """The parameters of a group, or of each stage of the encoder where they learn at different rates."""
    parts = [tuple(mine)]
    if group.layer_decay != 1:
        parts = [tuple(name for name in stage if name in mine) for stage in stages]
    return [
        Parameters(
            names,
            tuple(mine[name] for name in names),
            group.learning_rate_factor * group.layer_decay ** (len(parts) - number if group.layer_decay != 1 else 0),
            group.weight_decay_factor,
            group.frozen_epochs,
        )
        for number, names in enumerate(parts)
        if names
    ]


def _kinds(network: nn.Module) -> Iterator[tuple[str, tuple[str, ...], nn.Parameter]]:
    """Each parameter with its name and its kinds; the slopes of a PReLU, for one, have none."""
    stages = encoder_stages(name for name, _ in network.named_parameters())
    encoder = {name for stage in stages.values() for name in stage}
    norms = {id(value) for module in network.modules() if isinstance(module, _NORMS) for value in module.parameters()}
    for name, value in network.named_parameters():
        own, kind = name.rpartition(".")[2], ""
        if id(value) in norms:
            kind = "norm"
        elif own.endswith("bias"):
            kind = "bias"
        elif own.endswith("weight") and value.ndim > 1:
            kind = "kernel"
        yield name, (kind, ENCODER if name in encoder else ""), value


def _matches(match: str, name: str, kinds: Sequence[str]) -> bool:
    return match in kinds if match in KINDS else fnmatchcase(name, match)


def _why_empty(match: str, network: nn.Module, earlier: Sequence[ParameterGroup]) -> str:
    if any(_matches(match, name, kinds) for name, kinds, _ in _kinds(network)):
        return (
            f"all that '{match}' matches belongs to the groups before it ({', '.join(one.match for one in earlier)}), "
            "and the first match wins; put it before them"
        )
    if match == ENCODER:
        parts = ", ".join(f"{name}.*" for name, _ in network.named_children())
        return f"no part of the network is called an encoder; name its parts by patterns, which are {parts}"
    if match in KINDS:
        return f"the network has no parameter of kind '{match}'"
    names = [name for name, _ in network.named_parameters()]
    shown = get_close_matches(match, names, n=_SHOWN, cutoff=0.5) or names[:: -(-len(names) // _SHOWN)]
    return (
        f"no parameter is called '{match}'; it is one of {', '.join(KINDS)}, or a pattern of names such as "
        f"{', '.join(shown)} ({len(names)} in all; * stands for any letters)"
    )
