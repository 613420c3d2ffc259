"""Where jobs are carried out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cristae.errors import ClusterError

_MANY = 64
"""Workers that a Dask cluster is taken to have, where work is cut up for all of them."""
_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}")


@dataclass(frozen=True)
class ClusterOptions:
    """Where jobs are carried out; without any of these, one after the other in this process."""

    workers: int | None = None
    """Processes on this computer that work side by side, sharing its cores and GPUs."""
    scheduler: str | None = None
    """Address of a Dask scheduler that runs already, such as 'tcp://host:8786'."""
    cluster: Path | None = None
    """YAML file that says which jobs to submit to SLURM, LSF or PBS; their workers do the work."""

    def __post_init__(self) -> None:
        """Check what can be checked without a cluster.

        Raises:
            ClusterError: Something is no sensible value, or two of them contradict each other.
        """
        given = [name for name in ("workers", "scheduler", "cluster") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ClusterError(
                f"{' and '.join(given)} are given, but jobs go to one place; give workers for processes on this "
                "computer, scheduler for a Dask cluster that runs already, or cluster to submit to a queue"
            )
        if self.workers is not None and self.workers < 1:
            raise ClusterError(f"workers: must be 1 or more, got {self.workers}")
        if self.scheduler is not None and _ADDRESS.fullmatch(self.scheduler) is None:
            raise ClusterError(
                f"scheduler: '{self.scheduler}' is no address of a Dask scheduler; write it as tcp://host:8786"
            )

    def require_none(self, why: str) -> None:
        """For what is a single job.

        Args:
            why: What makes it one, in words.

        Raises:
            ClusterError: There is a wish that could have no effect.
        """
        for name in ("workers", "scheduler", "cluster"):
            if getattr(self, name) is not None:
                raise ClusterError(
                    f"--{name}: {why}, and one training runs on one computer; workers train the members of a study "
                    "side by side: --folds, or `folds` or `instances` in the recipe, make one. Several GPUs train one "
                    "network with training.devices"
                )

    @property
    def expected_workers(self) -> int:
        """How many workers there will be, or may well be where others start them."""
        if self.cluster is not None:
            from cristae.cluster.queue_file import read_queue

            return read_queue(self.cluster).jobs
        return (self.workers or 1) if self.scheduler is None else _MANY

    @property
    def on_dask(self) -> bool:
        """Whether other processes do the work."""
        return self.scheduler is not None or self.cluster is not None or (self.workers or 1) > 1
