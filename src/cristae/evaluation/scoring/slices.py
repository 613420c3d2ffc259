"""Scores of slices as planes: partition with and without thinned borders, detection, instances, centre lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property

import numpy as np

from cristae.data.box import Box
from cristae.evaluation.blocks import slabs_of
from cristae.evaluation.comparison import Comparison, Voxels
from cristae.evaluation.scoring.borders import regions_between, subject_of
from cristae.evaluation.scoring.ledger import Arrays
from cristae.evaluation.scoring.object_rows import apart, arrays_of, detection_rows, instance_rows, overlaps_of, pushed
from cristae.evaluation.scoring.settings import Scoring
from cristae.evaluation.scoring.voxels import masks_of
from cristae.metrics.binary import inverted
from cristae.metrics.components import Connectivity, label_components
from cristae.metrics.contingency import Contingency
from cristae.metrics.detection import detection
from cristae.metrics.score import Score
from cristae.metrics.skeleton import SkeletonCounts, cl_dice, skeleton_counts
from cristae.metrics.v_scores import MAP_METRICS, NAMES, SliceV, Truth, VTable
from cristae.metrics.v_slice import plan_thresholds

SLICE_SCORES = (
    *("V_rand", "V_info", "V_rand_fixed", "V_info_fixed", "V_rand_raw", "V_info_raw", "VI", "adapted_rand_error"),
    *("components_TP", "components_FN", "components_UD", "clDice"),
)
"""What is known of every slice on its own. V_rand and V_info are at the threshold that is best for all slices."""
_SLICE_BITS = 32
"""Objects of slice z are numbered from z << 32, so that those of different slices are never the same."""


@dataclass(frozen=True, eq=False)
class Plane:
    """What was counted of one class in one slice; None where it was not asked for."""

    v: SliceV | None
    objects: Contingency | None
    """Components with 8 neighbours (4 between borders), numbered apart from those of other slices."""
    skeleton: SkeletonCounts | None


@dataclass(frozen=True, eq=False)
class _Pair:
    """One class in one slice, each (Y, X): masks, and probability maps where there are any."""

    truth: np.ndarray
    prediction: np.ndarray
    true_scores: np.ndarray | None
    scores: np.ndarray | None

    def between(self, threshold: float | None) -> _Pair:
        """The same of the regions that a border leaves."""
        return _Pair(
            regions_between(self.truth, self.true_scores, threshold),
            regions_between(self.prediction, self.scores, threshold),
            None if self.true_scores is None else inverted(self.true_scores),
            None if self.scores is None else inverted(self.scores),
        )


class SliceCounting:
    """Every slice on its own, each foreground class against the rest."""

    title = "Comparing slices"
    preparations = 0

    def __init__(self, comparison: Comparison, scoring: Scoring) -> None:
        self.comparison, self.scoring = comparison, scoring
        self.pieces: Sequence[Box] = slabs_of(*comparison.images)
        names = scoring.classes.foreground
        graded = bool(comparison.maps) and len(names) == 1
        """Thresholds are gone through only where there is a map of the one class."""
        self.tables = {name: _table(comparison, scoring, name, graded=graded) for name in names}
        self.objects: dict[str, list[Contingency]] = {name: [] for name in names}
        self.skeletons: dict[str, dict[int, SkeletonCounts]] = {name: {} for name in names}

    def prepare(self, advance: Callable[[], None]) -> None:
        """Nothing."""

    def measure(self, piece: Box) -> list[tuple[str, int, Plane]]:
        """Count the slices of a slab."""
        voxels = self.comparison.read(piece)
        return [
            (name, z, plane)
            for place in range(piece.shape[0])
            for name, z, plane in self._planes(voxels, place, self.comparison.first_slice + piece.start[0] + place)
        ]

    def add(self, counted: list[tuple[str, int, Plane]]) -> None:
        """Take in the slices of a slab."""
        for name, z, plane in counted:
            if plane.v is not None:
                self.tables[name].append(plane.v)
            if plane.objects is not None:
                self.objects[name] = pushed(self.objects[name], plane.objects)
            if plane.skeleton is not None:
                self.skeletons[name][z] = plane.skeleton

    def arrays(self) -> Arrays:
        """Everything counted so far."""
        found: Arrays = {}
        for number, name in enumerate(self.tables):
            lines = [(z, *astuple(counts)) for z, counts in self.skeletons[name].items()]
            found[f"{number}-lines"] = np.array(lines, np.int64).reshape(-1, 5)
            found |= {f"{number}-v-{key}": array for key, array in self.tables[name].arrays().items()}
            found |= {f"{number}-o-{k}": array for k, array in arrays_of(Contingency.total(self.objects[name])).items()}
        return found

    def restore(self, arrays: Arrays) -> None:
        """Go on from what `arrays` gave."""
        for number, name in enumerate(self.tables):
            self.tables[name] = VTable.from_arrays(_under(arrays, f"{number}-v-"))
            self.objects[name] = [overlaps_of(_under(arrays, f"{number}-o-"))]
            self.skeletons[name] = {z: SkeletonCounts(*line) for z, *line in arrays[f"{number}-lines"].tolist()}

    @staticmethod
    def rows(volume: str, parts: Sequence[SliceCounting]) -> Iterator[Score]:
        """All scores of slices, class by class."""
        scoring = parts[0].scoring
        for name in scoring.classes.foreground:
            subject = Score(scoring.run, volume, name, "", float("nan"), 0, "", threshold=scoring.threshold)
            if scoring.wants("partition"):
                table = VTable.total([part.tables[name] for part in parts])
                chosen: dict[str, float] = {
                    named: t for named in NAMES if (t := scoring.chosen(name, named)) is not None
                }
                yield from table.score_rows(scoring.run, volume, name, validated=chosen, border=scoring.is_border(name))
            objects = apart([Contingency.total(part.objects[name]) for part in parts])
            what = subject_of(name, _neighbours(name, scoring), ", slice by slice", parts[0].comparison, scoring)
            if scoring.wants("detection"):
                yield from detection_rows([detection(objects)], replace(subject, rule=what))
            if scoring.wants("instances"):
                yield from instance_rows(objects, replace(subject, rule=what))
            if scoring.wants("centrelines"):
                yield _line_row(subject, [line for part in parts for line in part.skeletons[name].values()])

    @staticmethod
    def curves(volume: str, parts: Sequence[SliceCounting]) -> Iterator[Score]:
        """V_rand and V_info with thinned borders at eleven thresholds."""
        if not parts or not parts[0].scoring.wants("partition"):
            return
        scoring = parts[0].scoring
        for name in scoring.classes.foreground:
            table = VTable.total([part.tables[name] for part in parts])
            yield from table.curve_rows(scoring.run, volume, name, border=scoring.is_border(name))

    def values(self, z: int, name: str) -> dict[str, object]:
        """The scores of one slice by column of the table of slices."""
        found: dict[str, object] = dict(self._v_values.get((z, name), {}))
        if self.scoring.wants("detection"):
            counts = detection(self._objects_of(z, name))
            found |= {"components_TP": counts.tp, "components_FN": counts.fn, "components_UD": counts.ud}
        if (line := self.skeletons[name].get(z)) is not None:
            found["clDice"] = cl_dice(line)
        return found

    def _planes(self, voxels: Voxels, place: int, z: int) -> Iterator[tuple[str, int, Plane]]:
        valid = None if voxels.valid is None else voxels.valid[place]
        if valid is not None and not valid.any():
            return
        truths = masks_of([labels[place] for labels in voxels.truth], self.scoring.classes)
        predictions = masks_of([labels[place] for labels in voxels.prediction], self.scoring.classes)
        for number, (name, truth, prediction) in enumerate(zip(self.tables, truths, predictions, strict=True)):
            true_map = None if voxels.truth_map is None else voxels.truth_map[place]
            scores = voxels.maps[number][place] if voxels.maps else None
            lines = skeleton_counts(truth, prediction, valid) if self.scoring.wants("centrelines") else None
            pair = _Pair(truth, prediction, true_map, scores)
            if self.scoring.is_border(name):
                pair = pair.between(self.scoring.threshold)
            yield name, z, Plane(self._v(name, pair, valid, z), self._objects(name, pair, valid, z), lines)

    def _v(self, name: str, pair: _Pair, valid: np.ndarray | None, z: int) -> SliceV | None:
        if not self.scoring.wants("partition"):
            return None
        table = self.tables[name]
        if not table.graded or pair.scores is None:
            return table.measure(pair.truth, pair.prediction != 0, valid, z=z)
        return table.measure(pair.truth if pair.true_scores is None else pair.true_scores, pair.scores, valid, z=z)

    def _objects(self, name: str, pair: _Pair, valid: np.ndarray | None, z: int) -> Contingency | None:
        if not self.scoring.wants("detection", "instances"):
            return None
        truth, prediction = pair.truth, pair.prediction
        if valid is not None:
            truth, prediction = truth * valid, prediction * valid
        kind = _neighbours(name, self.scoring)
        found = Contingency.of(label_components(truth, kind)[0], label_components(prediction, kind)[0], valid)
        first = z << _SLICE_BITS
        return Contingency(
            np.where(found.truth > 0, found.truth + first, 0),
            np.where(found.prediction > 0, found.prediction + first, 0),
            found.voxels,
        )

    def _objects_of(self, z: int, name: str) -> Contingency:
        every = self._joined[name]
        here = np.maximum(every.truth, every.prediction) >> _SLICE_BITS == z
        return Contingency(every.truth[here], every.prediction[here], every.voxels[here])

    @cached_property
    def _joined(self) -> dict[str, Contingency]:
        """The objects of all slices; asked for when everything is counted."""
        return {name: Contingency.total(parts) for name, parts in self.objects.items()}

    @cached_property
    def _v_values(self) -> dict[tuple[int, str], dict[str, float]]:
        """Partition scores by slice and class; asked for when everything is counted."""
        if not self.scoring.wants("partition"):
            return {}
        return {(z, name): row for name, table in self.tables.items() for z, row in _v_rows(table).items()}


def _neighbours(name: str, scoring: Scoring) -> Connectivity:
    """Who is a neighbour in an object of a slice. A border one voxel wide has to separate, so that 8 is not for it."""
    return 4 if scoring.is_border(name) else 8


def _table(comparison: Comparison, scoring: Scoring, name: str, *, graded: bool) -> VTable:
    if not graded:
        return VTable.of_masks()
    fixed = 0.5 if scoring.threshold is None else scoring.threshold
    chosen = [t for named in NAMES if (t := scoring.chosen(name, named)) is not None]
    truth: Truth = "mask" if comparison.truth_map is None else "grey"
    return VTable(plan_thresholds(fixed, *chosen), fixed, True, truth)


def _v_rows(table: VTable) -> dict[int, dict[str, float]]:
    """Scores by slice."""
    rows: dict[int, dict[str, float]] = {one.z: {} for one in table.slices}
    fixed = table.thresholds.index(table.fixed)
    for named in NAMES:
        best = table.best(named).threshold
        thin, raw = table.parts(named)[..., 0], table.parts(named, "raw")[:, fixed, 0]
        place = fixed if np.isnan(best) else table.thresholds.index(best)
        for one, at_best, at_fixed, as_is in zip(table.slices, thin[:, place], thin[:, fixed], raw, strict=True):
            rows[one.z] |= {named: at_best, f"{named}_fixed": at_fixed, f"{named}_raw": as_is}
    for one in table.slices:
        maps = dict(zip(MAP_METRICS, one.maps.tolist(), strict=True))
        rows[one.z] |= {name: maps[name] for name in ("VI", "adapted_rand_error")}
    return rows


def _line_row(subject: Score, lines: Sequence[SkeletonCounts]) -> Score:
    total = sum(lines, SkeletonCounts())
    rule = f"positive={subject.class_name}; skeletons slice by slice, pooled; n=skeleton voxels"
    return replace(subject, metric="clDice", value=cl_dice(total), n=total.truth + total.prediction, rule=rule)


def _under(arrays: Arrays, start: str) -> Arrays:
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
