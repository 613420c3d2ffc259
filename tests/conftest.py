"""What holds for all tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers side by side share the cores; what starts after this, libraries and processes, takes one each.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background jobs ignore Ctrl-C and hand that down; tests send it to themselves.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The first call of a compiled loop may have to compile it; 20 examples keep the whole suite within 20 minutes.
settings.register_profile("cristae", deadline=None, max_examples=20)
settings.load_profile("cristae")


@pytest.fixture(autouse=True, scope="session")
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Training data is cached in a folder that goes with the tests, not in the person's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRISTAE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("CRISTAE_CACHE_LIMIT", raising=False)
        yield


@pytest.fixture(scope="session")
def computed_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for sets that are computed, which all tests share: each is computed once."""
    return tmp_path_factory.mktemp("sets")
