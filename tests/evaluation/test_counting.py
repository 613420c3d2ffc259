"""Counting that is stopped in the middle of a piece: what is kept holds whole pieces only."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cristae.evaluation.scoring.counting import count_all
from cristae.evaluation.scoring.ledger import Arrays, Ledger
from cristae.metrics.score import Score
from cristae.progress import Progress


class Adding:
    """Adds up its pieces in place, two halves each."""

    title = "Adding"
    preparations = 0
    pieces: Sequence[Any] = (1, 10, 100, 1000)

    def __init__(self, stop_at: int | None = None) -> None:
        self.total = np.zeros(1)
        self.stop_at = stop_at

    def prepare(self, advance: Callable[[], None]) -> None:
        """Nothing."""

    def measure(self, piece: int) -> float:
        return piece / 2

    def add(self, counted: float) -> None:
        self.total += counted
        if self.stop_at is not None and counted == self.stop_at / 2:
            raise KeyboardInterrupt
        self.total += counted

    def arrays(self) -> Arrays:
        return {"total": self.total}

    def restore(self, arrays: Arrays) -> None:
        self.total = arrays["total"].copy()

    @staticmethod
    def rows(volume: str, parts: Sequence[Any]) -> Iterator[Score]:
        yield from ()


def test_half_a_piece_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cristae.evaluation.scoring.ledger.SAVE_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        count_all({"adding": Adding(stop_at=100)}, Ledger.at(tmp_path / "kept.npz", "key"), Progress())

    kept, again = Ledger.at(tmp_path / "kept.npz", "key"), Adding()
    assert kept.done == {"adding": 2}
    count_all({"adding": again}, kept, Progress())

    assert again.total == 1111
