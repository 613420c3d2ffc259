"""Values of post-processing chosen on validation regions: each `auto` of a recipe's steps, in their order."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cristae.data.block_grid import block_shape
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import Image, VoxelSize
from cristae.data.splits import Part, labelled_boxes
from cristae.evaluation.split_quality import instance_counts, mean_panoptic_quality, true_instances
from cristae.evaluation.validation import PredictedSlab, Validation
from cristae.metrics.confusion import Confusion
from cristae.metrics.tally import Tally, mean_iou_of, pool
from cristae.postprocessing import Split, SplitStep, Step
from cristae.postprocessing.apply import apply_steps
from cristae.postprocessing.form import LabelMaps
from cristae.postprocessing.workplace import Workplace, chunk_of
from cristae.progress import Progress

if TYPE_CHECKING:
    from torch import nn

_IN_MEMORY = 1 << 26
"""Voxels of all regions together whose maps are kept in memory; those of the regions after them are on disk."""


@dataclass(frozen=True, eq=False)
class Region:
    """An annotated region with its truth and what was predicted."""

    maps: LabelMaps
    truth: tuple[Image, ...]
    """Class ids, or one mask for each overlapping class."""
    valid: Image | None
    """0 where a voxel does not count; None where all do."""
    work: Workplace

    def tables(self) -> tuple[Confusion, ...]:
        """Counts of its voxels: one table, or one for each overlapping class."""
        exclusive = self.maps.classes.exclusive
        size = len(self.maps.classes.names) if exclusive else 2

        def count(block: Box) -> tuple[Confusion, ...]:
            valid = None if self.valid is None else self.valid.read(block)
            pairs = zip(self.truth, self.maps.images, strict=True)
            return tuple(Confusion.of(true.read(block), found.read(block), size, valid) for true, found in pairs)

        return pool(map(count, self.work.blocks), self.maps.classes)

    def count_into(self, tally: Tally, first: int) -> None:
        """Add its slices to the counts of its volume, where its own first slice is slice `first`."""
        for block in self.work.blocks:
            truth, found = ([image.read(block) for image in images] for images in (self.truth, self.maps.images))
            valid = None if self.valid is None else self.valid.read(block)
            for z in range(block.shape[0]):
                place, ok = first + block.start[0] + z, None if valid is None else valid[z]
                tally.count(place, [one[z] for one in truth], [one[z] for one in found], ok)

    def after(self, step: Step, room: str) -> Region:
        """What a step makes of the prediction; no two calls may name the same `room`."""
        return replace(self, maps=apply_steps(self.maps, [step], self.work.below(room)).maps)

    def clear(self, room: str) -> None:
        """Remove what `after` has left on disk."""
        if self.work.folder is not None:
            shutil.rmtree(self.work.folder / room, ignore_errors=True)


@dataclass(frozen=True)
class Tuning:
    """The steps with their values, and how they were found."""

    steps: tuple[Step, ...]
    facts: dict[str, Any]
    """What the summary of a run keeps: steps as asked and chosen, and the score of every value that was tried."""


def tune_steps(
    steps: Sequence[Step], members: Iterable[tuple[nn.Module, Validation]], progress: Progress = Progress()
) -> Tuning:
    """Choose what is `auto` in the steps by the mean IoU over all annotated voxels of the validation regions.

    Steps are taken in their order: each value is tried on what the steps before it, as chosen, have left. Leaving all
    as it is, is tried too, and kept where no value is better; of values that are equally good the one that changes
    least is kept. So a step whose value is chosen never lowers the mean IoU. Objects end where an annotated region
    ends: where only single slices are annotated, sizes are those of sections through objects. A step that numbers
    objects is judged by their panoptic quality instead (`mean_panoptic_quality`), against the objects that
    it makes of the annotation.

    Args:
        steps: Those of a recipe.
        members: Networks with the weights of their runs, and how each will predict its validation regions; the voxels
            of all members count together. One is taken after the other.
        progress: Where to report.
    """
    with tempfile.TemporaryDirectory(prefix="cristae-") as folder:
        regions = [region for _, _, region in predicted_regions(steps, members, Path(folder), progress)]
        return tune_on(steps, regions, progress)


def score_processed(
    steps: Sequence[Step], network: nn.Module, validation: Validation, progress: Progress = Progress()
) -> list[Tally]:
    """Counts of every annotated slice after the post-processing, by volume. Objects end where an annotated region ends.

    Args:
        steps: Without values that are still `auto`.
        network: With the weights of the run.
        validation: As the run will predict.
        progress: Where to report.
    """
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory(prefix="cristae-") as folder:
        for part, box, region in predicted_regions(steps, [(network, validation)], Path(folder), progress):
            name = part.volume.name
            for place, step in enumerate(step for step in steps if not isinstance(step, SplitStep)):
                region = region.after(step, f"step-{place}")
            region.count_into(tallies.setdefault(name, Tally(name, validation.classes)), box.start[0])
    return list(tallies.values())


def tune_on(steps: Sequence[Step], regions: Sequence[Region], progress: Progress = Progress()) -> Tuning:
    """As `tune_steps`, on regions that were predicted before."""
    classes, unit = regions[0].maps.classes, _unit(regions)
    raw = score = _mean_iou(regions, classes)
    chosen: list[Step] = []
    tried: list[dict[str, Any]] = []
    for place, step in enumerate(steps):
        if step.is_open:
            found = _try(step, f"trial-{place}", regions, unit, score, progress)
            tried.append({"step": place, "name": step.name, "field": step.auto_field, **found.facts})
            step = found.step
        if step is None:
            continue
        chosen.append(step)
        if not isinstance(step, SplitStep):  # the class map stays as it is
            regions = [region.after(step, f"step-{place}") for region in regions]
            score = _mean_iou(regions, classes)
    plain = [one.model_dump(mode="json") for one in chosen]
    facts = {
        "asked": [step.model_dump(mode="json") for step in steps],
        "steps": plain,
        "criterion": "miou",
        "val_miou": {"raw": raw, "processed": score},
        "voxel_nm3": unit,
        "tried": tried,
    }
    return Tuning(tuple(chosen), facts)


@dataclass(frozen=True)
class _Best:
    step: Any
    """The step with the best value; where none is better than leaving all as it is, one that does that, or None."""
    facts: dict[str, Any]


def _try(
    step: Step, name: str, regions: Sequence[Region], unit: float | None, before: float, progress: Progress
) -> _Best:
    """The best value of one step; `name` is that of no other step's rooms."""
    largest = max((region.maps for region in regions), key=lambda maps: int(np.prod(maps.shape)))
    values = step.candidates(largest)
    best: float | None = None
    measure = _Objects(step, regions, name) if isinstance(step, SplitStep) else _Voxels(regions, before)
    scores: list[tuple[float | None, float]] = [(None, measure.before)]
    with progress.task(f"Choosing {step.name}.{step.auto_field}", len(values), unit="values") as task:
        for value in values:
            trial, room = step.with_value(value, unit), f"{name}-{value:g}"
            score = measure.score(trial, room)
            if _number(score) > max(_number(known) for _, known in scores):
                best = value
            scores.append((value, score))
            task.advance(note=f"{measure.name} {score:.4f}")
    shown = "unchanged" if best is None else f"{best:g}"
    progress.say(f"post-processing: {step.name}.{step.auto_field}: {shown} is best on the validation regions")
    facts = {"chosen": best, "scores": [{"value": value, measure.key: score} for value, score in scores]}
    measure.close()
    return _Best(step.unchanged if best is None else step.with_value(best, unit), facts)


