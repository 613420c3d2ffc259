"""The picture of the grain filter can be made again."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def test_the_picture_can_be_made_on_the_synthetic_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tiles of the committed one's size, from the most grey values to the fewest."""
    monkeypatch.delenv("CRISTAE_DATA", raising=False)
    script = runpy.run_path(str(ROOT / "docs" / "make_grain_filter.py"))
    script["main"].__globals__["FOLDER"] = tmp_path
    script["main"]()
    made = Image.open(tmp_path / "grain-filter.png")
    assert made.size == Image.open(ROOT / "docs" / "images" / "grain-filter.png").size
    pixels, side, step = np.asarray(made), script["SIDE"], script["SIDE"] + script["GAP"]
    tiles = [pixels[script["LINE"] :, left : left + side] for left in (0, step, 2 * step)]
    counts = [len(np.unique(tile)) for tile in tiles]
    assert counts[0] > counts[1] > counts[2] > 1
