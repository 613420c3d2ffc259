"""Annotators and algorithms are compared on workers, which count blocks; what they counted is added here, in order."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cristae.cluster.groups import groups_of, name_of_group
from cristae.cluster.jobs import Job, JobFailure, error_of
from cristae.cluster.options import ClusterOptions
from cristae.cluster.run import run_jobs
from cristae.data.image import Image
from cristae.evaluation.agreement import COMPARING, AgreementOptions, Panel, open_panel
from cristae.evaluation.segmentation import Meaning, SegmentationSource
from cristae.metrics.agreement import Agreement
from cristae.progress import Progress
from cristae.workflows.paths_for_workers import meaning_for_workers, path_for_workers


@dataclass(frozen=True)
class Participants:
    """Who is compared, as paths that any process can open."""

    paths: Mapping[str, str]
    meaning: Meaning
    mask: str | None
    options: AgreementOptions

    @classmethod
    def of(
        cls,
        participants: Mapping[str, SegmentationSource],
        meaning: Meaning,
        mask: Image | str | Path | None,
        options: AgreementOptions,
    ) -> Participants:
        """From the arguments of `open_panel`.

        Raises:
            VolumeError: Something exists in this process only.
        """
        paths = {name: path_for_workers(source, meaning) for name, source in participants.items()}
        where = None if mask is None else path_for_workers(mask, Meaning())
        return cls(paths, meaning_for_workers(meaning), where, options)


def counted_on_workers(
    panel: Panel, participants: Participants, options: ClusterOptions, progress: Progress
) -> Agreement:
    """Have workers count the blocks of a panel.

    Raises:
        CristaeError: A worker cannot read or count a block.
        KeyboardInterrupt: Ctrl-C.
    """
    session, sent = uuid.uuid4().hex, pickle.dumps(participants)
    groups = {name_of_group(one): one for one in groups_of(len(panel.blocks()), options.expected_workers)}
    jobs = [Job(name, count_group, (session, sent, one), len(one), main_task=COMPARING) for name, one in groups.items()]
    found: dict[int, Agreement] = {}

    def take(name: str, counted: Agreement) -> None:
        found[groups[name].start] = counted

    run_jobs(jobs, options, on_done=take, on_failed=_end, progress=progress, title=COMPARING, each=False)
    total = panel.nothing()
    for start in sorted(found):
        total.add(found[start])
    return total


def count_group(session: str, sent: bytes, places: range, *, progress: Progress) -> Agreement:
    """Count neighbouring blocks on a worker.

    Args:
        session: Of the coordinator; for its groups files stay open.
        sent: The participants, pickled.
        places: Of the blocks.
        progress: Where to report.
    """
    panel = _kept(session, sent)
    return panel.count([panel.blocks()[place] for place in places], progress)


@lru_cache(maxsize=1)
def _kept(session: str, sent: bytes) -> Panel:  # noqa: ARG001  # files may have changed since another session
    one: Participants = pickle.loads(sent)
    return open_panel(one.paths, one.meaning, mask=one.mask, options=one.options, progress=Progress())


def _end(failure: JobFailure) -> None:
    raise error_of(failure)
