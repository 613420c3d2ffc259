"""Progress on stderr: sparse lines in a log, bars on a terminal, from any thread."""

import io
import threading

import pytest

import cristae
from cristae.cli import progress as module
from cristae.cli.progress import BarProgress, LineProgress


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", clock)
    return clock


def test_lines_come_at_most_every_ten_seconds_and_tell_the_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with LineProgress().task("Training", 100, unit="batches", done=20) as task:
        for _ in range(40):
            clock.now += 1.0
            task.advance(note="loss 0.5")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "Training: 30/100 batches, about 1 min 10 s left; loss 0.5",
        "Training: 40/100 batches, about 1 min 00 s left; loss 0.5",
        "Training: 50/100 batches, about 50 s left; loss 0.5",
        "Training: 60/100 batches, about 40 s left; loss 0.5",
        "Training: 60/100 batches in 40 s; loss 0.5",
    ]


def test_what_took_a_blink_is_not_reported(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with LineProgress().task("Looking", 3) as task:
        task.advance(3)
    assert capsys.readouterr().err == ""


def test_warnings_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    LineProgress().warn("x")
    LineProgress().say("y")
    assert capsys.readouterr().err == "warning: x\ny\n"


def test_lines_go_where_they_are_sent(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    progress = cristae.LineProgress(every_s=2, stream=stream)
    progress.say("x")
    progress.warn("y")
    with progress.task("Reading", 3) as task:
        for _ in range(3):
            clock.now += 2
            task.advance()
    assert stream.getvalue().splitlines() == [
        "x",
        "warning: y",
        "Reading: 1/3, about 4 s left",
        "Reading: 2/3, about 2 s left",
        "Reading: 3/3 in 6 s",
    ]
    assert capsys.readouterr() == ("", "")


def test_bars_may_be_nested_and_advanced_from_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    progress = BarProgress()
    with progress.task("outer", 2) as outer:
        with progress.task("inner", 400, unit="blocks") as inner:
            threads = [threading.Thread(target=lambda: [inner.advance() for _ in range(100)]) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            progress.warn("look [here]")
        outer.advance(2, note="done")
    with progress.task("again", 1) as task:
        task.advance()
    text = stream.getvalue()
    assert "400/400" in text
    assert "look [here]" in text
    assert "again" in text
