"""Every benchmark can be begun: its module and all that it takes from the package are there."""

from importlib import import_module

import pytest
from benchmarks.__main__ import NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_can_be_begun(name):
    module = import_module(f"benchmarks.{name}")
    assert callable(module.main)
    assert module.__doc__
