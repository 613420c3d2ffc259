"""Classes decided again from the probabilities that a prediction kept."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from cristae.data.classes import Classes
from cristae.postprocessing.form import Auto, Change, LabelMaps, MapWriter, Outcome, StepConfig
from cristae.postprocessing.workplace import Advance, Workplace

_TRIED = tuple(round(0.05 * step, 2) for step in range(1, 20))


class Threshold(StepConfig):
    """Take a class where its probability is above a value.

    Exclusive classes: a voxel that is background or one of the chosen classes becomes the most probable of those
    chosen classes whose probability is above the value, the first of equals, and background where there is none; voxels
    of other classes stay. Overlapping classes: each chosen class has its own mask. Probabilities are those that are
    kept, in steps of 1/255.
    """

    reads_probabilities: ClassVar[bool] = True
    auto_field: ClassVar[str | None] = "value"

    name: Literal["threshold"] = "threshold"
    value: Annotated[float, Field(ge=0, lt=1)] | Auto
    """A voxel is of a class when its probability is strictly above this. `auto` chooses it on the validation regions
    among 0.05, 0.1, ... 0.95 and leaving the labels as they are."""

    def problem(self, classes: Classes) -> str | None:
        """As for every step; and voxels that lose their class become background, which has to be there."""
        if classes.empty_id is None:
            return "name: threshold leaves voxels without a class, but the classes have no background; leave it out"
        return super().problem(classes)

    def candidates(self, maps: LabelMaps) -> tuple[float, ...]:
        """0.5 first, then what is farther and farther from it."""
        return tuple(sorted(_TRIED, key=lambda value: (round(abs(value - 0.5), 2), value)))

    def with_value(self, value: float, voxel_nm3: float | None) -> Self:
        """The threshold."""
        return self.model_copy(update={"value": value})

    def require_probabilities(self, maps: LabelMaps) -> None:
        """Make sure that it knows what it reads.

        Raises:
            RunError: The probabilities of a class are not known.
        """
        self.require_known(self.chosen(maps.classes), maps)

    def run(self, maps: LabelMaps, work: Workplace, advance: Advance) -> Outcome:
        """See the class.

        Raises:
            RunError: The probabilities of a class are not known.
        """
        self.require_probabilities(maps)
        chosen = self.chosen(maps.classes)
        changes: list[Change] = []
        for place, values in maps.groups(chosen):
            if not values:
                continue
            image, out = maps.images[place], MapWriter(work.new(f"threshold-{place}", np.dtype(np.uint8)), maps.mask)
            for block in work.blocks:
                before = image.read(block)
                best, found = np.zeros(block.shape, np.uint8), np.zeros(block.shape, np.uint8)
                for name, value in values.items():
                    kept = maps.probabilities[name].read(block)
                    better = (kept > 255 * float(self.value)) & (kept > best)
                    best[better], found[better] = kept[better], value
                free = np.isin(before, [0, *values.values()])
                out.put(block, before, np.where(free, found, before).astype(np.uint8))
                advance()
            changes += out.changes(self, values, {})
            maps = maps.with_image(place, out.store.image)
        return Outcome(maps, tuple(changes))
