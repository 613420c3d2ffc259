"""Predictions are compared with the truth on workers, which count blocks; what they counted is added here, in order."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from cristae.cluster.groups import groups_of, name_of_group
from cristae.cluster.jobs import Job, JobFailure, error_of
from cristae.cluster.options import ClusterOptions
from cristae.cluster.run import run_jobs
from cristae.data.image import Image
from cristae.evaluation.scoring.counting import Counting
from cristae.evaluation.scoring.evaluation import Evaluation, open_evaluations
from cristae.evaluation.scoring.gathering import MEASURING, Elsewhere, Gathering, measure_pieces
from cristae.evaluation.scoring.ledger import Ledger
from cristae.evaluation.scoring.score import countings_of
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.evaluation.segmentation import Meaning, SegmentationSource
from cristae.progress import Progress
from cristae.workflows.paths_for_workers import meaning_for_workers, path_for_workers


@dataclass(frozen=True)
class Compared:
    """What is compared, as paths that any process can open."""

    predictions: Mapping[str, str]
    """By the name of the run."""
    truth: str
    meaning: Meaning
    mask: str | None
    options: ScoreOptions

    @classmethod
    def of(
        cls,
        predictions: Mapping[str, SegmentationSource],
        truth: SegmentationSource,
        meaning: Meaning,
        mask: Image | str | Path | None,
        options: ScoreOptions,
    ) -> Compared:
        """From the arguments of `open_evaluations`.

        Raises:
            VolumeError: Something exists in this process only.
        """
        if options.thresholds_from is not None:
            options = replace(options, thresholds_from=Path(options.thresholds_from).absolute())
        return cls(
            {run: path_for_workers(source, meaning) for run, source in predictions.items()},
            path_for_workers(truth, meaning),
            meaning_for_workers(meaning),
            None if mask is None else path_for_workers(mask, Meaning()),
            options,
        )

    def open(self, progress: Progress) -> list[Evaluation]:
        """Open it in this process."""
        return open_evaluations(
            self.predictions, self.truth, self.meaning, mask=self.mask, options=self.options, progress=progress
        )


def counted_on_workers(compared: Compared, options: ClusterOptions, progress: Progress) -> Elsewhere:
    """Has workers count what needs no preparation of the whole volume; the rest is left.

    What is returned raises:
        CristaeError: A worker cannot read a block; what was counted is kept, where a file is written.
        KeyboardInterrupt: Ctrl-C.
    """
    session, sent = uuid.uuid4().hex, pickle.dumps(compared)

    def count(countings: Mapping[str, Counting], ledger: Ledger) -> None:
        apart = {name: one for name, one in countings.items() if not one.preparations}
        gathering = Gathering(apart, ledger)
        jobs, places = list[Job](), dict[str, tuple[str, int]]()
        for name, counting in apart.items():
            left = gathering.left(name)
            for group in groups_of(len(left), options.expected_workers):
                here = left[group.start : group.stop]
                key = f"{counting.title}, {name_of_group(here)} ({name.rpartition(':')[0]})"
                places[key] = name, here.start
                cost = len(here) / len(counting.pieces)
                jobs.append(Job(key, count_group, (session, sent, name, here), cost, main_task=MEASURING))

        def take(key: str, measured: list[Any]) -> None:
            gathering.take(*places[key], measured)

        try:
            run_jobs(jobs, options, on_done=take, on_failed=_end, progress=progress, title=MEASURING, each=False)
        except BaseException:
            gathering.keep()
            ledger.save()
            raise
        gathering.keep()

    return count


def count_group(session: str, sent: bytes, name: str, places: range, *, progress: Progress) -> list[Any]:
    """Measure neighbouring pieces of a counting on a worker.

    Args:
        session: Of the coordinator; for its groups files stay open.
        sent: What is compared, pickled.
        name: Of the counting.
        places: Of the pieces.
        progress: Where to report.
    """
    return measure_pieces(_kept(session, sent)[name], places, progress)


@lru_cache(maxsize=1)
def _kept(session: str, sent: bytes) -> dict[str, Counting]:  # noqa: ARG001  # files may have changed since another one
    compared: Compared = pickle.loads(sent)
    return countings_of(compared.open(Progress()))  # the coordinator has told what there is to tell


def _end(failure: JobFailure) -> None:
    raise error_of(failure)
