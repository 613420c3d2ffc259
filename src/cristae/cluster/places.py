"""Where the workers are: processes of this computer, a Dask cluster that runs already, or jobs of a queue."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil

from cristae.cluster.options import ClusterOptions
from cristae.cluster.queue_file import read_queue, start_queue
from cristae.cluster.shares import environment, threads_each, visible_gpus
from cristae.cluster.worker import IMPORTS
from cristae.errors import ClusterError

CONNECT_S = 10.0
"""How long a scheduler has to answer."""
_LOOPBACK = "127.0.0.1"
_SETTINGS: dict[str, Any] = {
    # Jobs take hours, and a compilation holds a process for a while: neither is a sign of a lost worker. A process that
    # has died is noticed at once, since its connection breaks.
    "distributed.scheduler.worker-ttl": None,
    "distributed.comm.timeouts.connect": "120s",
    "distributed.comm.timeouts.tcp": "300s",
    # The coordinator itself counts how often a job has lost its worker, and where it is tried next.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.admin.tick.limit": "1h",
    "distributed.diagnostics.nvml": False,
}


@dataclass
class Place:
    """Workers and the way to them."""

    client: Any
    """Of `distributed`."""
    cluster: Any = None
    """What this process has started; None where the workers are another's."""
    threads: int | None = None
    """Of each job; None takes what each worker offers."""
    jobs: int | None = None
    """How many workers are wanted in a queue."""
    foreign: bool = True
    """Whether workers may be on other computers, with other versions."""

    def kill(self) -> None:
        """End the workers of this computer at once, whatever they do."""
        for nanny in [] if self.cluster is None else self.cluster.workers.values():
            if hasattr(nanny, "auto_restart"):
                nanny.auto_restart = False
                with suppress(psutil.Error, TypeError):
                    process = psutil.Process(nanny.pid)
                    for one in [*process.children(recursive=True), process]:
                        one.kill()

    def keep_up(self) -> None:
        """Submit jobs in the place of those that ended."""
        if self.jobs is not None and len(self.cluster.worker_spec) < self.jobs:
            self.cluster.scale(jobs=self.jobs)


@contextmanager
def workers_at(options: ClusterOptions, imports: Sequence[str]) -> Iterator[Place]:
    """Workers, for as long as they are needed.

    Args:
        options: Where.
        imports: Modules that workers import at their start.

    Raises:
        CristaeError: They cannot be had.
    """
    import dask
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    names = ",".join(imports)
    with ExitStack() as stack:
        stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
        if options.scheduler is not None:
            yield Place(stack.enter_context(_connected(options.scheduler)))
            return
        stack.enter_context(dask.config.set(_SETTINGS))
        if options.cluster is not None:
            config = read_queue(options.cluster)
            place = Place(None, start_queue(config, names), jobs=config.jobs)
        else:
            count = options.workers or 1
            stack.enter_context(_main_stays_here())
            place = Place(None, _start_local(count, names), threads_each(count), foreign=False)
        stack.callback(place.cluster.close, timeout=30)
        client = Client(place.cluster, set_as_default=False)  # type: ignore[no-untyped-call]
        place.client = stack.enter_context(client)
        try:
            yield place
        except BaseException:
            place.kill()
            raise


def _start_local(count: int, imports: str) -> Any:
    from distributed import Nanny, Scheduler, SpecCluster

    web = {"dashboard": False, "dashboard_address": f"{_LOOPBACK}:0"}
    gpus, listen = visible_gpus(), {"host": _LOOPBACK, "protocol": "tcp://"}
    workers = {
        number: {
            "cls": Nanny,
            "options": {
                **web,
                **listen,
                "nthreads": 1,
                "memory_limit": None,
                "env": environment(number, count, gpus) | {IMPORTS: imports},
                "preload": ["cristae.cluster.worker"],
                "silence_logs": logging.CRITICAL,
            },
        }
        for number in range(count)
    }
    scheduler = {"cls": Scheduler, "options": {**web, **listen, "port": 0}}
    return SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL)  # type: ignore[no-untyped-call]


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"scheduler: no Dask scheduler answers at {address} within {CONNECT_S:.0f} s ({error or 'no answer'}); "
            "is it running, and can this computer reach it? `dask scheduler` prints its address"
        ) from None
    with client:
        yield client


@contextmanager
def _main_stays_here() -> Iterator[None]:
    """New processes import the main module of the one that starts them, so that a script that calls `train_study` would
    run again in each worker. They are kept from it; functions of such a script are sent along as they are."""
    main = sys.modules["__main__"]
    kept: dict[str, Any] = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
    for name in kept:
        setattr(main, name, None)
    main.__dict__.pop("__file__", None)
    try:
        yield
    finally:
        vars(main).update(kept)
