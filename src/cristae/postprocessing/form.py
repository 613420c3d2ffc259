"""What every step of post-processing has: the classes it changes, the maps it works on, what it says it did."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BeforeValidator, PositiveFloat, PositiveInt

from cristae.config import Config
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes, ClassName
from cristae.data.image import Image, VoxelSize
from cristae.errors import RunError, VoxelSizeError
from cristae.metrics.components import Connectivity
from cristae.postprocessing.workplace import Advance, Store, Workplace

Auto = Literal["auto"]


def as_word(value: Any) -> Any:
    """Classes without names are called by their ids, which YAML reads as numbers."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


@dataclass(frozen=True, eq=False)
class LabelMaps:
    """The classes of every voxel, as a step finds and leaves them. All images have the same shape."""

    images: tuple[Image, ...]
    """Exclusive classes: one image of class ids. Overlapping classes: one image of 0 and 1 for each class."""
    classes: Classes
    voxel_size_nm: VoxelSize | None = None
    """(z, y, x)."""
    probabilities: Mapping[str, Image] = field(default_factory=dict)
    """uint8 maps of p x 255 by class name; empty where they are not known."""
    mask: Image | None = None
    """0 where voxels stay as they are, whatever a step would make of them; None where there are no such voxels."""

    @property
    def shape(self) -> Triple:
        """Voxels (z, y, x)."""
        return self.images[0].shape

    @property
    def voxel_nm3(self) -> float | None:
        """Volume of one voxel; None when its size is not known."""
        return None if self.voxel_size_nm is None else prod(self.voxel_size_nm)

    def groups(self, chosen: tuple[str, ...]) -> Iterator[tuple[int, dict[str, int]]]:
        """For each image its place and the values in it of those chosen classes that it shows, by name."""
        if self.classes.exclusive:
            yield 0, {name: self.classes.id_of(name) for name in chosen}
            return
        for place, name in enumerate(self.classes.names):
            yield place, ({name: 1} if name in chosen else {})

    def with_image(self, place: int, image: Image) -> LabelMaps:
        """The same with another image at a place."""
        images = (*self.images[:place], image, *self.images[place + 1 :])
        return replace(self, images=images)


@dataclass(frozen=True)
class Change:
    """What a step did to one class."""

    step: str
    """Its name."""
    class_name: str
    gained: int
    """Voxels that became this class."""
    lost: int
    """Voxels that were of this class before."""
    objects: int | None = None
    """Objects removed, holes filled, or objects that were cut; None where the step does not count any."""
    instances: int | None = None
    """Objects in the instance image; None where the step makes none."""
    left_whole: int = 0
    """Objects that were not looked at, because the box around them is too large."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a step leaves."""

    maps: LabelMaps
    changes: tuple[Change, ...]
    instances: Mapping[str, Image] = field(default_factory=dict)
    """By class, the numbers of its objects, 0 outside."""


class StepConfig(Config):
    """One step of post-processing."""

    reads_probabilities: ClassVar[bool] = False
    """Whether it needs the probabilities of a prediction."""
    auto_field: ClassVar[str | None] = None
    """The field that may be `auto`."""

    classes: tuple[Annotated[ClassName, BeforeValidator(as_word)], ...] = ()
    """The classes that the step is for; left out, all but the background. Classes of label files without names are
    called by their ids."""

    @property
    def label(self) -> str:
        """The word that chooses the step."""
        return str(getattr(self, "name", ""))

    @property
    def is_open(self) -> bool:
        """Whether a value is to be chosen on the validation regions."""
        return self.auto_field is not None and getattr(self, self.auto_field) == "auto"

    def chosen(self, classes: Classes) -> tuple[str, ...]:
        """The classes that it is for, in their order."""
        return tuple(name for name in classes.foreground if not self.classes or name in self.classes)

    def problem(self, classes: Classes) -> str | None:
        """What does not fit the classes of the labels, as `field: what is wrong`."""
        for name in self.classes:
            if name not in classes.foreground:
                return f"classes: there is no class '{name}' to change; there are {', '.join(classes.foreground)}"
        return None

    def candidates(self, maps: LabelMaps) -> tuple[float, ...]:
        """The values to try for `auto`, beside leaving all as it is, those that change least first."""
        raise NotImplementedError

    def with_value(self, value: float, voxel_nm3: float | None) -> Self:
        """The step with a value in the place of `auto`; sizes are in voxels of this volume, where that is known."""
        raise NotImplementedError

    @property
    def unchanged(self) -> Self | None:
        """The step with a value for `auto` that leaves all as it is; None where leaving out the step does that."""
        return None

    def require_probabilities(self, maps: LabelMaps) -> None:
        """Make sure that the probabilities that it cannot do without are known.

        Raises:
            RunError: Those of a class are not.
        """

    def require_known(self, names: Sequence[str], maps: LabelMaps) -> None:
        """Make sure that the probabilities of some classes are known.

        Raises:
            RunError: Those of one are not.
        """
        if missing := [name for name in names if name not in maps.probabilities]:
            raise RunError(
                f"{maps.images[0].path}: the step '{self.label}' needs the probabilities of '{missing[0]}', which are "
                "not there; repeat `cristae predict` with --probabilities and name the prediction itself"
            )

    @abstractmethod
    def run(self, maps: LabelMaps, work: Workplace, advance: Advance) -> Outcome:
        """Change the maps, block by block.

        Args:
            maps: What the step finds.
            work: Where blocks and intermediate maps are.
            advance: Called now and then.

        Raises:
            CristaeError: The step needs what is not known of these maps.
        """

    def needs_voxel_size(self) -> bool:
        """Whether lengths or volumes in nm are to be compared with voxels."""
        return any(getattr(self, name) is not None for name in type(self).model_fields if "_nm" in name)

    def require_voxel_size(self, maps: LabelMaps) -> VoxelSize:
        """The voxel size.

        Raises:
            VoxelSizeError: It is not known.
        """
        if maps.voxel_size_nm is None:
            raise VoxelSizeError(
                f"{maps.images[0].path}: the voxel size is not known, but the step '{self.label}' measures in nm; give "
                "it with --voxel-size-nm Z Y X, or give sizes in voxels"
            )
        return maps.voxel_size_nm


