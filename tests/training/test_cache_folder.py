"""The cache that all runs share: found by content, used by many processes at once, kept within a size."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cristae.errors import RunError, StorageError
from cristae.training import cache_folder
from cristae.training.cache_folder import Cache, cache_limit, clear_cache, list_cache, open_cache

FACTS = {"volume": "v", "shape": [1, 2, 3]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRISTAE_CACHE", str(tmp_path))
    monkeypatch.delenv("CRISTAE_CACHE_LIMIT", raising=False)
    return tmp_path / "training"


def put(cache: Cache, key: str, size: int = 1000) -> Path:
    written = cache.new_entry(size)
    (written / "voxels").write_bytes(bytes(size))
    return cache.publish(written, key, FACTS)


def keys() -> set[str]:
    return {entry.path.name for entry in list_cache()}


def age(entry: Path, seconds: float) -> None:
    when = time.time() - seconds
    os.utime(entry / cache_folder.FACTS, (when, when))


def test_what_is_published_is_taken_by_later_sessions_and_listed(folder: Path) -> None:
    with open_cache() as cache:
        assert cache.take("a") is None
        put(cache, "a", 5000)
    assert list((folder / "sessions").iterdir()) == []
    with open_cache() as cache:
        entry = cache.take("a")
        assert entry == folder / "entries" / "a"
        (listed,) = list_cache()
        assert listed.in_use
    (listed,) = list_cache()
    assert (listed.volume, listed.shape, listed.size_bytes, listed.in_use) == ("v", (1, 2, 3), 5000, False)
    assert abs(time.time() - listed.last_used.timestamp()) < 60


def test_a_second_publication_of_the_same_entry_leaves_the_first(folder: Path) -> None:
    with open_cache() as one, open_cache() as two:
        first, second = one.new_entry(10), two.new_entry(10)
        for number, written in enumerate((first, second)):
            (written / "voxels").write_text(str(number))
        assert one.publish(first, "a", FACTS) == two.publish(second, "a", FACTS)
        assert (folder / "entries" / "a" / "voxels").read_text() == "0"
        assert not first.exists()
        assert not second.exists()


def test_the_least_recently_used_entries_make_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRISTAE_CACHE_LIMIT", "3500")
    with open_cache() as cache:
        for seconds, key in ((300, "oldest"), (200, "used"), (100, "newer")):
            age(put(cache, key), seconds)
    with open_cache() as cache:
        assert cache.take("used")
    with open_cache() as cache:
        put(cache, "new")
        assert keys() == {"used", "newer", "new"}
        put(cache, "large", 2000)
        assert keys() == {"new", "large"}, "1500 bytes are left besides it"
    assert not list(folder.rglob("evicted*"))


def test_entries_in_use_stay_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRISTAE_CACHE_LIMIT", "500")
    with open_cache() as user, open_cache() as other:
        put(user, "a")
        put(other, "b")
        assert keys() == {"a", "b"}
        assert clear_cache() == ()
    assert {entry.path.name for entry in clear_cache()} == {"a", "b"}
    assert list_cache() == ()


def test_answers_go_with_their_entries() -> None:
    with open_cache() as cache:
        for key in ("a", "b"):
            put(cache, key)
            cache.remember(f"which-{key}", key)
    with open_cache() as cache:
        cache.take("b")
        cache.evict(0)
        assert cache.recall("which-a") is None
        assert cache.recall("which-b") == "b"
        assert cache.recall("never asked") is None


WORKER = """
import sys, time
from cristae.training.cache_folder import open_cache
with open_cache() as cache:
    written = cache.new_entry(1000)
    (written / "voxels").write_bytes(bytes(1000))
    if sys.argv[1] == "publish":
        cache.publish(written, "theirs", {"volume": "v", "shape": [1, 2, 3]})
    print("ready", flush=True)
    time.sleep(600)
"""


@contextmanager
def worker(what: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", WORKER, what], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_what_another_process_uses_stays_until_it_is_killed(folder: Path) -> None:
    with worker("publish"):
        assert list_cache()[0].in_use
        assert clear_cache() == ()
    assert [entry.path.name for entry in clear_cache()] == ["theirs"]


def test_a_killed_writer_leaves_nothing_that_stays(folder: Path) -> None:
    with worker("write"):
        assert list_cache() == ()
        with open_cache():
            assert len(list(folder.rglob("voxels"))) == 1, "the other process is still writing"
    with open_cache():
        assert list(folder.rglob("voxels")) == []


def test_a_session_of_another_host_counts_for_a_week(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_cache() as cache:
        put(cache, "a")
        session = next((folder / "sessions").iterdir())
        shutil.copytree(session, folder / "sessions" / "elsewhere")
    uses = folder / "sessions" / "elsewhere" / "uses"
    uses.write_text("other-host a\n")
    assert list_cache()[0].in_use
    os.utime(uses, (time.time() - 8 * 24 * 3600,) * 2)
    assert not list_cache()[0].in_use


def test_many_threads_take_and_publish_at_once() -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with open_cache() as cache:
                for key in ("a", "b", "c"):
                    entry = cache.take(key) or put(cache, key)
                    assert (entry / "voxels").stat().st_size == 1000
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert keys() == {"a", "b", "c"}


def test_the_limit_is_stated_or_follows_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 50 * 2**30

    monkeypatch.setattr("psutil.disk_usage", lambda place: Usage)
    assert cache_limit() == 5 * 2**30
    Usage.free = 2**50
    assert cache_limit() == 20 * 2**30
    monkeypatch.setenv("CRISTAE_CACHE_LIMIT", "1.5GiB")
    assert cache_limit() == 3 * 2**29
    monkeypatch.setenv("CRISTAE_CACHE_LIMIT", "lots")
    with pytest.raises(RunError, match="'lots' is not"):
        cache_limit()


def test_a_place_that_cannot_be_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CRISTAE_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="CRISTAE_CACHE names another folder"), open_cache():
        pass
    assert list_cache() == clear_cache() == ()
