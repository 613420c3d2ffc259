"""Learning rates as plain functions of the update and of the validation scores seen so far.

A schedule begins with its warm-up, a linear rise to the recipe's learning rate; its own shape counts updates from the
end of the warm-up, and its length holds both.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from cristae.config import Config

Fraction = Annotated[float, Field(gt=0, lt=1)]
WarmUp = NonNegativeInt | Fraction
"""A number of updates or, below 1, a share of the schedule."""


class ScheduleConfig(Config):
    """How the learning rate changes after its warm-up."""

    warmup: WarmUp = 0
    """Updates of a linear rise before the schedule or, below 1, the share of the whole that they are."""

    @property
    def updates_in_all(self) -> int | None:
        """Its length with its warm-up, if it has one of its own."""
        return None

    @property
    def on_plateau(self) -> tuple[float, int] | None:
        """By what the learning rate is multiplied after how many epochs without a better score, if at all."""
        return None

    @property
    def spans_training(self) -> bool:
        """Whether a longer training changes the rates of its first updates."""
        return isinstance(self.warmup, float)

    @abstractmethod
    def rate(self, peak: float, update: int, length: int) -> float:
        """The learning rate after the warm-up.

        Args:
            peak: What the warm-up rose to.
            update: From 0 at the end of the warm-up.
            length: Updates of the schedule without its warm-up.
        """


class EndingSchedule(ScheduleConfig):
    """A schedule that comes to an end."""

    updates: PositiveInt | None = None
    """Its length in updates, warm-up included; null spans the training."""
    truncated: bool = False
    """Whether the training may end before `updates` are done (EM-stellar: 5,000 of 20,000)."""

    @property
    def updates_in_all(self) -> int | None:
        """As it says; None for all updates of the training."""
        return self.updates

    @property
    def spans_training(self) -> bool:
        """Whether no length is given."""
        return self.updates is None


class Constant(ScheduleConfig):
    """The same rate throughout."""

    name: Literal["constant"] = "constant"

    def rate(self, peak: float, update: int, length: int) -> float:
        """The peak."""
        return peak


class Cosine(EndingSchedule):
    """Half a cosine down to the floor, which it reaches at its end (Loshchilov and Hutter 2017, without restarts)."""

    name: Literal["cosine"] = "cosine"
    warmup: WarmUp | None = None  # type: ignore[assignment]
    """As elsewhere; null takes 50 updates, at most half of the schedule."""
    floor: NonNegativeFloat = 0.0
    """The last rate."""

    def rate(self, peak: float, update: int, length: int) -> float:
        """floor + (peak - floor) (1 + cos(pi k / length)) / 2 at update k."""
        done = min(update / max(length, 1), 1.0)
        return self.floor + (peak - self.floor) * 0.5 * (1 + math.cos(math.pi * done))


class KerasDecay(ScheduleConfig):
    """SegET's schedule: `peak / (1 + decay * k)` at update k, whose numerator shrinks on a plateau."""

    name: Literal["keras"] = "keras"
    decay: NonNegativeFloat = 0.0
    """Decay per update (SegET: 1e-6 or 1e-5)."""
    plateau_factor: Fraction = 0.5
    """What the numerator is multiplied by on a plateau."""
    plateau_patience: PositiveInt | None = 3
    """Epochs without a better one, by the first of `criteria`, that make a plateau; null never reduces the rate."""

    @property
    def on_plateau(self) -> tuple[float, int] | None:
        """The two compose: SegET, section 5 of the paper's settings."""
        return None if self.plateau_patience is None else (self.plateau_factor, self.plateau_patience)

    def rate(self, peak: float, update: int, length: int) -> float:
        """peak / (1 + decay k) at update k."""
        return peak / (1 + self.decay * update)


class Linear(EndingSchedule):
    """A straight line down to the floor, then constant (EM-stellar with RAdam: `warmup: 0.1, updates: 20000`)."""

    name: Literal["linear"] = "linear"
    floor: NonNegativeFloat = 1e-5
    """The last rate."""

    def rate(self, peak: float, update: int, length: int) -> float:
        """floor + (peak - floor) (1 - t / length) at update t, which counts from 1 as EM-stellar does."""
        left = max(1 - (update + 1) / max(length, 1), 0.0)
        return self.floor + (peak - self.floor) * left


class Plateau(ScheduleConfig):
    """Constant, but lowered whenever validation stops getting better."""

    name: Literal["plateau"] = "plateau"
    factor: Fraction = 0.5
    """What the rate is multiplied by on a plateau."""
    patience: PositiveInt = 3
    """Epochs without a better one, by the first of `criteria`, that make a plateau."""
    floor: NonNegativeFloat = 0.0
    """Never below this."""

    @property
    def on_plateau(self) -> tuple[float, int] | None:
        """As it says."""
        return self.factor, self.patience

    def rate(self, peak: float, update: int, length: int) -> float:
        """The peak, as the plateaus have left it."""
        return max(peak, self.floor)


