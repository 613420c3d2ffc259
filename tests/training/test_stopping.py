"""Rules that end a training early, by the papers' numbers and in a training."""

from pathlib import Path

import pytest
from test_fit import Heard, Notes, same, train_once

from cristae.training.config import TrainingConfig
from cristae.training.stopping import GiveUp, StopRules


@pytest.mark.parametrize(
    ("score", "epoch", "ends"), [(0.29, 9, False), (0.29, 10, True), (0.30, 10, False), (float("nan"), 10, False)]
)
def test_giving_up_is_the_platelets(score: float, epoch: int, ends: bool) -> None:
    """Dense cell, fact 10: epochs from 0, strictly below. Its last line, epoch 39 of 40, is the end of any training."""
    assert GiveUp().holds(score, epoch) is ends
    assert (StopRules(None, GiveUp()).why(epoch + 1, score, 1) is not None) is ends


def test_patience_counts_epochs_after_the_best() -> None:
    rules = StopRules(3, None)
    assert rules.why(6, 0.1, 4) is None
    assert rules.why(7, 0.1, 4) == (
        "stopped early: no epoch after epoch 4 was better, 3 in a row (training.early_stop_patience)"
    )
    assert rules.why(7, 0.1, 0) is None
    assert StopRules(None, None).why(1_000, 0.0, 1) is None


class Told(Heard):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def test_a_training_gives_up_says_so_and_stays_given_up(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=6, give_up=GiveUp(below=0.3, after_epochs=2))
    scores, told = [0.1, 0.2, 0.31, 0.29, 0.9, 0.9], Told()
    notes = Notes(scores)
    stopped = train_once(tmp_path, notes, config=config, progress=told)
    assert [row["epoch"] for row in notes.rows] == [1, 2, 3, 4]
    assert told.said == ["gave up: validation mIoU 0.2900 in epoch 4 is below 0.3 (training.give_up)"]
    again = Notes(scores)
    again.epoch = 4
    assert same(stopped, train_once(tmp_path, again, config=config))
    assert again.rows == []


def test_a_training_that_gave_up_goes_on_by_another_rule(tmp_path: Path) -> None:
    scores = [0.1, 0.2, 0.31, 0.29, 0.9, 0.9]
    train_once(tmp_path, Notes(scores), config=TrainingConfig(epochs=6, give_up=GiveUp(below=0.3, after_epochs=2)))
    for below, patience, epochs in ((0.295, 1, []), (0.295, None, []), (0.28, 2, [5, 6])):
        again = Notes(scores)
        again.epoch = 4
        rules = {"give_up": GiveUp(below=below, after_epochs=2), "early_stop_patience": patience}
        train_once(tmp_path, again, config=TrainingConfig(epochs=6, **rules))
        assert [row["epoch"] for row in again.rows] == epochs


def test_a_training_that_does_well_is_left_alone(tmp_path: Path) -> None:
    notes, told = Notes([0.1, 0.5, 0.5]), Told()
    config = TrainingConfig(epochs=3, give_up=GiveUp(after_epochs=1), early_stop_patience=2)
    train_once(tmp_path, notes, config=config, progress=told)
    assert (len(notes.rows), told.said) == (3, [])
