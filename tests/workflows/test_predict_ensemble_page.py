"""The commands and code of the page about ensembles, on runs without training."""

import re
from pathlib import Path

import pytest
import yaml
from prediction_runs import cell, make_run, textured
from typer.testing import CliRunner

import cristae
from cristae.cli.main import app
from cristae.inference.prediction import open_prediction

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "predict-with-ensembles.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cristae.write_image(cell(textured((8, 64, 64))).image, tmp_path / "cell.tif")
    for number in (1, 2):
        make_run(tmp_path / "runs" / f"mito-{number}", seed=number, predict="block_vox: [8, 64, 64]")
        make_run(tmp_path / "study" / f"fold-{number}", seed=number, predict="block_vox: [8, 64, 64]")
    first, second = blocks("yaml")
    (tmp_path / "study" / "ensemble.yaml").write_text(second)
    assert set(yaml.safe_load(first)) == {"members", "fusion", "test_time", "postprocess"}
    (code,) = blocks("python")
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 6
    for place, line in enumerate(lines):
        if place == 1:
            exec(compile(code, PAGE.name, "exec"), {})
        result = CliRunner().invoke(app, line.split()[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}"
    found = {path.stem: open_prediction(path) for path in tmp_path.glob("*.zarr")}
    assert set(found) == {"several", "weighted", "again", "honest", "unsure"}
    assert found["weighted"].attributes["settings"]["fusion"]["weights"] == [2, 1]
    assert found["honest"].attributes["runs"][1]["held_out"] == ["4:8,0:64,0:64"]
    assert found["unsure"].disagreement is not None
    assert (cristae.open_image("unsure.tif").read() == found["unsure"].disagreement.read()).all()


def test_the_table_of_the_page_is_complete() -> None:
    """Each way with the number of its copies."""
    from typing import get_args

    from cristae.inference.test_time import TestTime, variants_of

    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert {way: int(count) for way, count in rows.items()} == {
        way: len(variants_of(way, single_slices=False)) for way in get_args(TestTime)
    }
