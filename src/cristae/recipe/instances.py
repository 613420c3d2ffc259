"""How a recipe asks for several trainings that differ in their seeds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from cristae.config import Config

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class InstancesConfig(Config):
    """Several trainings of one recipe that differ in nothing but their seeds: first weights, patches, augmentation."""

    count: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many; null takes one for each of `seeds`."""
    seeds: tuple[Seed, ...] | None = None
    """The seed of each; null counts on from the recipe's `seed`."""
    best: PositiveInt | None = None
    """How many make up the ensemble: those that validate best, of each fold where there are folds; null takes all. A
    study that is resumed can take others."""

    @model_validator(mode="after")
    def _check(self) -> InstancesConfig:
        if self.seeds is None and self.count is None:
            raise ValueError("say how many, for instance `instances: {count: 5}`")
        if self.seeds is not None:
            if len(self.seeds) < 2 or len(set(self.seeds)) != len(self.seeds):
                raise ValueError("seeds must name two or more, and each once, since equal seeds train equal networks")
            if self.count is not None and self.count != len(self.seeds):
                raise ValueError(f"count is {self.count}, but there are {len(self.seeds)} seeds; leave one of both out")
        if self.best is not None and self.best > self.number:
            raise ValueError(f"best is {self.best}, but there are {self.number} instances")
        return self

    @property
    def number(self) -> int:
        """How many trainings."""
        return len(self.seeds) if self.seeds is not None else self.count or 0

    def seeds_from(self, first: int) -> tuple[int, ...]:
        """The seed of each instance, where the recipe's own is `first`."""
        return self.seeds or tuple((first + number) % 2**32 for number in range(self.number))