class _Voxels:
    """Values judged by the class maps that they leave."""

    key, name = "val_miou", "mean IoU"

    def __init__(self, regions: Sequence[Region], before: float) -> None:
        self._regions, self.before = regions, before

    def score(self, trial: Step, room: str) -> float:
        """With a value; no two calls may name the same `room`."""
        found = _mean_iou([region.after(trial, room) for region in self._regions], self._regions[0].maps.classes)
        for region in self._regions:
            region.clear(room)
        return found

    def close(self) -> None:
        """Nothing is left."""


class _Objects:
    """Values judged by the objects that they tell apart."""

    key, name = "val_pq", "panoptic quality"

    def __init__(self, step: Split, regions: Sequence[Region], room: str) -> None:
        self._regions, self._room = regions, f"{room}-truth"
        self._truth = [true_instances(step, one.maps, one.truth, one.work.below(self._room)) for one in regions]
        assert step.unchanged is not None, "a step with a value that may be chosen"
        self.before = self.score(step.unchanged, f"{room}-all")

    def score(self, trial: Step, room: str) -> float:
        """With a value; no two calls may name the same `room`."""
        assert isinstance(trial, SplitStep)
        pairs = zip(self._regions, self._truth, strict=True)
        counts = [instance_counts(trial, one.maps, truth, one.valid, one.work.below(room)) for one, truth in pairs]
        for region in self._regions:
            region.clear(room)
        return mean_panoptic_quality(counts)

    def close(self) -> None:
        """Remove the true objects."""
        for region in self._regions:
            region.clear(self._room)


