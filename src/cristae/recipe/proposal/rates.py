"""The learning rate and how it falls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cristae.recipe.proposal.choice import Choice

_SHORT = 5000
_FEW_PATCHES = 4
"""Statistics of fewer patches are too noisy for the larger rate."""


def choose_rates(updates: int, batch_norm: bool, batch: int) -> Choice[Mapping[str, Any]]:
    """Half a cosine over the whole training, from 2e-3 where a network with batch normalisation sees four patches or
    more at once and has fewer than 5,000 updates to learn in, otherwise from 1e-3.

    Args:
        updates: In all.
        batch_norm: Whether the network has batch normalisation, which bears larger rates.
        batch: Patches that are seen at once.
    """
    quick = batch_norm and updates < _SHORT and batch >= _FEW_PATCHES
    fields = {"learning_rate": 2e-3 if quick else 1e-3, "schedule": {"name": "cosine"}}
    return Choice(fields, "falls to 0 along half a cosine, however long the training is")
