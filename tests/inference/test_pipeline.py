"""Order, bounds and failures of the three stages."""

import threading
import time

import pytest

from cristae.inference.pipeline import run_pipeline


def test_everything_goes_through_in_order_of_computing():
    computed, written, lock = [], set(), threading.Lock()

    def compute(value):
        computed.append(value)
        return value + 1

    def write(value):
        with lock:
            written.add(value)

    run_pipeline(range(50), lambda item: item * 10, compute, write)
    assert computed == [10 * item for item in range(50)]
    assert written == {10 * item + 1 for item in range(50)}


def test_nothing():
    run_pipeline([], lambda item: item, lambda item: item, lambda item: None)


def test_few_items_are_under_way():
    under_way, most, lock = 0, 0, threading.Lock()

    def read(item):
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        return item

    def write(item):
        nonlocal under_way
        time.sleep(0.002)
        with lock:
            under_way -= 1

    run_pipeline(range(60), read, lambda item: item, write, ahead=2)
    assert under_way == 0
    assert most <= 6


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_first_failure_stops_all(stage, error):
    """What was computed before is written; little is begun after."""
    if stage != "compute" and error is KeyboardInterrupt:
        pytest.skip("Ctrl-C reaches the main thread")
    written, seen = [], []

    def fail_at(name, item):
        if name == stage and item == 5:
            raise error("here")
        return item

    def read(item):
        seen.append(item)
        return fail_at("read", item)

    with pytest.raises(error, match="here"):
        run_pipeline(
            range(1000),
            read,
            lambda item: fail_at("compute", item),
            lambda item: written.append(fail_at("write", item)),
        )
    assert max(seen) < 20
    assert {0, 1, 2, 3, 4} <= set(written)