class SizedStep(StepConfig):
    """A step for objects or holes up to some size."""

    size_vox: ClassVar[str]
    """Its field of a size in voxels."""
    size_nm3: ClassVar[str]
    """Its field of a size in nm3."""

    def sizes_in_units(self, sizes: np.ndarray, maps: LabelMaps) -> tuple[np.ndarray, float]:
        """Sizes of objects in the unit that the step's limit is in, and that limit; infinity where there is none.

        Raises:
            VoxelSizeError: The limit is in nm3 and the voxel size is not known.
        """
        if (volume := getattr(self, self.size_nm3)) is not None:
            return sizes * prod(self.require_voxel_size(maps)), volume
        limit = getattr(self, self.size_vox)
        return sizes, np.inf if limit is None else limit

    def candidates(self, maps: LabelMaps) -> tuple[float, ...]:
        """Powers of 4 in voxels, up to the whole volume."""
        return tuple(float(4**power) for power in range(1, 24) if 4**power < prod(maps.shape))

    def with_value(self, value: float, voxel_nm3: float | None) -> Self:
        """A size in voxels, kept in nm3 where voxels have a size, so that it means the same in other volumes."""
        if voxel_nm3 is None:
            return self.model_copy(update={self.size_vox: int(value)})
        return self.model_copy(update={self.size_vox: None, self.size_nm3: value * voxel_nm3})


def require_one(step: Config, *names: str, least: int = 1) -> None:
    """Refuse fields of which at most one may be given.

    Raises:
        ValueError: Several are given, or fewer than `least`.
    """
    given = [name for name in names if getattr(step, name) is not None]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} say the same in two ways; give one of them")
    if len(given) < least:
        raise ValueError(f"give {' or '.join(names)}")


class MapWriter:
    """A changed copy of one image, and how many voxels each of its values gained and lost."""

    def __init__(self, store: Store, mask: Image | None) -> None:
        self.store, self._mask = store, mask
        self._gained, self._lost = np.zeros(256, np.int64), np.zeros(256, np.int64)

    def put(self, box: Box, before: np.ndarray, after: np.ndarray) -> None:
        """Write a block; `before` is what it was, and stays where the mask is 0."""
        if self._mask is not None:
            after = np.where(self._mask.read(box) != 0, after, before)
        moved = before != after
        if moved.any():
            self._gained += np.bincount(after[moved], minlength=256)
            self._lost += np.bincount(before[moved], minlength=256)
        self.store.write(box, after)

    def changes(self, step: StepConfig, values: Mapping[str, int], objects: Mapping[str, int]) -> list[Change]:
        """What became of each class with a value in this image."""
        return [
            Change(step.label, name, int(self._gained[value]), int(self._lost[value]), objects.get(name))
            for name, value in values.items()
        ]


Size = PositiveInt | Auto | None
Volume = PositiveFloat | None


def directions(connectivity: Connectivity) -> list[tuple[int, int, int]]:
    """Steps (z, y, x) from a voxel to its neighbours."""
    flat, most = connectivity in (4, 8), {4: 1, 8: 2, 6: 1, 18: 2, 26: 3}[connectivity]
    steps = [(z, y, x) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return [step for step in steps if 0 < sum(map(abs, step)) <= most and not (flat and step[0])]


def neighbours(rimmed: np.ndarray, step: tuple[int, int, int]) -> np.ndarray:
    """What lies one step away from each voxel of a block, from the block with a rim of one voxel."""
    z, y, x = (slice(1 + d, size - 1 + d) for d, size in zip(step, rimmed.shape, strict=True))
    return rimmed[z, y, x]