class Poly(EndingSchedule):
    """CDeep3M's schedule: `peak * (1 - k / length) ** power` at update k (Caffe's "poly")."""

    name: Literal["poly"] = "poly"
    power: PositiveFloat = 0.8
    """1 is a straight line; below 1 the rate stays high for longer (CDeep3M: 0.8)."""

    def rate(self, peak: float, update: int, length: int) -> float:
        """peak (1 - k / length)^power at update k."""
        left: float = max(1 - update / max(length, 1), 0.0) ** self.power
        return peak * left


class Staircase(ScheduleConfig):
    """Steps down: `peak * factor ** floor(k / interval)` at update k (Guay et al. 2021)."""

    name: Literal["staircase"] = "staircase"
    factor: Fraction = 0.75
    """What each step multiplies the rate by."""
    interval: PositiveFloat = 10**3.4
    """Updates from step to step, not necessarily a whole number (Guay et al.: 10^3.4, about 2,512)."""

    def rate(self, peak: float, update: int, length: int) -> float:
        """peak factor^floor(k / interval) at update k."""
        fallen: float = self.factor ** math.floor(update / self.interval)
        return peak * fallen


Schedule = Annotated[
    Constant | Cosine | KerasDecay | Linear | Plateau | Poly | Staircase,
    Field(discriminator="name"),
]
"""Any schedule, discriminated by `name`."""


@dataclass
class LearningRate:
    """The rate of every update. Its few numbers are its whole state, so a resumed run continues exactly."""

    schedule: Schedule
    initial: float
    total_updates: int
    """Of the whole training."""
    reductions: int = 0
    """Plateaus so far; each multiplies the rate, in the warm-up too."""
    best: float = -math.inf
    waited: int = 0

    @property
    def length(self) -> int:
        """Updates of the schedule, warm-up included."""
        return self.schedule.updates_in_all or self.total_updates

    @property
    def warmup(self) -> int:
        """Updates of the linear rise."""
        given = self.schedule.warmup
        if given is None:
            return min(50, self.length // 2)
        return given if isinstance(given, int) else round(given * self.length)

    def at(self, update: int) -> float:
        """The learning rate of update `update`, the first being 0.

        It is peak (update + 1) / warmup in the warm-up, which so ends with the peak.
        """
        on_plateau, warmup, peak = self.schedule.on_plateau, self.warmup, self.initial
        if on_plateau is not None:
            peak *= on_plateau[0] ** self.reductions
        if update < warmup:
            return peak * (update + 1) / warmup
        return self.schedule.rate(peak, update - warmup, self.length - warmup)

    def problem(self, updates_per_epoch: int) -> str | None:
        """What does not fit between the schedule and the length of the training, as `field: what and how to mend it`.

        Args:
            updates_per_epoch: Updates of the weights in an epoch.
        """
        total, length, warmup = self.total_updates, self.length, self.warmup
        spanning, there = "null spans the training", f"the {total:,} updates of the training"
        if length > total and not getattr(self.schedule, "truncated", False):
            return (
                f"training.schedule.updates: {length:,} is more than {there} ({updates_per_epoch:,} in an epoch); "
                f"{spanning}, more training.epochs reach the end, and `truncated: true` says that the training is "
                "meant to end before the schedule"
            )
        if warmup and warmup >= min(length, total):
            what = f"the {'schedule' if length < total else 'training'} has {min(length, total):,}"
            cure = (
                "a smaller share, or 0 for none" if isinstance(self.schedule.warmup, float) else "a share such as 0.1"
            )
            return f"training.schedule.warmup: rises for {warmup:,} updates, but {what}; shorten it, or give {cure}"
        if length < total and self.at(total - updates_per_epoch) == 0:
            return (
                f"training.schedule.updates: the rate is 0 after {length:,} of {there}, whose last epochs would learn "
                f"nothing; {spanning}"
            )
        return None

    def observe(self, score: float) -> None:
        """Record how good an epoch is, more being better; NaN counts as no improvement."""
        if score > self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        on_plateau = self.schedule.on_plateau
        if on_plateau is not None and self.waited >= on_plateau[1]:
            self.reductions, self.waited = self.reductions + 1, 0

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"reductions": self.reductions, "best": self.best, "waited": self.waited}

    def restore(self, state: dict[str, float]) -> None:
        """Continue from `state`."""
        self.reductions, self.best, self.waited = int(state["reductions"]), float(state["best"]), int(state["waited"])
