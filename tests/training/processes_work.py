"""What the processes of `test_processes` do: the first argument names it."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cristae.errors import NetworkError
from cristae.progress import Progress
from cristae.training.interruption import ASKED_FROM_OUTSIDE
from cristae.training.processes import take_part

RANK = int(os.environ["LOCAL_RANK"])


def work(arguments: Sequence[str], progress: Progress) -> dict[str, Any]:
    what, folder = arguments[0], Path(arguments[1])
    (folder / f"pid{RANK}").write_text(str(os.getpid()))
    print("a line that is no message")
    if what == "done":
        progress.warn("careful")
        with progress.task("Training", 3, unit="batches", done=1) as task:
            task.advance(2, note="loss 0.5")
        progress.say("over")
        return {"rank": RANK, "port": os.environ["MASTER_PORT"], "score": float("nan")}
    if RANK == 1 and what == "refuses":
        raise NetworkError("the network cannot")
    if RANK == 1 and what == "fails":
        raise ZeroDivisionError("by nothing")
    if RANK == 1 and what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if RANK == 1 and what == "leaves":
        os._exit(0)
    if RANK == 0 and what == "killed":  # what the loss of the other process does to this one, and at once
        raise RuntimeError("Connection closed by peer")
    if what == "stops":
        with progress.task("Training", 3):
            assert RANK or ASKED_FROM_OUTSIDE.wait(60)  # the second one stops with the first, which tells it
            raise KeyboardInterrupt
    time.sleep(600)
    return {}


if __name__ == "__main__":
    sys.path.append("")
    take_part(work)
