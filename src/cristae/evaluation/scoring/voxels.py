"""Scores of single voxels: overlap by class, and probability maps without or at any threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.errors import ScoreError
from cristae.evaluation.blocks import blocks_of
from cristae.evaluation.comparison import Comparison, Voxels
from cristae.evaluation.scoring.ledger import Arrays
from cristae.evaluation.scoring.settings import Scoring
from cristae.metrics.calibration import (
    RELIABILITY_BINS,
    expected_calibration_error,
    maximum_calibration_error,
    reliability,
)
from cristae.metrics.confusion import Confusion
from cristae.metrics.histogram import Bins, Bounded, ProbabilityHistogram
from cristae.metrics.overlap import precision, recall, specificity
from cristae.metrics.ranking import bounded_auc_roc, bounded_average_precision
from cristae.metrics.score import Score
from cristae.metrics.tally import Tally, overlap_rows
from cristae.metrics.thresholds import (
    BINARY_MIOU,
    F1,
    JACCARD,
    TENTHS,
    Measure,
    Subject,
    curve_scores,
    threshold_scores,
)

_Slices = dict[int, tuple[Confusion, ...]]
_FOLLOWED = (F1, JACCARD, BINARY_MIOU)
"""Scores whose best threshold is looked for."""
_RATES = (
    Measure("sensitivity", lambda counts: float(recall(counts)[1]), "positive={name}"),
    Measure("specificity", lambda counts: float(specificity(counts)[1]), "positive={name}"),
    Measure("PPV", lambda counts: float(precision(counts)[1]), "positive={name}"),
)
"""What ROC curves and curves of precision and recall are made of."""
_FINE = tuple(k / 100 for k in range(101))


class VoxelCounting:
    """Confusions of every slice, and a histogram of every probability map."""

    title = "Comparing"
    preparations = 0

    def __init__(self, comparison: Comparison, scoring: Scoring) -> None:
        self.comparison, self.scoring = comparison, scoring
        self.tally = Tally(comparison.volume, scoring.classes)
        self.histograms: tuple[ProbabilityHistogram, ...] = ()
        """One for each foreground class with a probability map."""
        self.pieces: Sequence[Box] = blocks_of(*comparison.images)

    def prepare(self, advance: Callable[[], None]) -> None:
        """Nothing."""

    def measure(self, piece: Box) -> tuple[_Slices, tuple[ProbabilityHistogram, ...]]:
        """Count one block.

        Raises:
            ScoreError: A voxel that counts holds something that is not a class id, or a score that is none.
        """
        voxels = self.comparison.read(piece)
        if voxels.valid is not None and not voxels.valid.any():
            return {}, ()
        return self._slices(piece, voxels), self._histograms(voxels)

    def add(self, counted: tuple[_Slices, tuple[ProbabilityHistogram, ...]]) -> None:
        """Add the counts of a block."""
        slices, histograms = counted
        for z, tables in slices.items():
            self.tally.add(z, tables)
        if histograms and self.histograms:
            self.histograms = tuple(a + b for a, b in zip(self.histograms, histograms, strict=True))
        elif histograms:
            self.histograms = histograms

    def arrays(self) -> Arrays:
        """Everything counted so far."""
        slices = sorted(self.tally.slices.items())
        tables = [[table.counts for table in found] for _, found in slices]
        found: Arrays = {"z": np.array([z for z, _ in slices], np.int64), "tables": np.array(tables, np.int64)}
        for number, histogram in enumerate(self.histograms):
            found |= {
                f"{number}-counts": histogram.counts, f"{number}-low": histogram.bins.low,
                f"{number}-high": histogram.bins.high,
            }  # fmt: skip
        return found

    def restore(self, arrays: Arrays) -> None:
        """Continue from what `arrays` gave."""
        for z, tables in zip(arrays["z"], arrays["tables"], strict=True):
            self.tally.slices[int(z)] = tuple(Confusion(counts) for counts in tables)
        numbers = sorted(int(name.split("-")[0]) for name in arrays if name.endswith("-counts"))
        self.histograms = tuple(
            ProbabilityHistogram(arrays[f"{n}-counts"], Bins(arrays[f"{n}-low"], arrays[f"{n}-high"])) for n in numbers
        )

    def _slices(self, piece: Box, voxels: Voxels) -> _Slices:
        counted, size = {}, self.tally.table_size
        for z in range(piece.shape[0]):
            valid = None if voxels.valid is None else voxels.valid[z]
            pairs = zip(voxels.truth, voxels.prediction, strict=True)
            try:
                tables = tuple(Confusion.of(t[z], p[z], size, valid) for t, p in pairs)
            except ScoreError as error:
                raise ScoreError(f"{self.comparison.where(piece.start[0] + z)}: {error}") from error
            counted[self.comparison.first_slice + piece.start[0] + z] = tables
        return counted

    def _histograms(self, voxels: Voxels) -> tuple[ProbabilityHistogram, ...]:
        if not voxels.maps or not self.scoring.wants("ranking"):
            return ()
        truths, named = masks_of(voxels.truth, self.scoring.classes), sorted(set(self.scoring.thresholds.values()))
        return tuple(
            ProbabilityHistogram.of(t, s, voxels.valid, thresholds=named)
            for t, s in zip(truths, voxels.maps, strict=True)
        )

    @staticmethod
    def rows(volume: str, parts: Sequence[VoxelCounting]) -> Iterator[Score]:
        """Overlap, then scores of probability maps."""
        scoring = parts[0].scoring
        tallies = [part.tally for part in parts]
        if scoring.wants("overlap"):
            yield from overlap_rows(
                volume,
                tallies,
                scoring.run,
                scoring.threshold,
                complement=scoring.options.complement,
                over=scoring.options.over,
            )
        for name, histogram in _pooled(parts):
            yield from _map_rows(Subject(scoring.run, volume, name), histogram, scoring)

    @staticmethod
    def curves(volume: str, parts: Sequence[VoxelCounting]) -> Iterator[Score]:
        """Scores at eleven thresholds, rates at a hundred and one, and the points of a reliability diagram."""
        for name, histogram in _pooled(parts):
            subject = Subject(parts[0].scoring.run, volume, name)
            for measures, thresholds in ((_FOLLOWED, TENTHS), (_RATES, _FINE)):
                for measure in measures:
                    rows = curve_scores(histogram, measure, subject, thresholds)
                    yield from (replace(row, metric=measure.metric) for row in rows)
            yield from _reliability_rows(parts[0].scoring.run, volume, name, histogram)


def masks_of(labels: Sequence[np.ndarray], classes: Classes) -> Iterator[np.ndarray]:
    """Where each foreground class is: uint8 0 and 1 of the shape of the labels."""
    if not classes.exclusive:
        yield from labels
    elif len(classes.foreground) == 1:
        yield labels[0]
    else:
        yield from ((labels[0] == number).view(np.uint8) for number in classes.foreground_ids)


def _pooled(parts: Sequence[VoxelCounting]) -> Iterator[tuple[str, ProbabilityHistogram]]:
    """The histogram of each foreground class over all volumes."""
    if parts and all(part.histograms for part in parts):
        for place, name in enumerate(parts[0].scoring.classes.foreground):
            yield name, ProbabilityHistogram.total(part.histograms[place] for part in parts)


def _map_rows(subject: Subject, histogram: ProbabilityHistogram, scoring: Scoring) -> Iterator[Score]:
    positive = f"positive={subject.class_name}; pooled"
    for metric, bounded, what in (
        ("AUC-ROC", bounded_auc_roc(histogram), "every score a threshold; ties count one half"),
        ("AP", bounded_average_precision(histogram), "every score a threshold; no interpolation"),
        ("ECE", expected_calibration_error(histogram), f"{RELIABILITY_BINS} equal bins of the score"),
        ("MCE", maximum_calibration_error(histogram), f"{RELIABILITY_BINS} equal bins of the score"),
    ):
        rule = f"{positive}; {what}; {_precision(bounded)}; n=voxels"
        yield Score(subject.run, subject.volume, subject.class_name, metric, bounded.value, histogram.voxels, rule)
    for measure in _FOLLOWED:
        chosen = scoring.chosen(subject.class_name, f"{measure.metric}_best")
        yield from threshold_scores(histogram, measure, subject, fixed=None, validated=chosen)


def _reliability_rows(run: str, volume: str, name: str, histogram: ProbabilityHistogram) -> Iterator[Score]:
    """For each bin of the probability its mean, as threshold, and the fraction of foreground in it."""
    found = reliability(histogram)
    rule = f"positive={name}; pooled; share of foreground where the score is about the threshold; n=voxels"
    for mean, observed, voxels in zip(found.mean_probability, found.observed, found.voxels, strict=True):
        at = None if np.isnan(mean) else float(mean)
        yield Score(run, volume, name, "reliability", float(observed), int(voxels), rule, threshold=at)


def _precision(bounded: Bounded) -> str:
    return "exact" if bounded.exact else f"binned, between {bounded.low:.6f} and {bounded.high:.6f}"
