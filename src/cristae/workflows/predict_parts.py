"""The blocks of a planned prediction, predicted by this process, by others, or by workers that share them."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache

from cristae.cluster import jobs
from cristae.cluster.groups import groups_of, name_of_group
from cristae.cluster.options import ClusterOptions
from cristae.cluster.run import run_jobs
from cristae.data.address import place_of
from cristae.data.formats.cache import limit_cache
from cristae.errors import MissingFileError
from cristae.inference.job import Job, open_job
from cristae.inference.manifest import find_begun, is_complete
from cristae.inference.planning import Inputs
from cristae.inference.request import PredictionRequest
from cristae.inference.runtimes.faster import BlockOf
from cristae.inference.writer import PredictionWriter, begin_output, open_output
from cristae.models.external import own_errors
from cristae.progress import Progress
from cristae.recipe.matching import open_member
from cristae.recipe.run import Run


@dataclass(frozen=True, eq=False)
class PlannedPrediction:
    """A request, and what it names opened in this process."""

    request: PredictionRequest
    inputs: Inputs
    runs: tuple[Run, ...]
    complete: bool = False
    """Whether the output is finished already."""

    @classmethod
    def open(cls, request: PredictionRequest) -> PlannedPrediction:
        """Open what a request names.

        Raises:
            VolumeError: The volume exists in another process only, or a file has changed.
            RunError: Weights have changed.
            MissingFileError: An input is gone.
        """
        limit_cache(request.plan.cache_bytes)
        opened = [open_member(spec) for spec in request.provenance.members]
        inputs = Inputs.open(request.provenance, tuple(member for _, member in opened))
        return cls(request, inputs, tuple(run for run, _ in opened))

    def ready(self, output: PredictionWriter) -> ReadyPrediction:
        """With its output, ready to be carried out here."""
        return ReadyPrediction(self, open_job(self.request, self.inputs, output))


@dataclass(frozen=True, eq=False)
class ReadyPrediction:
    """A prediction whose blocks this process can predict."""

    planned: PlannedPrediction
    job: Job

    def predict(
        self, progress: Progress, *, blocks: Sequence[int] | None = None, block_of: BlockOf | None = None
    ) -> None:
        """Predict blocks, by their numbers, that are not on disk yet; None takes all. See `Job.run`."""
        with ExitStack() as stack:
            for run, member in zip(self.planned.runs, self.planned.inputs.members, strict=True):
                stack.enter_context(own_errors(run.recipe.model, member.network))
            self.job.run(progress, numbers=blocks, block_of=block_of)


def begin_prediction(request: PredictionRequest) -> PredictionWriter:
    """Make the output of a request, or open it when it was begun; then processes can start on their parts.

    Raises:
        OutputExistsError: There is something else at its place.
        StorageError: The disk is full or the place may not be written.
    """
    return begin_output(request)


def predict_part(request: PredictionRequest, *, blocks: Sequence[int], progress: Progress = Progress()) -> None:
    """Predict some blocks of a request, in any process that reaches its files.

    Any number of processes may do so at the same time, on any machines; one that was killed is started again.
    `finish_prediction` completes the output once all blocks are done.

    Args:
        request: From `plan_prediction`, or from its JSON.
        blocks: Their numbers, from 0 to less than `request.block_count`; those that are on disk are left as they are.
        progress: Where to report.

    Raises:
        VolumeError: The volume exists in another process only, or a file has changed.
        RunError: Weights have changed, this machine lacks the device, or there is no such block.
        OutputExistsError: The output was begun from something else.
        MissingFileError: The output was not begun with `begin_prediction`, or an input is gone.
    """
    if is_complete(find_begun(place_of(request.out))):
        progress.say(f"{request.out}: was finished already")
        return
    PlannedPrediction.open(request).ready(open_output(request)).predict(progress, blocks=blocks)


def predict_on_workers(
    request: PredictionRequest, output: PredictionWriter, options: ClusterOptions, progress: Progress
) -> None:
    """Let workers predict the blocks of a request: groups of neighbours, ever smaller, so that all end together.

    Raises:
        CristaeError: A worker cannot do its part; what is on disk stays, and a repeated call goes on.
        KeyboardInterrupt: Ctrl-C; workers have stopped after their blocks.
    """
    there = len(output.journal.read())
    if there:
        progress.say(f"{output.path}: {there} of {request.block_count} blocks are there already")
    session, text = uuid.uuid4().hex, request.to_json()
    groups = [
        jobs.Job(name_of_group(group), predict_group, (session, text, group), len(group), main_task="Predicting")
        for group in groups_of(request.block_count, options.expected_workers)
    ]
    run_jobs(
        groups,
        options,
        on_done=lambda *_: None,
        on_failed=_end,
        progress=progress,
        title="Predicting",
        each=False,
    )


def predict_group(session: str, text: str, blocks: range, *, progress: Progress) -> None:
    """Predict a group of blocks on a worker.

    Args:
        session: Of the coordinator; for its groups, networks and files stay open.
        text: The request as JSON.
        blocks: Their numbers.
        progress: Where to report.
    """
    _kept(session, text).predict(progress, blocks=blocks)


@lru_cache(maxsize=1)
def _kept(session: str, text: str) -> ReadyPrediction:  # noqa: ARG001  # files may have changed since another session
    request = PredictionRequest.from_json(text)
    try:
        return PlannedPrediction.open(request).ready(open_output(request))
    except MissingFileError as error:
        raise MissingFileError(
            f"{error} (on the worker's computer, {socket.gethostname()}: workers need volume, mask, runs and output at "
            "the paths that they have here)"
        ) from error


def _end(failure: jobs.JobFailure) -> None:
    """A prediction without these blocks is of no use: what keeps one worker from them keeps others, too."""
    raise jobs.error_of(failure)
