"""`cristae models`: the list and one network."""

import io
import json
import re
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cristae.cli import models
from cristae.cli.main import app
from cristae.workflows.models import list_models


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["models", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def test_list_in_a_pipe_is_a_plain_table() -> None:
    rows = [line.split("\t") for line in run("list").splitlines()]
    assert {len(row) for row in rows} == {10}
    assert rows[0][0] == "network"
    assert [row[0] for row in rows[1:]] == [row.id for row in list_models()]
    table = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows}
    assert table["seget"]["parameters"] == "4,838,329"
    assert table["seget"]["conv GFLOP"] == "48.5"
    assert table["unet_valid"]["logits"] == "7 x 388x388"


def test_list_is_quick() -> None:
    began = time.monotonic()
    run("list")
    assert time.monotonic() - began < 1


def test_list_as_json() -> None:
    found = {row["id"]: row for row in json.loads(run("list", "--json"))}
    assert found["seget"]["image_size"] == [512, 512]
    assert found["seget"]["local"] is True
    assert "on each side" in found["seget"]["reason"]


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_list_fits_a_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = terminal(["list"], columns, monkeypatch)
    lines = text.splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[0].split()[0] == "network"
    assert ("logits" in lines[0]) == (columns >= 112)
    firsts = {line.split()[0] for line in lines if line and not line.startswith(" ")}
    assert {row.id for row in list_models()} <= firsts


def terminal(arguments: list[str], columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a verb prints on a terminal of that width."""

    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", screen)
    verb = {"list": models.list_, "show": models.show}[arguments[0]]
    verb(*arguments[1:])
    return re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())


def test_without_the_extra_a_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    row = replace(list_models()[0], extra="no_such_package")
    assert not row.installed
    assert models._row(row)[-1] == "needs cristae[no_such_package]"
    assert models._short_row(row, wide=False)[-1] == "needs [no_such_package]"


def test_show() -> None:
    text = run("show", "unet_bn", "--set", "widths=[4, 8]", "--size", "32", "48", "--channels", "2", "--classes", "3")
    assert "2 x 32x48 (channels, y, x)" in text
    assert "3 x 32x48" in text
    assert "widths: list of 2 to 8 whole numbers above 0; default [16, 32, 64, 128, 256], here [4, 8]" in text
    assert "╰─■ encoder.1" in text
    conv = next(line for line in text.splitlines() if line.startswith("encoder.0.0.0"))
    assert conv.split() == ["encoder.0.0.0", "Conv2d", "2", "->", "4", "3x3", "32x48", "76"]
    sums = {line.split()[1]: int(line.split()[-1].replace(",", "")) for line in text.splitlines() if line[:1] == "="}
    assert sums["all"] == sum(count for stage, count in sums.items() if stage != "all")


def test_show_takes_sizes_of_two_and_three_axes_anywhere() -> None:
    flat = json.loads(run("show", "--size", "32", "64", "unet_bn", "--json"))
    assert flat["image_size"] == [32, 64]
    deep = json.loads(run("show", "unet_3d", "--json", "--size", "4", "16", "16", "--set", "base=2"))
    assert deep["image_size"] == [4, 16, 16]
    assert run("show", "unet_bn", "--size", "32 64", "--json") == run("show", "unet_bn", "--json", "--size", "32", "64")


def test_show_as_json_has_everything() -> None:
    found = json.loads(run("show", "seget", "--size", "64", "64", "--json"))
    assert [stage["name"] for stage in found["stages"]][:2] == ["encoder.0", "encoder.1"]
    assert sum(layer["parameters"] for layer in found["layers"]) == found["parameters"]
    assert {field["name"] for field in found["fields"]} >= {"base", "fusion"}
    assert {"source": 0, "target": 8, "channels": 8} in found["skips"]


def test_show_says_everything_about_a_network() -> None:
    lines = run("show", "cdeep3m", "--set", "base=2", "--size", "32", "32", "--no-layers").splitlines()
    assert lines[1] == "  CDeep3M, a 2D network for one slice that may see its neighbours (Haberl et al. 2018)."
    assert lines[2] == "  Several classes must exclude each other: two logits or more are never negative."
    assert lines[3].startswith("  published  ")
    found = json.loads(run("show", "cdeep3m", "--set", "base=2", "--size", "32", "32", "--json"))
    assert found["about"] == lines[2].strip()


def test_show_without_the_layers() -> None:
    text = run("show", "unet_bn", "--size", "32", "32", "--no-layers")
    assert "╰─■" in text
    assert "BatchNorm2d" not in text


def test_show_writes_a_drawing(tmp_path: Path) -> None:
    path = tmp_path / "unet.svg"
    run("show", "unet_bn", "--size", "32", "32", "--svg", str(path))
    assert path.read_text(encoding="utf-8").startswith("<svg")
    assert "exists already" in run("show", "unet_bn", "--size", "32", "32", "--svg", str(path), code=2)


def test_lines_are_ascii_where_nothing_else_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    class Narrow(io.StringIO):
        encoding = "cp1252"

    monkeypatch.setattr(sys, "stdout", Narrow())
    assert models._encodable("╰─■ encoder") == "`-# encoder"
    monkeypatch.setattr(Narrow, "encoding", "utf-8")
    assert models._encodable("╰─■ encoder") == "╰─■ encoder"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unet_b"], "did you mean unet_bn"),
        (["seget", "--size", "64"], "takes images of 2 axes"),
        (["seget", "--size"], "--size.*requires an argument"),
        (["seget", "--size", "big"], "not a size"),
        (["seget", "--set", "base"], "expected path=value"),
        (["seget", "--set", "base=7"], "base: .*multiple of 4"),
        (["unet_bn", "--set", "widths=8"], r"widths: must be a list, such as \[16, 32, 64, 128, 256\], got 8"),
        (["external"], "target: is required .*such as `my_lab.my_net:MyNetConfig`"),
        (["external", "--set", "target=my_net.py:X"], r"without \.py .*such as my_net:X"),
        (["seget", "--channels", "0"], "at least 1"),
        (["unet_valid", "--size", "301", "301"], "next good size is 316 x 316"),
    ],
)
def test_mistakes_leave_with_2(arguments: list[str], message: str) -> None:
    assert re.search(message, run("show", *arguments, code=2))
