"""Scores of whole objects in 3D, and of object ids: partition and instances, over all of a volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from cristae.data.box import Box
from cristae.errors import ScoreError
from cristae.evaluation.blocks import blocks_of
from cristae.evaluation.comparison import Comparison
from cristae.evaluation.scoring.borders import object_reader, subject_of
from cristae.evaluation.scoring.ledger import Arrays
from cristae.evaluation.scoring.object_rows import (
    apart,
    arrays_of,
    detection_rows,
    instance_rows,
    overlaps_of,
    partition_rows,
    pushed,
)
from cristae.evaluation.scoring.settings import Family, Scoring
from cristae.metrics.components import Components, Connectivity, find_components
from cristae.metrics.contingency import Contingency
from cristae.metrics.detection import detection
from cristae.metrics.score import Score

IN_3D = "_3d"
"""What the name of a score of whole objects in a volume ends in."""
_PARTITION: Connectivity = 6
_INSTANCES: Connectivity = 26
_PIECE_VOXELS = 1 << 22
_Key = tuple[int, Connectivity]
"""Class, counted among the foreground classes, and who is a neighbour."""


class ObjectCounting:
    """Which true and predicted 3D components of each class share how many voxels."""

    title = "Comparing objects in 3D"

    def __init__(self, comparison: Comparison, scoring: Scoring) -> None:
        self.comparison, self.scoring = comparison, scoring
        self.pieces: Sequence[Box] = blocks_of(*comparison.images, voxels=_PIECE_VOXELS)
        self.found: dict[_Key, list[Contingency]] = {
            (number, kind): []
            for number, name in enumerate(scoring.classes.foreground)
            for kind in dict.fromkeys(_kinds(name, scoring).values())
        }
        self._components: dict[_Key, tuple[Components, Components]] = {}

    @property
    def preparations(self) -> int:
        """Blocks that are labelled to number the components: of truth and prediction, for each class and kind."""
        return 2 * len(self.found) * len(self.pieces)

    def prepare(self, advance: Callable[[], None]) -> None:
        """Number the components of the whole volume."""
        for number, kind in self.found:
            self._components[number, kind] = (
                find_components(self._objects(number, truth=True), self.pieces, kind, advance=advance),
                find_components(self._objects(number, truth=False), self.pieces, kind, advance=advance),
            )

    def measure(self, piece: Box) -> dict[_Key, Contingency]:
        """Count one block."""
        valid = self.comparison.read_valid(piece)
        return {
            key: Contingency.of(truth.read(piece), prediction.read(piece), valid)
            for key, (truth, prediction) in self._components.items()
        }

    def add(self, counted: dict[_Key, Contingency]) -> None:
        """Add the counts of a block."""
        for key, overlaps in counted.items():
            self.found[key] = pushed(self.found[key], overlaps)

    def arrays(self) -> Arrays:
        """Everything counted so far."""
        return {
            f"{number}-{kind}-{name}": array
            for (number, kind), parts in self.found.items()
            for name, array in arrays_of(Contingency.total(parts)).items()
        }

    def restore(self, arrays: Arrays) -> None:
        """Go on from what `arrays` gave."""
        for number, kind in self.found:
            start = f"{number}-{kind}-"
            own = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
            self.found[number, kind] = [overlaps_of(own)]

    @staticmethod
    def rows(volume: str, parts: Sequence[ObjectCounting]) -> Iterator[Score]:
        """Partition scores with 6 neighbours, instance scores with 26 (6 between borders), of each class."""
        scoring = parts[0].scoring
        for number, name in enumerate(scoring.classes.foreground):
            for family, kind in _kinds(name, scoring).items():
                tables = [Contingency.total(part.found[number, kind]) for part in parts]
                what = subject_of(name, kind, " over the volume", parts[0].comparison, scoring)
                subject = Score(scoring.run, volume, name, "", float("nan"), 0, what, threshold=scoring.threshold)
                if family == "partition":
                    yield from partition_rows(tables, subject, IN_3D)
                else:
                    yield from instance_rows(apart(tables), subject, IN_3D)

    def _objects(self, number: int, *, truth: bool) -> Callable[[Box], np.ndarray]:
        """Where the objects of a class are, and voxels count."""
        read_objects = object_reader(self.comparison, self.scoring, number, truth=truth)

        def read(box: Box) -> np.ndarray:
            mask, valid = read_objects(box), self.comparison.read_valid(box)
            return mask if valid is None else mask * valid

        return read


def _kinds(name: str, scoring: Scoring) -> dict[Family, Connectivity]:
    """Who is a neighbour, by family of scores. A border one voxel wide has to separate, so that 26 is not for it."""
    between = scoring.is_border(name)
    kinds: dict[Family, Connectivity] = {"partition": _PARTITION, "instances": _PARTITION if between else _INSTANCES}
    return {family: kind for family, kind in kinds.items() if scoring.wants(family)}


class IdCounting:
    """Which true and predicted objects share how many voxels, by the ids that the files give them."""

    title = "Comparing objects"
    preparations = 0

    def __init__(self, comparison: Comparison, scoring: Scoring) -> None:
        self.comparison, self.scoring = comparison, scoring
        self.pieces: Sequence[Box] = blocks_of(*comparison.images)
        self.found: list[Contingency] = []

    def prepare(self, advance: Callable[[], None]) -> None:
        """Nothing."""

    def measure(self, piece: Box) -> Contingency:
        """Count one block.

        Raises:
            ScoreError: A file holds something that is no object id.
        """
        voxels = self.comparison.read(piece)
        try:
            return Contingency.of(voxels.truth[0], voxels.prediction[0], voxels.valid)
        except ScoreError as error:
            raise ScoreError(f"{self.comparison.where(piece.start[0])}, voxels {piece}: {error}") from error

    def add(self, counted: Contingency) -> None:
        """Add the counts of a block."""
        self.found = pushed(self.found, counted)

    def arrays(self) -> Arrays:
        """Everything counted so far."""
        return arrays_of(Contingency.total(self.found))

    def restore(self, arrays: Arrays) -> None:
        """Go on from what `arrays` gave."""
        self.found = [overlaps_of(arrays)]

    @staticmethod
    def rows(volume: str, parts: Sequence[IdCounting]) -> Iterator[Score]:
        """All scores of objects."""
        scoring = parts[0].scoring
        tables = [Contingency.total(part.found) for part in parts]
        if not any(table.voxels.size for table in tables):
            raise ScoreError(f"no voxel of '{volume}' counts: check the mask")
        what = "objects by their ids over the volume"
        (name,) = scoring.classes.foreground
        subject = Score(scoring.run, volume, name, "", float("nan"), 0, what)
        if scoring.wants("partition"):
            yield from partition_rows(tables, subject)
        if scoring.wants("detection"):
            yield from detection_rows([detection(table) for table in tables], subject)
        if scoring.wants("instances"):
            yield from instance_rows(apart(tables), subject)
