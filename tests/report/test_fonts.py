"""Figures on a machine without fonts: only what matplotlib ships is there."""

from __future__ import annotations

import logging
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import font_manager

from cristae.report.distributions import Sample, histograms
from cristae.report.figures import learning_curves

ROWS = [{"epoch": str(i), "train_loss": str(1 / (i + 1)), "val_miou": "0.5", "learning_rate": "0.1"} for i in range(3)]


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = Path(mpl.get_data_path())
    manager = font_manager.fontManager
    kept = [font for font in manager.ttflist if shipped in Path(font.fname).parents]
    assert kept
    monkeypatch.setattr(manager, "ttflist", kept)
    monkeypatch.setattr(manager, "afmlist", [])
    manager._findfont_cached.cache_clear()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("no_fonts")
def test_nothing_is_said_about_fonts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        curves = learning_curves(ROWS, {}, 1)
        sample = Sample(np.arange(1.0, 9.0), np.zeros(8, bool), "#aa3377")
        bars = histograms({"cell": sample}, axis="volume", unit="um", logarithmic=False)
    assert [record.getMessage() for record in caplog.records] == []
    for drawing in (str(curves), str(bars)):
        assert "font-family: inherit" in drawing
        assert "DejaVu" not in drawing
