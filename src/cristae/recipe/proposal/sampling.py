"""Where patches come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.facts import DataFacts
from cristae.recipe.proposal.loss import percent

_EVERYWHERE, _COMMON, _SCARCE = 0.15, 0.02, 0.002


def choose_sampling(facts: DataFacts) -> Choice[Mapping[str, Any]]:
    """Patches anywhere where every class is common (15 % or more), otherwise some around each class in turn; from an
    index of their voxels where one is very rare (below 0.2 %)."""
    rarest = facts.rarest
    if rarest is None:
        return Choice({"name": "random", "foreground_share": 0.5}, "half of the patches around foreground")
    what = f"{rarest.name}{', the rarest class,' if len(facts.classes) > 1 else ''} has {percent(rarest.share)} of "
    what += facts.seen
    if rarest.share >= _EVERYWHERE:
        return Choice({"name": "random", "foreground_share": 0}, f"{what}: patches fall anywhere")
    if rarest.share >= _COMMON:
        return Choice({"name": "random", "foreground_share": 0.33}, f"{what}: a third of the patches is around a class")
    if rarest.share >= _SCARCE:
        why = f"{what}: two thirds of the patches are around a class, each class as often"
        return Choice({"name": "random", "foreground_share": 0.67}, why)
    why = f"{what}: four patches of five are around a listed voxel of a class, so that all of them are seen"
    return Choice({"name": "indexed", "uniform_share": 0.2}, why)
