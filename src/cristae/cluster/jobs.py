"""Jobs, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cristae import errors
from cristae.errors import ClusterError, CristaeError

ERROR_RETRIES = 1
"""How often a job is begun again after an error that is none of Cristae's own."""
LOST_RETRIES = 2
"""How often a job is begun again after its worker process was lost."""


@dataclass(frozen=True, eq=False)
class Job:
    """A piece of work that depends on no other.

    It may be begun again after a worker was lost, so it continues what it finds half done, and repeats nothing that is
    finished.
    """

    key: str
    """Its name, which no other job has."""
    function: Callable[..., Any]
    """Called as `function(*arguments, progress=...)`; it and its arguments can be pickled, and so can its small result.
    """
    arguments: tuple[Any, ...] = ()
    cost: float = 1.0
    """How long it takes, in any unit that all jobs share; the longest are begun first."""
    lock: Path | None = None
    """A file that is locked while the job runs on a worker, so that a process that was taken for lost, and is not,
    never writes beside the one in its place. It goes when the job is done."""
    main_task: str = "Training"
    """The task of its progress that tells how much of the job is done."""


@dataclass(frozen=True)
class JobFailure:
    """A job that could not be done."""

    key: str
    error: str
    """What is wrong, for people."""
    kind: str
    """The class of the error, such as 'RecipeError'."""
    attempts: int
    """How often it was begun."""
    traceback: str = ""
    """Where it failed, for a log; empty where the input is wrong or the worker was lost."""


def error_of(failure: JobFailure, otherwise: type[CristaeError] = ClusterError) -> CristaeError:
    """The error that ended a job, of its own kind; where that is none of Cristae's, another kind with the traceback."""
    kind = getattr(errors, failure.kind, None)
    if isinstance(kind, type) and issubclass(kind, CristaeError):
        return kind(failure.error)
    return otherwise(f"{of_job(failure.key, failure.error)}\n{failure.traceback}")


Done = Callable[[str, Any], None]
"""Told of a job that is done, its key and result, in the process and thread that called `run_jobs`."""
Failed = Callable[[JobFailure], None]
Started = Callable[[str], None]
"""Told of a job before it is begun for the first time."""


def of_job(key: str, message: str) -> str:
    """A message that begins with the name of its job."""
    return message if message.startswith(f"{key}: ") else f"{key}: {message}"
