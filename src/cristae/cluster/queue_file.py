"""The file that describes the jobs of a queue (SLURM, LSF, PBS) whose workers do the work.

The jobs are made by dask-jobqueue, the extra `slurm`. `python -m cristae.cluster FILE` prints the script that would be
submitted, without a cluster.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from cristae.config import Config
from cristae.errors import ClusterError, MissingFileError, RunError
from cristae.words import parse_size


def _size(text: str) -> str:
    try:
        parse_size(text)
    except RunError as error:
        raise ValueError(str(error)) from None
    return text


class QueueConfig(Config):
    """Jobs of a queue, each of which is one worker."""

    system: Literal["slurm", "lsf", "pbs"]
    """The queue's program."""
    jobs: PositiveInt
    """How many jobs to submit: as many members are worked on side by side."""
    cores: PositiveInt
    """Cores of each job; its member uses as many threads."""
    memory: Annotated[str, AfterValidator(_size)]
    """Memory of each job, such as 32GiB."""
    walltime: Annotated[str, Field(pattern=r"^\d{1,3}:[0-5]\d:[0-5]\d$")]
    """How long each job may run, as hours:minutes:seconds, in quotes."""
    queue: str | None = None
    """The queue, or SLURM's partition."""
    account: str | None = None
    """Who pays: SLURM's and PBS's account, LSF's project."""
    gpus: NonNegativeInt = 0
    """GPUs of each job."""
    interface: str | None = None
    """The network interface over which the computers reach each other, such as ib0; None takes the usual one."""
    directives: tuple[str, ...] = ()
    """Further options of the queue, as they stand behind #SBATCH, #BSUB or #PBS."""
    prologue: tuple[str, ...] = ()
    """Lines of shell before the worker starts, such as `module load cuda`."""
    logs: str | None = None
    """A folder for what the jobs print."""


def read_queue(path: Path) -> QueueConfig:
    """Read the file.

    Raises:
        MissingFileError: There is none, or it cannot be read.
        RecipeError: It is not what it should be; one line per problem.
    """
    from cristae.recipe.document import read_document
    from cristae.recipe.load import parse_config

    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise MissingFileError(f"{path}: there is no such file; it says which jobs to submit to a queue") from None
    except (OSError, UnicodeDecodeError) as error:
        raise MissingFileError(f"{path}: cannot be read: {error}") from None
    return parse_config(QueueConfig, read_document(text, str(path)))


def job_script(path: Path) -> str:
    """The script that is submitted for each worker, with a stand-in for the scheduler's address.

    Raises:
        CristaeError: The file is no description of jobs, or dask-jobqueue is not installed.
    """
    config = read_queue(path)
    kind = getattr(_jobqueue(), f"{config.system.upper()}Cluster").job_cls
    script: str = kind(scheduler="tcp://SCHEDULER:PORT", name="WORKER", **job_options(config)).job_script()
    return script


def start_queue(config: QueueConfig, imports: str) -> Any:
    """A Dask cluster of such jobs, which are submitted.

    Args:
        config: The jobs.
        imports: What workers import at their start, for the worker's environment.
    """
    from cristae.cluster.worker import IMPORTS

    kind = getattr(_jobqueue(), f"{config.system.upper()}Cluster")
    prologue = [f"export {IMPORTS}={imports}"] if imports else []
    scheduler = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    cluster = kind(**job_options(config, prologue), scheduler_options=scheduler)
    cluster.scale(jobs=config.jobs)
    return cluster


def job_options(config: QueueConfig, prologue: list[str] | None = None) -> dict[str, Any]:
    """The file in the words of dask-jobqueue."""
    hours, minutes, _ = config.walltime.split(":")
    options: dict[str, Any] = {
        "cores": config.cores,
        "processes": 1,
        "memory": f"{parse_size(config.memory)}B",
        "walltime": config.walltime,
        "queue": config.queue,
        "interface": config.interface,
        "log_directory": config.logs,
        "job_name": "cristae",
        "death_timeout": 120,
        "job_extra_directives": list(config.directives),
        "job_script_prologue": [*config.prologue, *_ENVIRONMENT, *(prologue or [])],
        # What stands last counts: the queue watches the memory, and Dask would pause workers long before.
        "worker_extra_args": ["--memory-limit", "0", "--no-dashboard", "--preload", "cristae.cluster.worker"],
    }
    if config.system == "slurm":
        gpus = [f"--gres=gpu:{config.gpus}"] if config.gpus else []
        own: Mapping[str, Any] = {"account": config.account, "job_extra_directives": [*gpus, *config.directives]}
    elif config.system == "lsf":
        gpus = [f'-gpu "num={config.gpus}"'] if config.gpus else []
        wall = f"{hours}:{minutes}"
        own = {
            "project": config.account,
            "walltime": wall,
            "lsf_units": "mb",
            "job_extra_directives": [*gpus, *config.directives],
        }
    else:
        asked = f"select=1:ncpus={config.cores}:mem={-(-parse_size(config.memory) // 2**20)}MB"
        asked += f":ngpus={config.gpus}" if config.gpus else ""
        own = {"account": config.account, "resource_spec": asked}
    return options | dict(own)


_ENVIRONMENT = ("export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False",)


def _jobqueue() -> Any:
    """The package; importing it would make Ctrl-C end the process at once, so what Ctrl-C does is put back."""
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue
    except ImportError:
        raise ClusterError(
            "jobs of a queue are submitted by dask-jobqueue, which is not installed; install cristae[slurm]"
        ) from None
    if signal.getsignal(signal.SIGINT) is not on_ctrl_c:
        signal.signal(signal.SIGINT, on_ctrl_c)
    return dask_jobqueue