def _number(score: float) -> float:
    """NaN, where nothing could be scored, is worse than any number."""
    return float(np.nan_to_num(score, nan=-1.0))


def _mean_iou(regions: Sequence[Region], classes: Classes) -> float:
    return mean_iou_of(pool((region.tables() for region in regions), classes), classes).value


def _unit(regions: Sequence[Region]) -> float | None:
    """The volume of a voxel of the first region, which sizes are counted in; None where one is not known."""
    volumes = [region.maps.voxel_nm3 for region in regions]
    return None if any(volume is None for volume in volumes) else volumes[0]


def predicted_regions(
    steps: Sequence[Step], members: Iterable[tuple[nn.Module, Validation]], folder: Path, progress: Progress
) -> Iterator[tuple[Part, Box, Region]]:
    """The annotated boxes of the regions of some members, predicted, with the probabilities where a step reads them.

    Args:
        steps: What is to follow.
        members: Networks, and how each predicts its regions.
        folder: Where the maps of boxes are for which there is no room in memory.
        progress: Where to report.
    """
    probabilities = any(step.reads_probabilities for step in steps)
    number, room = 0, _IN_MEMORY
    for network, validation in members:
        slabs, total = validation.predicted(network, probabilities=probabilities), sum(1 for _ in validation.slabs())
        with progress.task("Predicting the held-out regions", total, unit="slabs") as task:
            for part in validation.parts:
                for box in labelled_boxes(part):
                    place = folder / f"region-{number}" if box.size > room else None
                    room -= box.size if place is None else 0
                    drawing, filled = _Drawing(part, box, validation.classes, place), 0
                    while filled < box.shape[0]:
                        slab = next(slabs)
                        drawing.put(slab)
                        filled += slab.box.shape[0]
                        task.advance()
                    yield part, box, drawing.region()
                    number += 1


class _Drawing:
    """A region that is filled slab by slab."""

    def __init__(self, part: Part, box: Box, classes: Classes, folder: Path | None) -> None:
        self._box, self._classes, self._size = box, classes, part.volume.voxel_size_nm
        self.work = _workplace(box, self._size, folder)
        count = 1 if classes.exclusive else len(classes.names)
        byte = np.dtype(np.uint8)
        self._found = [self.work.new(f"found-{number}", byte) for number in range(count)]
        self._truth = [self.work.new(f"truth-{number}", byte) for number in range(count)]
        self._valid = None if part.volume.valid is None else self.work.new("valid", byte)
        self._kept: dict[str, Any] = {}

    def put(self, slab: PredictedSlab) -> None:
        """Add a slab."""
        here = slab.box.relative_to(self._box.start)
        for stores, arrays in ((self._found, slab.prediction), (self._truth, slab.truth)):
            for store, array in zip(stores, arrays, strict=True):
                store.write(here, array.astype(np.uint8))
        if self._valid is not None:
            ones = np.ones(here.shape, np.uint8)
            self._valid.write(here, ones if slab.valid is None else (slab.valid != 0).astype(np.uint8))
        for name, array in (slab.probabilities or {}).items():
            if name not in self._kept:
                self._kept[name] = self.work.new(f"p-{len(self._kept)}", np.dtype(np.uint8))
            self._kept[name].write(here, array)

    def region(self) -> Region:
        """All of it."""
        images = tuple(store.image for store in self._found)
        kept = {name: store.image for name, store in self._kept.items()}
        maps = LabelMaps(images, self._classes, self._size, kept)
        valid = None if self._valid is None else self._valid.image
        return Region(maps, tuple(store.image for store in self._truth), valid, self.work)


def _workplace(box: Box, size: VoxelSize | None, folder: Path | None) -> Workplace:
    whole = Box.of_shape(box.shape)
    image = Image(Path("region"), "array", whole.shape, np.dtype(np.uint8), lambda _: np.zeros(0), chunks=(1, 1, 1))
    edges = block_shape([image], multiple=chunk_of(whole.shape))
    return Workplace(whole.shape, edges, folder, size)
