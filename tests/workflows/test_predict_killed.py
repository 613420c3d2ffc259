"""Predictions that are killed: the bytes of one that ran undisturbed."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from prediction_runs import cell, make_run, textured
from test_predict import KEEP, ORGANELLES, assert_same

from cristae.data.formats import write_image
from cristae.inference.journal import PATTERN
from cristae.workflows.predict import predict

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(0),
    pytest.mark.skipif(os.name == "nt", reason="kill -9"),
]

SCRIPT = """
import os, sys
from cristae.inference.config import PredictOptions
from cristae.workflows.predict import predict
for line in sys.stdin:  # a process is started as often as asked, with everything imported
    process = os.fork()
    if not process:
        predict([sys.argv[1]], sys.argv[2], out=sys.argv[3], options=PredictOptions(probabilities=True))
        os._exit(0)
    print(process, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


class Predictions:
    """Starts the same prediction again and again, each in a process of its own."""

    def __init__(self, run: Path, image: Path, out: Path) -> None:
        self._out = out
        command = [sys.executable, "-c", SCRIPT, str(run), str(image), str(out)]
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._parent = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=one_thread
        )

    def start(self) -> int:
        """The process that predicts."""
        assert self._parent.stdin is not None
        self._parent.stdin.write("\n")
        self._parent.stdin.flush()
        return self._line()

    def ended(self) -> int:
        """Exit status of the process that was started last."""
        return self._line()

    def kill_after(self, blocks: int, seconds: float) -> None:
        """Start one and kill it when so many further blocks are done, and then so much time has passed."""
        process, there = self.start(), count_lines(self._out)
        deadline = time.monotonic() + 60
        while count_lines(self._out) < there + blocks:
            assert time.monotonic() < deadline, "no block was finished"
            time.sleep(0.0005)
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
        assert self.ended() == -signal.SIGKILL

    def close(self) -> None:
        self._parent.kill()
        self._parent.wait()

    def _line(self) -> int:
        assert self._parent.stdout is not None
        return int(self._parent.stdout.readline())


def count_lines(out: Path) -> int:
    """Blocks that the journal of a prediction names."""
    found = 0
    for file in out.glob(PATTERN):
        try:
            found += file.read_bytes().count(b"\n")
        except FileNotFoundError:  # it has been merged or finished in between
            continue
    return found


def kill_and_repeat(folder: Path, shape: tuple[int, int, int], moments: Sequence[tuple[int, float]]) -> None:
    """Kill a prediction at all moments, let it finish, and compare it with an undisturbed one."""
    run = make_run(folder / "run", classes=ORGANELLES, model="{name: unet_bn, widths: [8, 16]}")
    image, out = folder / "cell.tif", folder / "out.zarr"
    write_image(cell(textured(shape)).image, image)
    predictions = Predictions(run.path, image, out)
    try:
        for blocks, seconds in moments:
            predictions.kill_after(blocks, seconds)
        predictions.start()
        assert predictions.ended() == 0
    finally:
        predictions.close()
    predict([run], image, out=folder / "whole.zarr", options=KEEP)
    assert_same(folder / "whole.zarr", out)
    files = sorted(path.relative_to(out) for path in out.rglob("*"))
    assert files == sorted(path.relative_to(folder / "whole.zarr") for path in (folder / "whole.zarr").rglob("*"))


def test_it_is_killed_as_it_starts_and_in_the_middle(tmp_path):
    kill_and_repeat(tmp_path, (4, 96, 144), [(0, 0.0), (0, 0.1), (5, 0.0), (12, 0.004)])


def test_it_is_killed_at_a_hundred_random_moments(tmp_path):
    """Of 1,152 blocks at most 9 are done between two kills, so that all hundred meet it at work."""
    chance = random.Random(0)
    moments = [(chance.randrange(10), chance.random() * 0.06) for _ in range(90)]
    moments += [(0, chance.random() * 0.5) for _ in range(10)]  # while it starts or continues
    chance.shuffle(moments)
    kill_and_repeat(tmp_path, (32, 192, 288), moments)
