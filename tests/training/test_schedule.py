"""Learning rates against the numbers of the papers, by hand, and as laws."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cristae.training.config import TrainingConfig
from cristae.training.schedule import (
    Constant,
    Cosine,
    KerasDecay,
    LearningRate,
    Linear,
    Plateau,
    Poly,
    Schedule,
    Staircase,
)

EM_STELLAR = Linear(warmup=0.1, updates=20_000, truncated=True)


@pytest.mark.parametrize(
    ("initial", "decay", "update", "rate"),
    [(1e-3, 1e-5, 10_000, 9.090909e-4), (1e-4, 1e-6, 9_310, 9.907759e-5), (2e-3, 1e-5, 14_700, 1.743679e-3)],
)
def test_keras_decay(initial: float, decay: float, update: int, rate: float) -> None:
    """SegET, fact 6."""
    schedule = LearningRate(KerasDecay(decay=decay), initial, 20_000)
    assert schedule.at(update) == pytest.approx(rate, rel=1e-6)
    assert schedule.at(0) == initial


@pytest.mark.parametrize(
    ("step", "rate"), [(1, 5e-7), (2_000, 1e-3), (11_000, 5.05e-4), (20_000, 1e-5), (30_000, 1e-5)]
)
def test_linear_is_em_stellars(step: int, rate: float) -> None:
    """EM-stellar, fact 13.6; its steps count from 1."""
    assert LearningRate(EM_STELLAR, 1e-3, 5_000).at(step - 1) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 1e-3), (2_511, 1e-3), (2_512, 7.5e-4), (5_024, 5.625e-4), (33_119, 2.3757264e-5)]
)
def test_staircase_is_the_platelets(step: int, rate: float) -> None:
    """Dense cell, fact 4."""
    assert LearningRate(Staircase(), 1e-3, 33_120).at(step) == pytest.approx(rate, rel=1e-7)


def test_poly_is_cdeep3ms() -> None:
    """EM-stellar, section 6: lr (1 - it / max)^0.8 from 0.01, over 30,000 iterations."""
    rate = LearningRate(Poly(), 0.01, 30_000)
    assert rate.at(0) == 0.01
    assert rate.at(15_000) == pytest.approx(0.01 * 0.5743491774985175, rel=1e-12)  # 0.5^0.8
    assert rate.at(29_999) == pytest.approx(0.01 * math.exp(0.8 * math.log(1 / 30_000)), rel=1e-9)
    assert rate.at(30_000) == 0


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


def test_a_plateau_lowers_the_rate_to_its_floor_and_in_the_warm_up_too() -> None:
    rate = LearningRate(Plateau(factor=0.1, patience=1, floor=2e-4, warmup=4), 1e-2, 100)
    assert rate.at(99) == 1e-2
    for _ in range(2):
        rate.observe(0.5)
    assert (rate.at(1), rate.at(99)) == (pytest.approx(5e-4), pytest.approx(1e-3))
    rate.observe(0.5)
    assert rate.at(99) == 2e-4


@pytest.mark.parametrize(
    "schedule", [Constant(), Cosine(), Linear(), Poly(), Staircase(), KerasDecay(plateau_patience=None)]
)
def test_only_plateaus_look_at_scores(schedule: Schedule) -> None:
    rate = LearningRate(schedule, 1.0, 10)
    before = [rate.at(update) for update in range(10)]
    for _ in range(9):
        rate.observe(0.0)
    assert [rate.at(update) for update in range(10)] == before


@pytest.mark.parametrize("config", [KerasDecay(plateau_patience=3), Plateau(patience=2)])
def test_a_restored_schedule_goes_on(config: Schedule) -> None:
    one, two = LearningRate(config, 1.0, 10), LearningRate(config, 1.0, 10)
    scores = [0.3, 0.2, 0.1, 0.1, 0.4, 0.1]
    for score in scores[:3]:
        one.observe(score)
    two.restore(one.state())
    for score in scores[3:]:
        one.observe(score)
        two.observe(score)
    assert one.state() == two.state()
    assert one.at(5) == two.at(5) < 1


def test_cosine_rises_and_ends_near_zero() -> None:
    schedule = LearningRate(Cosine(warmup=10), 2.0, 110)
    assert schedule.at(0) == pytest.approx(0.2)
    assert schedule.at(9) == pytest.approx(2.0)
    assert schedule.at(60) == pytest.approx(1.0)
    assert schedule.at(109) < 1e-3


@given(st.integers(1, 400), st.data())
def test_a_cosine_without_options_is_what_it_always_was(total: int, data: st.DataObject) -> None:
    """The rule of earlier versions, to the last bit: 50 updates of warm-up, at most half, then half a cosine to 0."""
    update, warmup = data.draw(st.integers(0, total)), min(50, total // 2)
    if update < warmup:
        expected = 3e-3 * (update + 1) / warmup
    else:
        done = (update - warmup) / max(total - warmup, 1)
        expected = 3e-3 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    assert LearningRate(Cosine(), 3e-3, total).at(update) == expected


SCHEDULES = [
    Constant(warmup=0.25),
    Cosine(warmup=0.25, floor=1e-4),
    KerasDecay(warmup=0.25, decay=1e-3),
    Linear(warmup=0.25, floor=1e-4),
    Plateau(warmup=0.25),
    Poly(warmup=0.25),
    Staircase(warmup=0.25, interval=10.5),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: one.name)
@given(total=st.integers(8, 300))
def test_every_schedule_rises_in_a_line_and_then_never_again(schedule: Schedule, total: int) -> None:
    rate = LearningRate(schedule, 1e-2, total)
    rates = [rate.at(update) for update in range(total)]
    assert rate.warmup == round(total / 4)
    assert rates[: rate.warmup] == pytest.approx([1e-2 * t / rate.warmup for t in range(1, rate.warmup + 1)], rel=1e-12)
    falling = rates[rate.warmup - 1 :]
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(falling))
    assert all(0 < one <= 1e-2 * (1 + 1e-12) for one in rates)


@pytest.mark.parametrize("schedule", [Cosine(floor=1e-4), Linear(floor=1e-4)])
def test_the_floor_is_the_last_rate(schedule: Schedule) -> None:
    assert LearningRate(schedule, 1e-2, 90).at(90) == pytest.approx(1e-4)
    assert LearningRate(schedule, 1e-2, 90).at(2_000) == pytest.approx(1e-4)


def test_a_share_is_one_of_the_schedule_and_not_of_the_training() -> None:
    assert LearningRate(EM_STELLAR, 1e-3, 5_000).warmup == 2_000
    assert LearningRate(Linear(warmup=0.1), 1e-3, 5_000).warmup == 500
    assert LearningRate(Staircase(warmup=0.1), 1e-3, 5_000).warmup == 500


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        (Linear(updates=101), "updates: 101 is more than the 100 updates of the training"),
        (Cosine(updates=1_000), "`truncated: true`"),
        (Linear(updates=200, truncated=True), None),
        (Linear(updates=200, warmup=0.5, truncated=True), "rises for 100 updates, but the training has 100"),
        (Linear(updates=40, warmup=40), "rises for 40 updates, but the schedule has 40"),
        (Linear(updates=40), None),  # goes on at its floor
        (Linear(updates=40, floor=0), "rate is 0 after 40 of the 100 updates"),
        (Poly(updates=89), "rate is 0 after 89"),
        (Poly(updates=95), None),  # within the last epoch
        (Cosine(updates=60, floor=1e-6), None),
        (Constant(warmup=100), "rises for 100 updates, but the training has 100"),
        (Constant(warmup=99), None),
        (Cosine(), None),
        (KerasDecay(), None),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_training_is_told(schedule: Schedule, problem: str | None) -> None:
    told = LearningRate(schedule, 1e-2, 100).problem(10)
    assert told is None if problem is None else problem in str(told)


@pytest.mark.parametrize("total", range(1, 4))
@pytest.mark.parametrize("schedule", [Constant(), Cosine(), KerasDecay(), Linear(), Plateau(), Poly(), Staircase()])
def test_no_training_is_too_short_for_the_defaults(schedule: Schedule, total: int) -> None:
    rate = LearningRate(schedule, 1e-3, total)
    assert rate.problem(1) is None
    assert rate.at(0) > 0


def test_a_floor_above_the_learning_rate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"schedule\.floor: 1e-05 is above learning_rate: 1e-06"):
        TrainingConfig(schedule=Linear(), learning_rate=1e-6)


@pytest.mark.parametrize("warmup", [-1, 1.5, 2_000.5])
def test_a_warm_up_is_whole_updates_or_a_share(warmup: float) -> None:
    with pytest.raises(ValueError, match="warmup"):
        Linear(warmup=warmup)
