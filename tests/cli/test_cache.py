"""`cristae data cache`: what is cached, and clearing it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cristae
from cristae.cli.main import app
from cristae.training.cache_folder import open_cache


def shown(*options: str) -> str:
    result = CliRunner().invoke(app, ["data", "cache", *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_entries_are_listed_and_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRISTAE_CACHE", str(tmp_path))
    monkeypatch.setenv("CRISTAE_CACHE_LIMIT", "1GiB")
    assert shown() == f"0 entries, 0 B of at most 1.0 GiB, in {tmp_path / 'training'}\n"
    assert shown("--json") == "[]\n"
    with open_cache() as cache:
        written = cache.new_entry(2048)
        (written / "voxels").write_bytes(bytes(2048))
        entry = cache.publish(written, "key", {"volume": "cell", "shape": [4, 60, 70]})
        assert f"cell  4 x 60 x 70 voxels  2 KiB  in use  {entry}\n" in shown()
        assert shown("--clear").startswith("Removed 0 entries, 0 B\ncell")
    (listed,) = json.loads(shown("--json"))
    assert listed == {
        "volume": "cell",
        "shape": [4, 60, 70],
        "size_bytes": 2048,
        "last_used": listed["last_used"],
        "in_use": False,
        "path": str(entry),
    }
    assert cristae.list_cache()[0].last_used.isoformat() == listed["last_used"]
    assert shown("--clear").startswith("Removed 1 entry, 2 KiB\n0 entries")
    assert cristae.clear_cache() == ()
    assert not entry.exists()
