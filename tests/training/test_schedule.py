"""Learning rates against SegET's numbers and by hand."""

import pytest

from cristae.training.schedule import Cosine, KerasDecay, LearningRate


@pytest.mark.parametrize(
    ("initial", "decay", "update", "rate"),
    [(1e-3, 1e-5, 10_000, 9.090909e-4), (1e-4, 1e-6, 9_310, 9.907759e-5), (2e-3, 1e-5, 14_700, 1.743679e-3)],
)
def test_keras_decay(initial: float, decay: float, update: int, rate: float) -> None:
    schedule = LearningRate(KerasDecay(decay=decay), initial, 20_000)
    assert schedule.at(update) == pytest.approx(rate, rel=1e-6)
    assert schedule.at(0) == initial


def test_plateau_and_decay_compose() -> None:
    schedule = LearningRate(KerasDecay(decay=1e-3, plateau_factor=0.5, plateau_patience=2), 1.0, 100)
    for score in (0.5, 0.4, 0.5):
        schedule.observe(score)
    assert schedule.at(1000) == pytest.approx(0.5 / 2)
    schedule.observe(0.6)
    schedule.observe(float("nan"))
    assert schedule.at(0) == 0.5
    schedule.observe(0.1)
    assert schedule.at(0) == 0.25


def test_a_restored_schedule_goes_on() -> None:
    config = KerasDecay(plateau_patience=3)
    one, two = LearningRate(config, 1.0, 10), LearningRate(config, 1.0, 10)
    scores = [0.3, 0.2, 0.1, 0.1, 0.4, 0.1]
    for score in scores[:3]:
        one.observe(score)
    two.restore(one.state())
    for score in scores[3:]:
        one.observe(score)
        two.observe(score)
    assert one.state() == two.state()


def test_cosine_rises_and_ends_near_zero() -> None:
    schedule = LearningRate(Cosine(warmup=10), 2.0, 110)
    assert schedule.at(0) == pytest.approx(0.2)
    assert schedule.at(9) == pytest.approx(2.0)
    assert schedule.at(60) == pytest.approx(1.0)
    assert schedule.at(109) < 1e-3
