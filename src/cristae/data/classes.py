"""The classes of a segmentation: names, ids and colours, given once."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints, model_validator

from cristae.config import Config

PALETTE = (
    "#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#bfef45",
    "#fabed4", "#469990", "#dcbeff", "#9a6324", "#fffac8", "#800000", "#aaffc3", "#808000",
)  # fmt: skip
BACKGROUND_COLOR = "#000000"
UNLABELLED = "unlabelled"
"""The reserved name for label values that mean: this voxel was not annotated."""

Color = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]
ClassName = Annotated[str, StringConstraints(pattern=r"^[^\s/\\][^/\\]*$", max_length=80)]


class Classes(Config):
    """What a voxel can be."""

    names: tuple[ClassName, ...]
    """Class names. `exclusive: true`: in the order of their ids from 0, the first being the background.
    `exclusive: false`: foreground classes only, ids from 1."""
    exclusive: bool = True
    """Whether a voxel has exactly one class; otherwise the classes are overlapping masks."""
    colors: dict[str, Color] = {}
    """Display colours by class name, '#rrggbb'; classes left out take one from a fixed palette."""

    @model_validator(mode="after")
    def _check(self) -> Classes:
        if len(set(self.names)) != len(self.names):
            raise ValueError("two classes have the same name")
        if UNLABELLED in self.names:
            raise ValueError(f"'{UNLABELLED}' is reserved for voxels that were not annotated")
        if len(self.names) < (2 if self.exclusive else 1):
            raise ValueError("exclusive classes need a background and at least one more; name the background first")
        if len(self.names) > 250:
            raise ValueError("more than 250 classes")
        if unknown := set(self.colors) - set(self.names):
            raise ValueError(f"colours given for unknown classes {sorted(unknown)}")
        return self

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids in the order of `names`: from 0 when exclusive, from 1 when overlapping."""
        first = 0 if self.exclusive else 1
        return tuple(range(first, first + len(self.names)))

    @property
    def foreground(self) -> tuple[str, ...]:
        """Names without the background."""
        return self.names[1:] if self.exclusive else self.names

    @property
    def n_logits(self) -> int:
        """Channels a network must give: 1 (sigmoid) for one foreground class, K with background (softmax) when
        exclusive, else one (sigmoid) for each overlapping class."""
        if not self.exclusive:
            return len(self.names)
        return 1 if len(self.names) == 2 else len(self.names)

    @property
    def softmax(self) -> bool:
        """Whether probabilities are a softmax over background and classes, instead of independent sigmoids."""
        return self.exclusive and len(self.names) > 2

    def id_of(self, name: str) -> int:
        """The id of a class name."""
        return self.ids[self.names.index(name)]

    def color_of(self, name: str) -> str:
        """The display colour of a class name, '#rrggbb'."""
        if name in self.colors:
            return self.colors[name]
        if self.exclusive and name == self.names[0]:
            return BACKGROUND_COLOR
        return PALETTE[self.foreground.index(name) % len(PALETTE)]
