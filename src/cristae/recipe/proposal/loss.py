"""What training minimises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.facts import DataFacts

RARE = 0.01
"""A class with fewer of the voxels is rare."""


def choose_loss(facts: DataFacts) -> Choice[Mapping[str, Any]]:
    """Cross-entropy with a term of overlap: soft Dice, or Tversky where the one class is rare, so that what is missed
    costs more than what is too much."""
    usual: Mapping[str, Any] = {"name": "cross_entropy_dice"}
    rarest = facts.rarest
    if rarest is None:
        return Choice(usual, "cross-entropy and soft Dice, the everyday loss")
    share = f"{rarest.name} has {percent(rarest.share)} of {facts.seen}"
    if len(facts.classes) == 1 and rarest.share < RARE:
        entropy = "binary_cross_entropy" if facts.background else "cross_entropy"
        terms = [{"name": entropy}, {"name": "tversky", "false_positives": 0.4, "false_negatives": 0.6}]
        return Choice(
            {"name": "sum", "terms": terms}, f"{share}: cross-entropy and Tversky, by which misses cost the most"
        )
    if len(facts.classes) > 1 and rarest.share < RARE:
        return Choice(usual, f"{share}, the rarest: soft Dice counts each class as much as the others")
    if any(one.thin for one in facts.classes):
        thin = next(one for one in facts.classes if one.thin)
        return Choice(
            usual,
            f"{thin.name} is drawn in lines about {thin.width_vox:.0f} voxels wide: soft Dice counts their overlap",
        )
    return Choice(usual, f"{share}{', the rarest' if len(facts.classes) > 1 else ''}: cross-entropy and soft Dice")


def percent(share: float) -> str:
    """A share with two digits that matter, such as '6.2 %' or '0.018 %'."""
    return f"{100 * share:.2g} %" if share < 0.1 else f"{share:.0%}".replace("%", " %")
