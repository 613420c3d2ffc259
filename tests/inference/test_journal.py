"""The journal of finished blocks: lines that are whole count, others do not."""

from pathlib import Path

import pytest

from cristae.inference.journal import Entry, Journal

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
    journal = Journal(tmp_path / "journal")
    journal.add(ENTRIES[0])
    with journal.path.open("ab") as file:
        file.write(line)
    for block in (1, 2):
        journal.add(ENTRIES[block])
    assert journal.read() == ENTRIES
    assert journal.summary()["blocks"] == 3
