"""A run to make pages of."""

from pathlib import Path

import pytest
from run_files import write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")
