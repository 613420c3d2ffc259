"""The classes of a segmentation: names, ids and colours, given once."""

from __future__ import annotations

from collections.abc import Sequence
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
    background: bool = True
    """Whether the first of exclusive classes is the background. `false`: every class is foreground, as where every
    voxel belongs to a structure. Overlapping classes have none: a voxel may belong to no class."""
    borders: tuple[ClassName, ...] | None = None
    """Classes that separate objects, such as membranes: scores of objects are those of the regions between them.
    `[]`: none does. null: not stated, and `evaluate` asks where the only class is called membrane or boundary."""
    colors: dict[str, Color] = {}
    """Display colours by class name, '#rrggbb'; classes left out take one from a fixed palette."""

    @model_validator(mode="after")
    def _check(self) -> Classes:
        if len(set(self.names)) != len(self.names):
            raise ValueError("two classes have the same name")
        if UNLABELLED in self.names:
            raise ValueError(f"'{UNLABELLED}' is reserved for voxels that were not annotated")
        if len(self.names) < (2 if self.exclusive else 1):
            raise ValueError(
                "exclusive classes need a background and at least one more; name the background first"
                if self.background
                else "exclusive classes without a background are two or more"
            )
        if not (self.exclusive or self.background):
            raise ValueError("overlapping classes never have a background; leave `background` out")
        if len(self.names) > 250:
            raise ValueError("more than 250 classes")
        if unknown := set(self.colors) - set(self.names):
            raise ValueError(f"colours given for unknown classes {sorted(unknown)}")
        if strays := [name for name in self.borders or () if name not in self.foreground]:
            raise ValueError(f"borders: '{strays[0]}' is not one of the classes {', '.join(self.foreground)}")
        if len(set(self.borders or ())) != len(self.borders or ()):
            raise ValueError("borders: a class is named twice")
        return self

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids in the order of `names`: from 0 when exclusive, from 1 when overlapping."""
        first = 0 if self.exclusive else 1
        return tuple(range(first, first + len(self.names)))

    @property
    def foreground(self) -> tuple[str, ...]:
        """Names without the background."""
        return self.names if self.background_name is None else self.names[1:]

    @property
    def foreground_ids(self) -> tuple[int, ...]:
        """Ids in the order of `foreground`."""
        return self.ids if self.background_name is None else self.ids[1:]

    @property
    def background_name(self) -> str | None:
        """The exclusive class that means: no structure here. None where every voxel belongs to a structure, and for
        overlapping classes."""
        return self.names[0] if self.exclusive and self.background else None

    @property
    def empty_id(self) -> int | None:
        """The id of voxels that belong to no foreground class; None where every voxel belongs to one."""
        return 0 if self.background else None

    @property
    def scheme(self) -> tuple[tuple[str, ...], bool, bool]:
        """What the ids in a label image mean: equal for classes that differ in colours or borders only."""
        return self.names, self.exclusive, self.background

    @property
    def listed(self) -> str:
        """The names for messages, with what else tells two schemes apart."""
        kind = "" if self.exclusive else "; overlapping"
        return f"{', '.join(self.names)}{kind if self.background else '; no background'}"

    @property
    def n_logits(self) -> int:
        """Channels a network must give: 1 (sigmoid) for one foreground class against the background, one for each
        class (softmax) of other exclusive classes, else one (sigmoid) for each overlapping class.

        Two exclusive classes without a background have two logits, so that neither is the complement of the other.
        """
        return len(self.names) if self.softmax or not self.exclusive else 1

    @property
    def softmax(self) -> bool:
        """Whether probabilities are a softmax over exclusive classes, instead of independent sigmoids."""
        return self.exclusive and (len(self.names) > 2 or not self.background)

    def id_of(self, name: str) -> int:
        """The id of a class name."""
        return self.ids[self.names.index(name)]

    def color_of(self, name: str) -> str:
        """The display colour of a class name, '#rrggbb'."""
        if name in self.colors:
            return self.colors[name]
        if name == self.background_name:
            return BACKGROUND_COLOR
        return PALETTE[self.foreground.index(name) % len(PALETTE)]


def joined_borders(parts: Sequence[Classes]) -> tuple[str, ...] | None:
    """The borders of several schemes of different classes together; None where none of them states any."""
    stated = [classes.borders for classes in parts if classes.borders is not None]
    return tuple(name for borders in stated for name in borders) if stated else None
