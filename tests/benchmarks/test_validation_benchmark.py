"""The benchmark of validation runs and says what it claims to compare."""

import pytest

from benchmarks import validation


@pytest.mark.slow
def test_each_figure_is_a_time_for_each_voxel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "SIZE", (64, 64))
    seconds = validation.measured(1, 1)
    assert list(seconds) == ["training", "whole slices", "of it for AUC-ROC", "loss on tiles"]
    assert all(0 < value < 1e-3 for value in seconds.values())
