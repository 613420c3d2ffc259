"""Jobs are run: one after the other in this process, or on workers."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from cristae.cluster.jobs import ERROR_RETRIES, Done, Failed, Job, JobFailure, Started, of_job
from cristae.cluster.options import ClusterOptions
from cristae.errors import CristaeError
from cristae.progress import Progress


def run_jobs(
    jobs: Sequence[Job],
    options: ClusterOptions = ClusterOptions(),
    *,
    on_done: Done,
    on_failed: Failed | None = None,
    on_start: Started | None = None,
    progress: Progress = Progress(),
    title: str = "Jobs",
    each: bool = True,
) -> tuple[JobFailure, ...]:
    """Carry out jobs, the longest first.

    A job that raises a `CristaeError` has failed. One that raises anything else is begun once more, one whose worker
    process was lost twice more. What fails does not keep the others from being done.

    Args:
        jobs: With keys that differ.
        options: Where; without any, in this process, and without Dask.
        on_done: Called as each is done; it alone writes what jobs share.
        on_failed: Called when one has failed for good, which is said, too.
        on_start: Called when one is begun for the first time.
        progress: Where to show how far they are.
        title: What the bar over all of them is called.
        each: Whether each job that is done gives a line, besides the bar.

    Returns:
        The jobs that failed, in the order of `jobs`.

    Raises:
        ClusterError: There are no workers to be had, or theirs are other versions.
        KeyboardInterrupt: Ctrl-C: jobs that were running have stopped as they do when they run alone.
    """
    assert len({job.key for job in jobs}) == len(jobs), "keys of jobs differ"
    if not jobs:
        return ()
    order = sorted(jobs, key=lambda job: -job.cost)
    failures: dict[str, JobFailure] = {}

    def failed(failure: JobFailure) -> None:
        failures[failure.key] = failure
        if on_failed is not None:
            on_failed(failure)

    def started(key: str) -> None:
        if on_start is not None:
            on_start(key)

    if options.on_dask:
        from cristae.cluster.coordinator import run_on_dask

        run_on_dask(order, options, on_done, failed, started, progress, title, each=each)
    else:
        for number, job in enumerate(order, start=1):
            progress.say(f"Job {number} of {len(order)}: {job.key}")
            started(job.key)
            _run_here(job, on_done, failed, progress)
    return tuple(failures[job.key] for job in jobs if job.key in failures)


def _run_here(job: Job, on_done: Done, failed: Failed, progress: Progress) -> None:
    for attempt in range(1, ERROR_RETRIES + 2):
        try:
            result = job.function(*job.arguments, progress=progress)
        except CristaeError as error:
            failure = JobFailure(job.key, str(error), type(error).__name__, attempt)
            break
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            failure = JobFailure(job.key, text, type(error).__name__, attempt, traceback.format_exc())
            if attempt <= ERROR_RETRIES:
                progress.warn(f"{job.key}: it failed ({text.splitlines()[0][:200]}); it is begun again")
        else:
            on_done(job.key, result)
            return
    progress.warn(f"{of_job(job.key, failure.error)} (failed)")
    failed(failure)
