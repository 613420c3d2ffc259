"""Several processes on one computer that train one network together.

The process that called `train` starts all of them, each as `python -m` of a small module, shows their progress and
waits. So no script of the user runs twice, and when one process fails, or the waiting one is interrupted, all end. The
first Ctrl-C asks them to stop where the training can be resumed; a second one ends them at once.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from cristae import errors
from cristae.errors import CristaeError, TrainingError
from cristae.progress import Progress, Task
from cristae.training.guard import LOOK_EVERY
from cristae.training.interruption import ASKED_FROM_OUTSIDE, Interruption

_GRACE_S = 5.0
"""How long processes have to end by themselves, and to report, after one has failed."""
_POLL_S = 0.2

Message = dict[str, Any]


def run_processes(module: str, arguments: Sequence[str], count: int, progress: Progress) -> dict[str, Any]:
    """Start `count` processes that train together, and wait until all are done.

    Args:
        module: What each of them runs, which must call `take_part`.
        arguments: What that gets.
        count: How many.
        progress: Where to show what the first of them reports.

    Returns:
        The result of the first one.

    Raises:
        CristaeError: What one of them raised; the others were ended.
        TrainingError: One of them failed otherwise, or was killed; the others were ended.
        KeyboardInterrupt: Ctrl-C; all have stopped with a checkpoint, or were ended where it came twice, or before
            the first of them reported a task.
    """
    port = _free_port()
    processes: list[subprocess.Popen[str]] = []
    messages: queue.Queue[tuple[int, Message | None]] = queue.Queue()
    try:
        for rank in range(count):
            processes.append(_start(module, arguments, rank, port))
            threading.Thread(target=_forward, args=(rank, processes[rank], messages), daemon=True).start()
        shown = _Shown(progress)
        interruption = Interruption(
            progress,
            when=f"after at most {LOOK_EVERY} batches, with a checkpoint",
            notable=lambda: shown.begun,
            then=lambda: _ask_to_stop(processes[0]),
        )
        with interruption.noted():
            result = _wait(processes, messages, shown, interruption)
        if interruption.asked:  # after the last batch
            raise KeyboardInterrupt
        return result
    finally:
        _end(processes)


def take_part(work: Callable[[Sequence[str], Progress], dict[str, Any]]) -> None:
    """Be one of the processes of `run_processes`: do the work and report its result, progress and errors.

    Args:
        work: Gets the arguments and where to show progress; gives plain values.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the process that waits asks the others to stop
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the work prints is not a message
    threading.Thread(target=_end_with_parent, daemon=True).start()
    report = _Report(channel)
    try:
        first = os.environ["LOCAL_RANK"] == "0"
        report.send(result=work(sys.argv[1:], report if first else Progress()))
    except KeyboardInterrupt:
        report.send(interrupted=True)
        sys.exit(130)
    except CristaeError as error:
        report.send(error=[type(error).__name__, str(error)])
        sys.exit(error.exit_code)
    except BaseException:
        report.send(failure=traceback.format_exc())
        sys.exit(1)


class _Report(Progress):
    """Sends progress to the process that waits, one JSON object a line."""

    def __init__(self, channel: IO[str]) -> None:
        self._channel, self._lock = channel, threading.Lock()

    def send(self, **message: Any) -> None:
        """One message."""
        with self._lock, suppress(BrokenPipeError):
            self._channel.write(json.dumps(message) + "\n")

    @contextmanager
    def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
        """See `Progress`."""
        send = self.send

        class _Sent(Task):
            def advance(self, steps: int = 1, *, note: str = "") -> None:
                send(advance=[steps, note])

        send(task={"title": title, "total": total, "unit": unit, "done": done})
        yield _Sent()
        send(end=True)

    def say(self, message: str) -> None:
        """See `Progress`."""
        self.send(say=message)

    def warn(self, message: str) -> None:
        """See `Progress`."""
        self.send(warn=message)


def _start(module: str, arguments: Sequence[str], rank: int, port: int) -> subprocess.Popen[str]:
    paths = [str(Path(__file__).parents[2]), *(str(Path(path).absolute()) for path in sys.path)]
    variables = {
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),  # modules beside the script that called `train`
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, **variables},
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _ask_to_stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    with suppress(OSError):  # it has ended
        os.write(process.stdin.fileno(), b".")


