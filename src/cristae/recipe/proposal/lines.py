"""A proposal as the lines of a recipe, each choice with its reason above it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.draft import Draft
from cristae.recipe.proposal.length import HEADROOM, Length
from cristae.recipe.proposal.propose import Proposal
from cristae.recipe.proposal.rates import choose_rates
from cristae.recipe.text import scalar_to_yaml

_WIDTH, _FEW_FIELDS = 118, 2
_UNMEASURED_EPOCHS, _UNMEASURED_STEPS = 30, 50
"""Epochs, and steps of one, as hand-made recipes have them."""


def method_lines(proposal: Proposal) -> list[str]:
    """All of a recipe but its name and its data."""
    return _lines(proposal.draft, proposal.length, _about_length(proposal))


def draft_lines(draft: Draft) -> list[str]:
    """The same of a draft, for a recipe that is only measured."""
    return _lines(draft, None, "")


def _lines(draft: Draft, length: Length | None, about_length: str) -> list[str]:
    patches = (_UNMEASURED_STEPS if length is None else length.steps) * draft.batch.value
    sampling: dict[str, Any] = {
        "name": draft.sampling.value["name"],
        "size": [*draft.size.value],
        "per_epoch": patches,
        **{key: value for key, value in draft.sampling.value.items() if key != "name"},
    }
    return [
        *_section("normalize", draft.normalize),
        "",
        *comment(draft.size.reason),
        *_section("sampling", Choice(sampling, draft.sampling.reason)),
        "",
        *_section("augment", draft.augment),
        "",
        *_section("model", draft.model),
        "",
        *_section("loss", draft.loss),
        "",
        *comment(about_length),
        *_training(draft, length),
    ]


def comment(text: str, indent: str = "") -> list[str]:
    """A reason as comment lines."""
    if not text:
        return []
    end = "" if text.endswith((".", "?", "`")) else "."
    return textwrap.wrap(
        f"{text}{end}", _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
    )


def flow(value: Any) -> str:
    """Any value of a recipe in one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{scalar_to_yaml(key)}: {flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(flow, value))}]"
    return scalar_to_yaml(value)


def _section(name: str, choice: Choice[Any]) -> list[str]:
    """A part of the recipe, its reason above."""
    line = f"{name}: {flow(choice.value)}"
    if isinstance(choice.value, Mapping) and len(choice.value) <= _FEW_FIELDS and name != "model":
        return [*comment(choice.reason), line]
    return [*comment(choice.reason), f"{name}:", *_fields(choice.value)]


def _fields(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"  {key}: {flow(item)}" for key, item in value.items()]
    return [f"  - {flow(item)}" for item in value]


def _training(draft: Draft, length: Length | None) -> list[str]:
    updates = _UNMEASURED_EPOCHS * _UNMEASURED_STEPS if length is None else length.updates
    rates = choose_rates(updates, draft.batch_norm, draft.batch.value)
    fields: dict[str, Any] = {
        "epochs": _UNMEASURED_EPOCHS if length is None else length.epochs,
        "batch_size": draft.batch.value,
        **rates.value,
    }
    if length is not None and length.validation_batches is not None:
        fields["validation"] = {"name": "patches", "batches": length.validation_batches, "augment": False}
    return [*comment(draft.batch.reason), "training:", *_fields(fields)]


def _about_length(proposal: Proposal) -> str:
    measured, length, batch = proposal.measured, proposal.length, proposal.draft.batch.value
    if measured is None or length is None:
        return "not measured: `cristae doctor` on this recipe says how long the training takes on a machine"
    all_steps = int(60 * proposal.minutes * HEADROOM / measured.seconds_per_step)
    return (
        f"one step of {batch} patches took {measured.seconds_per_step:.2g} s here ({proposal.machine.text}): "
        f"{proposal.minutes:g} minutes are {all_steps:,} steps, {length.updates:,} beside {_validation(length)}. More "
        "minutes: more epochs"
    )


def _validation(length: Length) -> str:
    share = round(100 * length.validation_seconds / length.seconds)
    return f"validation, which takes {share} % of the time"
