"""The table of scores on disk."""

import csv
import errno
import json
import math
import os

import pytest

from cristae.errors import MissingFileError, OutputExistsError, ScoreError, StorageError
from cristae.metrics.score import Score, read_scores, write_scores

SCORES = (
    Score('run, "a"', "vol\u00fcme", "mito", "Jaccard", 1 / 3, 12, "positive=mito; pooled; n=voxels", threshold=0.5),
    Score("b", "v", "all", "mIoU", math.nan, 0, "x", low=0.1, high=0.30000000000000004),
)


@pytest.mark.parametrize("name", ["s.csv", "s.json"])
def test_scores_come_back_exactly_from_either_file(tmp_path, name):
    table, document = write_scores(tmp_path / name, SCORES)
    assert (table.name, document.name) == ("s.csv", "s.json")
    for path in (table, document):
        back = read_scores(path)
        assert back[0] == SCORES[0]
        assert repr(back) == repr(SCORES)


def test_the_columns_are_those_of_the_contract(tmp_path):
    table, document = write_scores(tmp_path / "s.csv", SCORES)
    columns = ["run", "volume", "class", "metric", "threshold", "value", "low", "high", "unit", "n", "rule"]
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert list(rows[0]) == columns
    assert rows[1]["value"] == "nan"
    assert rows[0]["low"] == ""
    parsed = json.loads(document.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(name))
    assert list(parsed[0]) == columns
    assert parsed[1]["value"] is None


@pytest.mark.parametrize("writable", [0, 1])
def test_a_full_disk_leaves_neither_file(tmp_path, monkeypatch, writable):
    flushed = []

    def flush(handle):
        flushed.append(handle)
        if len(flushed) > writable:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", flush)
    with pytest.raises(StorageError, match="the disk is full"):
        write_scores(tmp_path / "s.csv", SCORES)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    write_scores(tmp_path / "s.csv", SCORES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.csv", "s.json"]


def test_existing_scores_are_kept(tmp_path):
    (tmp_path / "s.json").write_text("mine")
    with pytest.raises(OutputExistsError):
        write_scores(tmp_path / "s.csv", SCORES)
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


def test_other_names_and_files_are_refused(tmp_path):
    with pytest.raises(ScoreError, match=r"\.csv"):
        write_scores(tmp_path / "s.txt", SCORES)
    with pytest.raises(MissingFileError):
        read_scores(tmp_path / "none.csv")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    (tmp_path / "bad.json").write_text('{"a": 1}')
    for name in ("bad.csv", "bad.json"):
        with pytest.raises(ScoreError, match="not a table of scores"):
            read_scores(tmp_path / name)
    with pytest.raises(ScoreError, match="it holds no list of rows"):
        read_scores(tmp_path / "bad.json")
