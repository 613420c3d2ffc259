"""The page about proposals follows from the trainings beside it, and every set with images has its recipe."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from cristae.data.public import PUBLIC_SETS
from cristae.recipe.load import load_recipe

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def proposals() -> ModuleType:
    sys.path.insert(0, str(DOCS))
    try:
        import make_proposals
    finally:
        sys.path.remove(str(DOCS))
    return make_proposals


def test_every_set_with_images_has_a_hand_made_recipe(proposals: ModuleType) -> None:
    downloaded = {one.name for one in PUBLIC_SETS if one.compute is None} - {"em-stellar-cardiac"}
    assert set(proposals.HAND_MADE) == downloaded
    for name, recipe in proposals.HAND_MADE.items():
        assert load_recipe(proposals.ROOT / "recipes" / f"{recipe}.yaml").data.set == name


def test_rows_are_kept_and_replaced(proposals: ModuleType, tmp_path: Path) -> None:
    row = proposals.Row("isbi2012", "proposed", "unet_bn, 3 slices", "256 x 256", 840, 30.0, 29.5, 0.8125)
    other = replace(row, kind="hand-made", mean_iou=0.875)
    proposals.write_rows(tmp_path / "rows.csv", [row, other])
    assert proposals.read_rows(tmp_path / "rows.csv") == [row, other]
    better = replace(row, mean_iou=0.9375)
    assert proposals.merged([row, other], [better]) == [better, other]


def test_the_page_says_what_is_worse(proposals: ModuleType) -> None:
    row = proposals.Row("isbi2012", "proposed", "unet_bn", "256 x 256", 1840, 30.0, 29.5, 0.8)
    text = proposals.page([row, replace(row, kind="hand-made", mean_iou=0.825)])
    assert "| isbi2012 | 30 | unet_bn, 256 x 256 | 1,840 | 29.5 | 0.800 |" in text
    assert "| -0.025 |" in text
    assert "Worse by more than 0.02: isbi2012." in text
    text = proposals.page([row, replace(row, kind="hand-made", mean_iou=0.815), replace(row, set="platelet-em")])
    assert "None is worse" in text
    assert "platelet-em" not in text, "its other training is not there"


def test_the_page_is_made_of_its_rows(proposals: ModuleType) -> None:
    if not proposals.TABLE.exists():
        pytest.skip("no trainings of this experiment are kept")
    assert proposals.TABLE.with_suffix(".md").read_text() == proposals.page(proposals.read_rows(proposals.TABLE))
