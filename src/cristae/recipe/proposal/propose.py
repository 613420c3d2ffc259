"""A method whose training was measured and fits into memory and into the minutes that there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cristae.errors import RecipeError
from cristae.recipe.proposal.draft import Draft, choose_draft
from cristae.recipe.proposal.facts import DataFacts, Machine, Measured
from cristae.recipe.proposal.length import HEADROOM, Length, plan_length
from cristae.words import memory

_FEW_UPDATES = 400
"""A U-Net of the usual width has hardly begun to learn after fewer. Half as many patches make steps twice as quick;
half the width alone does not."""
_REVISIONS = 4


@dataclass(frozen=True)
class Proposal:
    """A method, and how long its training is."""

    draft: Draft
    machine: Machine
    minutes: float
    measured: Measured | None = None
    """None where nothing was measured."""
    length: Length | None = None


def propose(
    facts: DataFacts, machine: Machine, minutes: float, measure: Callable[[Draft], Measured] | None = None
) -> Proposal:
    """Choose a method by rules, then measure some steps of its training, at most five times.

    Args:
        facts: Of the data.
        machine: Where the training will run.
        minutes: How long it may take, validation included.
        measure: Takes some steps of the training of a draft. None leaves the length open.

    Raises:
        RecipeError: The minutes are not enough for one epoch, or the memory for one step.
        CristaeError: What `measure` raises.
    """
    draft = choose_draft(facts, machine, minutes)
    if measure is None:
        return Proposal(draft, machine, minutes)
    measured = measure(draft).whole(facts)
    for _ in range(_REVISIONS):
        other = _revised(draft, measured, machine, minutes)
        if other is None:
            break
        draft, measured = other, measure(other).whole(facts)
    if measured.peak_bytes > machine.memory_bytes:
        raise RecipeError(
            f"no training of this kind fits into {memory(machine.memory_bytes)} of memory: batches of "
            f"{draft.batch.value} patches need more; give a larger --max-ram, or --no-measure for a recipe that is "
            "trained on another machine"
        )
    return Proposal(draft, machine, minutes, measured, plan_length(minutes, measured))


def _revised(draft: Draft, measured: Measured, machine: Machine, minutes: float) -> Draft | None:
    """What is better by what was measured; None where the draft is good."""
    if measured.peak_bytes > machine.memory_bytes:
        held = f"larger steps held {memory(measured.peak_bytes)} of the {memory(machine.memory_bytes)} that may be used"
        return draft.smaller(held)
    updates = 60 * minutes * HEADROOM / max(measured.seconds_per_step, 1e-6)
    if updates < _FEW_UPDATES:
        return draft.smaller(f"a step of {draft.batch.value} patches took {measured.seconds_per_step:.2g} s here")
    return None
