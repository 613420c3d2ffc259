"""Where patches come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.facts import DataFacts
from cristae.recipe.proposal.loss import percent

_EVERYWHERE, _COMMON = 0.15, 0.02


def choose_sampling(facts: DataFacts) -> Choice[Mapping[str, Any]]:
    """Patches anywhere where every class is common (15 % or more), otherwise a third around a class drawn evenly, or
    two thirds where one has less than 2 %. Never more: what is not a structure has to be learned, too."""
    rarest = facts.rarest
    if rarest is None:
        return Choice({"name": "random", "foreground_share": 0.5}, "half of the patches around foreground")
    what = f"{rarest.name}{', the rarest class,' if len(facts.classes) > 1 else ''} has {percent(rarest.share)} of "
    what += facts.seen
    if rarest.share >= _EVERYWHERE:
        return Choice({"name": "random", "foreground_share": 0}, f"{what}: patches fall anywhere")
    if rarest.share >= _COMMON:
        return Choice({"name": "random", "foreground_share": 0.33}, f"{what}: a third of the patches is around a class")
    why = f"{what}: two thirds of the patches are around a class, each class as often"
    return Choice({"name": "random", "foreground_share": 0.67}, why)
