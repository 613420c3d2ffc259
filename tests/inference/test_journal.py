"""The journal of finished blocks: lines that are whole count, others do not, whoever wrote them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cristae.inference.journal import PATTERN, Entry, Journal

ENTRIES = {block: Entry(block, "0:1,0:2,0:3", "ab", "cd") for block in range(3)}


@pytest.mark.parametrize(
    "line",
    [
        b'{"block": 7, "box": "0:1,0',
        b"\xff\xfe",
        b"[" * 200_000,
        b"5",
        b'{"block": [7], "box": "", "input": "", "output": ""}',
        b'{"block": {}, "box": "", "input": "", "output": ""}',
        b'{"block": 7, "box": "", "input": 5, "output": null}',
    ],
)
def test_a_damaged_line_counts_as_not_written(tmp_path: Path, line: bytes) -> None:
    journal = Journal(tmp_path)
    journal.add(ENTRIES[0])
    with journal.path.open("ab") as file:
        file.write(line)
    for block in (1, 2):
        journal.add(ENTRIES[block])
    assert journal.read() == ENTRIES
    assert journal.read({0, 2, 9}) == {block: ENTRIES[block] for block in (0, 2)}
    assert journal.summary()["blocks"] == 3


WRITER = """
import sys
from pathlib import Path
from cristae.inference.journal import Entry, Journal
journal = Journal(Path(sys.argv[1]))
for block in range(int(sys.argv[2]), 60, 3):
    journal.add(Entry(block, f"{block}:{block + 1},0:2,0:3", "ab" * 32, "cd" * 32))
"""


def test_processes_write_at_the_same_time(tmp_path: Path) -> None:
    """Three writers of 20 entries each: none is lost or torn, and readers take all files together."""
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(rank)]) for rank in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(list(tmp_path.glob(PATTERN))) == 3
    found = Journal(tmp_path).read()
    assert sorted(found) == list(range(60))
    assert all(entry.box == f"{block}:{block + 1},0:2,0:3" for block, entry in found.items())
    Journal(tmp_path).remove()
    assert not list(tmp_path.iterdir())


def test_the_single_file_of_older_versions_is_read(tmp_path: Path) -> None:
    old = tmp_path / "cristae-blocks.jsonl"
    old.write_text('{"block":0,"box":"0:1,0:2,0:3","input":"ab","output":"cd"}\n{"block":1,"bo')
    journal = Journal(tmp_path)
    journal.add(ENTRIES[1])
    assert journal.read() == {0: ENTRIES[0], 1: ENTRIES[1]}
    journal.remove()
    assert not old.exists()


def test_the_last_entry_of_the_newest_file_holds(tmp_path: Path) -> None:
    """A block that was damaged on disk is predicted again, perhaps on a machine that rounds in another way."""
    first, second = Journal(tmp_path), Journal(tmp_path)
    first.add(ENTRIES[0])
    again = Entry(0, "0:1,0:2,0:3", "ab", "ef")
    second.add(again)
    os.utime(first.path, ns=(1, 1))
    assert Journal(tmp_path).read()[0] == again
    os.utime(second.path, ns=(0, 0))
    assert Journal(tmp_path).read()[0] == ENTRIES[0]
