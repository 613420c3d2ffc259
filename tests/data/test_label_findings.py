"""Small moves of labels count only where the image explains them better after it."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest

from cristae.data.alignment import Alignment
from cristae.data.label_findings import _Judged
from cristae.data.turned import Turn


def judged(turn: Turn | None, explained: float, best: float) -> _Judged:
    known: dict[str, Any] = {"turn": turn, "explained": explained, "explained_best": best}
    alignment = Alignment(**{field.name: known.get(field.name) for field in fields(Alignment)})
    return _Judged(SimpleNamespace(), 0, SimpleNamespace(), None, alignment)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("turn", "explained", "best", "moved"),
    [
        (Turn(shift=(0, 3, 0)), 0.0291, 0.0308, False),  # synapses of a published set, which lie where they should
        (Turn(shift=(0, 3, 0)), 0.20, 0.30, True),
        (Turn(shift=(0, 4, 0)), 0.0291, 0.0308, True),
        (Turn(shift=(1, 0, 0)), 0.0291, 0.0308, True),
        (Turn(mirrored=(False, True, False)), 0.0291, 0.0308, True),
    ],
)
def test_a_small_move_has_to_gain(turn: Turn, explained: float, best: float, moved: bool) -> None:
    one = judged(turn, explained, best)
    assert one.turn == (turn if moved else Turn())


def test_what_cannot_be_told_stays_so() -> None:
    assert judged(None, 0.1, 0.1).turn is None
