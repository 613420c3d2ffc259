"""Wrong input to the verbs that evaluate and measure: the exit code, one message that helps, nothing written."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from typer.testing import CliRunner

from cristae import ScoreOptions
from cristae.cli.main import app
from cristae.errors import ScoreError

SIZE = (6, 20, 24)
RECIPE = """\
name: cells
data:
  classes: {names: [background, a, b]}
  volumes:
    - name: stack
      image: grey.tif
      labels: {kind: values, path: labels.tif, values: {0: background, 1: a, 2: b}}
      voxel_size_nm: [50, 10, 10]
  train: [{volume: stack, slices: 0:3}]
  validate: [{volume: stack, slices: 4:6}]
model: {name: unet_bn, widths: [4, 8]}
loss: {name: cross_entropy_dice}
sampling: {name: random, size: [16, 16], per_epoch: 8}
training: {epochs: 1, batch_size: 8}
device: cpu
"""
SCORES = "run,volume,class,metric,threshold,value,low,high,unit,n,rule\n"
TIDY = "run,unit,value\n"
TWICE = "".join(f"{run},{unit},0.{5 + unit % 3}\n" for run in "ab" for unit in range(7))
SLICES = "run,volume,slice,class,TP,FP,FN,TN\n"

Make = Callable[[Path], object]


@dataclass(frozen=True)
class Row:
    """One wrong input."""

    id: str
    make: Make
    """Spoils a folder that holds labels.tif, near.tif, grey.tif, map.tif and r.yaml."""
    arguments: tuple[str, ...]
    words: tuple[str, ...]
    """What the message must say: where, what was found, what to do."""
    exit_code: int = 2


def nothing(folder: Path) -> None:
    pass


def tiff(name: str, voxels: np.ndarray) -> Make:
    return lambda folder: tifffile.imwrite(folder / name, voxels)


def text(name: str, content: str) -> Make:
    return lambda folder: (folder / name).write_bytes(content.encode())


def folder_at(name: str) -> Make:
    return lambda folder: (folder / name).mkdir()


def huge(folder: Path) -> None:
    zarr.create_array(str(folder / "huge.zarr"), shape=(10**6,) * 3, dtype="uint8", chunks=(64, 64, 64))


def full(value: float, dtype: type = np.float32) -> np.ndarray:
    return np.full(SIZE, value, dtype)


def last(value: float) -> np.ndarray:
    """Zeros, with another value in the last voxel only."""
    voxels = np.zeros(SIZE, np.float32)
    voxels[-1, -1, -1] = value
    return voxels


MAPS = ("evaluate", "--truth", "grey.tif", "--prediction", "map.tif", "--binarize", "0.5")
SPOILT = ("evaluate", "--truth", "grey.tif", "--prediction", "x.tif", "--binarize", "0.5", "--out", "s.csv")
IDS = ("evaluate", "--truth", "labels.tif", "--prediction", "near.tif")
OBJECTS = (*IDS, "--objects")
COMPARE = ("compare", "t.csv")
AGREE = ("agree", "anna=labels.tif", "bert=near.tif", "--recipe", "r.yaml")
ANALYZE = ("analyze", "labels.tif", "--recipe", "r.yaml")
SIZED = ("--voxel-size-nm", "50", "10", "10")
LABELS = ("evaluate", "--truth", "labels.tif", "--prediction", "x.tif", "--recipe", "r.yaml")

EVALUATE = (
    Row(
        "a map of palette colours",
        lambda folder: Image.fromarray(np.eye(20, dtype=np.uint8)).convert("P").save(folder / "x.png"),
        ("evaluate", "--truth", "x.png", "--prediction", "x.png", "--binarize", "0.5"),
        ("x.png", "palette image", "save it as grey", "--recipe"),
    ),
    Row("a score of NaN", tiff("x.tif", last(np.nan)), SPOILT, ("x.tif", "NaN", "0 to 1")),
    Row("an infinite score", tiff("x.tif", last(np.inf)), SPOILT, ("x.tif", "NaN or infinite")),
    Row("a negative score", tiff("x.tif", last(-0.1)), SPOILT, ("x.tif", "outside 0 to 1")),
    Row("a 16-bit map", tiff("x.tif", full(20_000, np.uint16)), SPOILT, ("x.tif", "20000", "0 to 255", "Scale it")),
    Row(
        "an unknown id", tiff("x.tif", full(9, np.uint8)), (*LABELS, "--out", "s.csv"), ("x.tif", "value 9", "0, 1, 2")
    ),
    Row("a map of no values", nothing, (*MAPS[:5], "--out", "s.csv"), ("not known", "--recipe", "--binarize")),
    Row("a huge map", huge, (*MAPS[:4], "huge.zarr", *MAPS[5:]), ("different shapes", "(1000000, 1000000, 1000000)")),
    Row("huge labels", huge, (*LABELS[:4], "huge.zarr", *LABELS[5:]), ("different shapes",)),
    Row(
        "a mask of NaN", tiff("m.tif", full(np.nan)), (*MAPS, "--mask", "m.tif"), ("mask m.tif", "NaN", "whole numbers")
    ),
    Row("a mask of shares", tiff("m.tif", full(0.3)), (*MAPS, "--mask", "m.tif"), ("mask m.tif", "fractions")),
    Row(
        "a mask in colour",
        tiff("m.tif", np.ones((*SIZE, 3), np.uint8)),
        (*MAPS, "--mask", "m.tif"),
        ("mask m.tif", "3 colour channels", "0 and 1"),
    ),
    Row(
        "scores onto a folder", folder_at("s.csv"), (*MAPS, "--out", "s.csv"), ("s.csv", "is a folder", "another name")
    ),
    Row("scores beside a folder", folder_at("s.json"), (*MAPS, "--out", "s.csv"), ("s.json", "is a folder")),
    Row("a negative tolerance", nothing, (*MAPS, *SIZED, "--tolerance-nm", "-1"), ("tolerance", "-1")),
    Row(
        "a tolerance nobody uses",
        nothing,
        (*MAPS, "--scores", "overlap", "--tolerance-nm", "nan"),
        ("tolerance", "nan"),
    ),
    Row("voxels of light years", nothing, (*MAPS, "--voxel-size-nm", *(["1e300"] * 3)), ("1e+300", "in nm")),
    Row("voxels of nothing", nothing, (*MAPS, "--voxel-size-nm", "0", "1", "1"), ("voxel size", "greater than 0")),
    Row("units of objects", nothing, (*OBJECTS, "--unit", "slice"), ("object ids", "--unit", "leave it out")),
    Row(
        "thresholds of objects", nothing, (*OBJECTS, "--thresholds-from", "s.csv"), ("object ids", "--thresholds-from")
    ),
    Row("background objects", nothing, (*OBJECTS, "--complement"), ("object ids", "--complement")),
    Row("overlap of objects", nothing, (*OBJECTS, "--scores", "overlap"), ("object ids", "overlap", "partition")),
    Row(
        "a threshold of 7",
        text("v.csv", f"{SCORES}map,grey,foreground,F1_best,7,0.5,,,ratio,5,r\n"),
        (*MAPS, "--thresholds-from", "v.csv"),
        ("v.csv", "threshold 7", "0 to 1"),
    ),
    Row(
        "thresholds of another class",
        text("v.csv", f"{SCORES}map,grey,mito,F1_best,0.4,0.5,,,ratio,5,r\n"),
        (*MAPS, "--thresholds-from", "v.csv"),
        ("v.csv", "mito", "foreground", "same class names"),
    ),
    Row(
        "thresholds for labels",
        text("v.csv", f"{SCORES}near,stack,a,F1_best,0.4,0.5,,,ratio,5,r\n"),
        (*IDS, "--recipe", "r.yaml", "--thresholds-from", "v.csv"),
        ("v.csv", "'near'", "only labels", "--thresholds-from"),
    ),
    Row("thresholds of brackets", text("v.json", "[" * 100_000), (*MAPS, "--thresholds-from", "v.json"), ("v.json",)),
)
OTHERS = (
    Row(
        "a table of scores",
        text("t.csv", f"{SCORES}a,v,c,F1,,0.5,,,ratio,5,r\nb,v,c,F1,,0.6,,,ratio,5,r\n"),
        COMPARE,
        ("t.csv", "table of scores", "t.slices.csv"),
    ),
    Row("two columns of one name", text("t.csv", "run,unit,value,value\na,1,1,2\n"), COMPARE, ("t.csv", "'value'")),
    Row("a run without a name", text("t.csv", f"{TIDY},1,0.5\n"), COMPARE, ("t.csv:2", "run is empty")),
    Row("a unit without a name", text("t.csv", f"{TIDY}a,,0.5\n"), COMPARE, ("t.csv:2", "unit is empty")),
    Row("values that overflow", text("t.csv", f"{TIDY}a,1,1e308\na,2,1e308\n"), COMPARE, ("t.csv:2", "1e+308")),
    Row("a slice far away", text("t.csv", f"{SLICES}a,v,1e12,c,1,2,3,4\n"), COMPARE, ("t.csv:2", "1e12", "whole")),
    Row(
        "a metric of a tidy table",
        text("t.csv", TIDY + TWICE),
        (*COMPARE, "--metric", "VI"),
        ("tidy table", "--metric"),
    ),
    Row(
        "slabs of a tidy table", text("t.csv", TIDY + TWICE), (*COMPARE, "--unit", "slab:9nm"), ("tidy table", "--unit")
    ),
    Row(
        "findings beside a folder",
        lambda folder: (text("t.csv", TIDY + TWICE)(folder), folder_at("o.json")(folder)),
        (*COMPARE, "--out", "o.csv"),
        ("o.json", "is a folder"),
    ),
    Row("a page of no scores", text("s.csv", SCORES), ("report", "s.csv"), ("s.csv", "no rows")),
    Row("a page of an empty file", text("s.csv", ""), ("report", "s.csv"), ("s.csv", "no rows")),
    Row("a page of brackets", text("s.json", "[" * 100_000), ("report", "s.json"), ("s.json", "not a table of scores")),
    Row(
        "a page of lists",
        text(
            "s.json",
            '[{"run": "a", "volume": [1], "class": "c", "metric": "F1", "threshold": null, "value": 1, "low": null, '
            '"high": null, "unit": "ratio", "n": 1, "rule": ""}]',
        ),
        ("report", "s.json"),
        ("s.json", "volume is [1]"),
    ),
    Row(
        "a page onto a folder",
        lambda folder: (text("s.csv", f"{SCORES}a,v,c,F1,,0.5,,,ratio,5,r\n")(folder), folder_at("o.html")(folder)),
        ("report", "s.csv", "--out", "o.html"),
        ("o.html", "is a folder"),
    ),
    Row("annotators in a mask of NaN", tiff("m.tif", full(np.nan)), (*AGREE, "--mask", "m.tif"), ("mask m.tif", "NaN")),
    Row("annotators of no size", nothing, (*AGREE, "--voxel-size-nm", "0", "1", "1"), ("greater than 0",)),
    Row("agreement onto a folder", folder_at("a.json"), (*AGREE, "--out", "a.csv"), ("a.json", "is a folder")),
    Row("an unknown class to split", nothing, (*ANALYZE, "--split", "mito", "--out", "o"), ("split", "'mito'", "a, b")),
    Row(
        "an empty cell",
        tiff("m.tif", full(0, np.uint8)),
        (*ANALYZE, "--cell", "m.tif", "--out", "o"),
        ("m.tif", "empty"),
    ),
    Row(
        "a negative margin", nothing, (*ANALYZE, "--cell-from", "labels.tif", "--margin-nm", "-1"), ("margin-nm", "-1")
    ),
    Row(
        "an analysis of tiny voxels",
        lambda folder: (folder / "r.yaml").write_text(RECIPE.replace("      voxel_size_nm: [50, 10, 10]\n", "")),
        (*ANALYZE, "--voxel-size-nm", "1e-300", "1e-300", "1e-300", "--out", "o"),
        ("1e-300", "in nm"),
    ),
)


@pytest.fixture
def spoilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    labels = np.zeros(SIZE, np.uint8)
    labels[1:5, 3:9, 3:10], labels[2:6, 11:18, 12:22] = 1, 2
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    tifffile.imwrite(tmp_path / "near.tif", np.roll(labels, 1, axis=1))
    tifffile.imwrite(tmp_path / "grey.tif", 255 * (labels == 1).astype(np.uint8))
    tifffile.imwrite(tmp_path / "map.tif", np.where(labels == 1, 200, 30).astype(np.uint8))
    (tmp_path / "r.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file and folder with its content; only the names inside the huge volume."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and path.suffix != ".zarr" else b""
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("row", EVALUATE + OTHERS, ids=lambda row: row.id)
def test_wrong_input_is_told_and_leaves_nothing(row: Row, spoilt: Path) -> None:
    row.make(spoilt)
    before = files_in(spoilt)

    result = CliRunner().invoke(app, row.arguments)

    assert result.exit_code == row.exit_code, result.stderr or result.exception
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.stderr
    for word in row.words:
        assert word in result.stderr
    assert result.stdout == ""
    assert files_in(spoilt) == before


def test_a_slab_without_a_voxel_size_is_told_before_anything_is_counted(
    spoilt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[object] = []
    monkeypatch.setattr("cristae.evaluation.scoring.score.count_all", lambda *given: counted.append(given))

    result = CliRunner().invoke(app, [*MAPS, "--unit", "slab:500nm"])

    assert result.exit_code == 2
    assert "--voxel-size-nm" in result.stderr
    assert not counted


@pytest.mark.parametrize(
    ("mask", "inside"), [(full(1), 2880), (full(1, np.uint8), 2880), (last(1), 1)], ids=["floats", "bytes", "one voxel"]
)
def test_masks_of_whole_numbers_are_taken_whatever_their_type(mask: np.ndarray, inside: int, spoilt: Path) -> None:
    tifffile.imwrite(spoilt / "m.tif", mask)

    result = CliRunner().invoke(app, [*MAPS, "--mask", "m.tif", "--scores", "overlap", "--json"])

    assert result.exit_code == 0, result.stderr
    assert f'"n": {inside}' in result.stdout


@pytest.mark.parametrize("groups", [(), ("overlaps",)])
def test_families_that_there_are_not_are_told(groups: tuple[str, ...]) -> None:
    with pytest.raises(ScoreError, match="there are overlap, ranking"):
        ScoreOptions(scores=groups)  # type: ignore[arg-type]


def test_scores_that_a_spreadsheet_saved_are_read(spoilt: Path) -> None:
    """Spreadsheets put a byte-order mark in front."""
    (spoilt / "v.csv").write_text(f"{SCORES}map,grey,foreground,F1_best,0.4,0.5,,,ratio,5,r\n", encoding="utf-8-sig")

    result = CliRunner().invoke(app, [*MAPS, "--thresholds-from", "v.csv"])

    assert result.exit_code == 0, result.stderr
    assert "F1_validated" in result.stdout


def test_a_margin_wider_than_the_volume_reaches_all_of_it(spoilt: Path) -> None:
    wide = CliRunner().invoke(app, [*AGREE, "--cell-from", "anna", "--margin-nm", "1e300"])
    whole = CliRunner().invoke(app, [*AGREE, "--cell-from", "anna", "--margin-nm", "1e5"])

    assert wide.exit_code == whole.exit_code == 0, wide.stderr
    assert wide.stdout == whole.stdout


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes")
def test_a_pipe_as_a_table_is_told(spoilt: Path) -> None:
    os.mkfifo(spoilt / "t.csv")

    result = CliRunner().invoke(app, COMPARE)

    assert result.exit_code == 2
    assert "no such table" in result.stderr