def _end_with_parent() -> None:
    """Stop at once when the process that waits is gone, however it ended: its end of the pipe closes; a byte asks to
    stop soon."""
    while os.read(0, 1):  # not through sys.stdin, whose lock would be held when the process ends
        ASKED_FROM_OUTSIDE.set()
    os._exit(1)


def _forward(rank: int, process: subprocess.Popen[str], messages: queue.Queue[tuple[int, Message | None]]) -> None:
    assert process.stdout
    with suppress(ValueError):  # the pipe was closed
        for line in process.stdout:
            messages.put((rank, json.loads(line)))
    messages.put((rank, None))


def _wait(
    processes: Sequence[subprocess.Popen[str]],
    messages: queue.Queue[tuple[int, Message | None]],
    shown: _Shown,
    interruption: Interruption,
) -> dict[str, Any]:
    results: dict[int, Any] = {}
    running, interrupted = set(range(len(processes))), False
    try:
        while running:
            interruption.heed()
            try:
                rank, message = messages.get(timeout=_POLL_S)  # with a timeout, since Windows cannot interrupt it else
            except queue.Empty:
                continue
            if message is None:
                running.discard(rank)
                message = {"ended": processes[rank].wait()}
                if rank in results:
                    continue
            if "interrupted" in message:
                interrupted, results[rank] = True, {}
            elif message.keys() & {"error", "failure", "ended"}:
                raise KeyboardInterrupt if interrupted else _cause([(rank, message), *_further(messages)], processes)
            elif "result" in message:
                results[rank] = message["result"]
            else:
                shown.show(message)
    finally:
        shown.close()
    if interrupted:
        raise KeyboardInterrupt
    result: dict[str, Any] = results[0]
    return result


class _Shown:
    """The progress of the first process, shown here."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._context: Any = None
        self._task = Task()
        self.begun = False
        """Whether there was something to show."""

    def show(self, message: Message) -> None:
        """What one message says."""
        if "advance" in message:
            steps, note = message["advance"]
            self._task.advance(steps, note=note)
        elif "task" in message:
            self.begun = True
            self._context = self._progress.task(**message["task"])
            self._task = self._context.__enter__()
        elif "say" in message:
            self._progress.say(message["say"])
        elif "warn" in message:
            self._progress.warn(message["warn"])
        else:
            self.close()

    def close(self) -> None:
        """End the task that is shown."""
        if self._context is not None:
            self._context.__exit__(None, None, None)
            self._context, self._task = None, Task()


def _further(messages: queue.Queue[tuple[int, Message | None]]) -> list[tuple[int, Message]]:
    """What else is reported soon after a failure: the loss of one process makes others fail, at times first."""
    found, until = [], time.monotonic() + _GRACE_S / 2
    while (left := until - time.monotonic()) > 0:
        with suppress(queue.Empty):
            rank, message = messages.get(timeout=left)
            if message is None or message.keys() & {"error", "failure"}:
                found.append((rank, {"ended": None} if message is None else message))
    return found


def _cause(reports: Sequence[tuple[int, Message]], processes: Sequence[subprocess.Popen[str]]) -> Exception:
    """The error that explains the others: one with a message, else a process that was killed, else the first."""
    for _, message in reports:
        if "error" in message:
            kind, text = message["error"]
            found: Exception = getattr(errors, kind)(text)
            return found
    count, failed = len(processes), {rank for rank, message in reports if "failure" in message}
    for rank, process in enumerate(processes):
        code = process.poll()
        if code is not None and code != 0 and rank not in failed:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            return TrainingError(
                f"process {rank + 1} of {count} {how}; the others were ended. If memory ran out, lower "
                "training.batch_size or training.devices. The last checkpoint is kept; --resume continues from it."
            )
    rank, message = next((one for one in reports if "failure" in one[1]), reports[0])
    text = str(message.get("failure", "it ended without a result")).strip()
    return TrainingError(f"process {rank + 1} of {count} failed; the others were ended.\n{text}")


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    until = time.monotonic() + _GRACE_S
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError, ValueError):
                    pipe.close()
