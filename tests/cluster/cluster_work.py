"""What the jobs of the tests do. Each writes a line for each time it was begun: the time and its process."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from cristae.errors import NetworkError
from cristae.progress import Progress


def begin(folder: str, key: str) -> int:
    """Note the beginning; how often there was one."""
    path = Path(folder) / f"{key}.begun"
    with path.open("a") as file:
        file.write(f"{time.time()} {os.getpid()}\n")
    return len(path.read_text().splitlines())


def note(folder: str, key: str, progress: Progress) -> str:
    begin(folder, key)
    return key.upper()


def refuse(folder: str, key: str, progress: Progress) -> None:
    begin(folder, key)
    raise NetworkError("the network cannot")


def fail(folder: str, key: str, times: int, progress: Progress) -> str:
    if begin(folder, key) <= times:
        raise ZeroDivisionError("by nothing")
    return "at last"


def die(folder: str, key: str, times: int, progress: Progress) -> str:
    if begin(folder, key) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def facts(folder: str, key: str, progress: Progress) -> dict[str, Any]:
    """What a job finds in its worker."""
    import torch

    begin(folder, key)
    progress.warn("careful")
    progress.warn("careful")
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {
        "threads": torch.get_num_threads(),
        "environment": {name: os.environ.get(name) for name in names},
        "ours": "torch" in sys.modules,
        "main": getattr(sys.modules["__main__"], "__file__", None),
    }


def hold(folder: str, key: str, seconds: float, progress: Progress) -> str:
    """Hold the lock of the interpreter, as compilation does."""
    import re

    begin(folder, key)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        re.fullmatch("(a|a)*b", "a" * 22)  # one call of some tenths of a second that lets no other thread in
    return "held"


def wait(folder: str, key: str, progress: Progress) -> str:
    """Work that ends when it is asked to stop, and says so."""
    begin(folder, key)
    try:
        with progress.task("Training", 600) as task:
            for _ in range(600):
                time.sleep(0.1)
                task.advance()
    except KeyboardInterrupt:
        (Path(folder) / f"{key}.stopped").touch()
        raise
    return "waited"


def deaf(folder: str, key: str, progress: Progress) -> None:
    """Work that does not hear that it is asked to stop."""
    begin(folder, key)
    time.sleep(600)


if __name__ == "__main__":  # a coordinator that tests can kill, and interrupt
    from cristae.cluster.jobs import Job
    from cristae.cluster.options import ClusterOptions
    from cristae.cluster.run import run_jobs

    class Said(Progress):
        def say(self, message: str) -> None:
            print(message, flush=True)

    what, place, address = sys.argv[1:4]
    options = ClusterOptions(scheduler=address) if address else ClusterOptions(workers=2)
    sys.path.insert(0, str(Path(__file__).parent))
    import cluster_work  # for a worker, the functions are those of the module

    work = getattr(cluster_work, what)
    jobs = [Job(key, work, (place, key)) for key in ("a", "b", "c")]
    try:
        run_jobs(jobs, options, on_done=lambda key, result: None, progress=Said())
    except KeyboardInterrupt:
        sys.exit(130)
