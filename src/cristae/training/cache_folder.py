"""The folder of cached training data that all runs of a person share.

Entries are found by their content, written beside and renamed, so that any number of processes may use the folder at
once. Each process that uses it is a session: a folder with a lock file that the process holds, the list of entries it
uses, and what it is writing. The operating system releases the lock when a process ends, however it ends (`flock` on
Linux and macOS, `LockFile` on Windows); so a session whose lock can be taken is over, and what it left is removed.
Network file systems pass these locks on to other hosts. Some mounts do not, so a session of another host also counts
as alive for a week.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from cristae.data.files import storage_errors, write_json
from cristae.errors import StorageError
from cristae.words import parse_size

FOLDER_VARIABLE, LIMIT_VARIABLE = "CRISTAE_CACHE", "CRISTAE_CACHE_LIMIT"
FACTS = "part.json"
"""The file of an entry that says what it holds; its time of modification is when the entry was last used."""
_USES = "uses"
_LARGEST = 20 * 2**30
_FREE_FRACTION = 0.1
_OTHER_HOST_S = 7 * 24 * 3600


@dataclass(frozen=True)
class CacheEntry:
    """One cached region of training data."""

    volume: str
    """The volume it was first cached for."""
    shape: tuple[int, int, int]
    """Voxels (z, y, x) of the annotated region."""
    size_bytes: int
    """On disk."""
    last_used: datetime
    in_use: bool
    """Whether a running process uses it."""
    path: Path


def cache_folder() -> Path:
    """Where training data is cached: below CRISTAE_CACHE, or in the platform's folder for caches."""
    import pooch

    return Path(os.environ.get(FOLDER_VARIABLE) or pooch.os_cache("cristae")) / "training"


def cache_limit() -> int:
    """Bytes that entries may take together: CRISTAE_CACHE_LIMIT such as '50GiB', else 20 GiB or, where that is less, a
    tenth of the disk space that is free without them.

    Raises:
        RunError: The variable does not hold a size.
    """
    stated = os.environ.get(LIMIT_VARIABLE)
    if stated:
        return parse_size(stated)
    return min(_LARGEST, int(_FREE_FRACTION * cache_room()))


def cache_room() -> int:
    """Bytes of the disk that are free, or taken by entries."""
    folder = cache_folder()
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    free: int = psutil.disk_usage(str(there)).free
    return free + sum(entry.size_bytes for entry in list_cache())


def list_cache() -> tuple[CacheEntry, ...]:
    """What is cached of training data, the most recently used first.

    Example:
        >>> sum(entry.size_bytes for entry in list_cache())  # doctest: +SKIP
        1073741824
    """
    folder = cache_folder()
    if not (folder / "entries").is_dir():
        return ()
    used = _used(folder)
    found = (_entry(path, path.name in used) for path in (folder / "entries").iterdir())
    return tuple(sorted((one for one in found if one), key=lambda one: one.last_used, reverse=True))


def clear_cache() -> tuple[CacheEntry, ...]:
    """Remove cached training data, except what running processes use; what is needed again is made again.

    Returns:
        The entries that were removed.

    Raises:
        StorageError: The folder may not be changed.
    """
    if not (cache_folder() / "entries").is_dir():
        return ()
    with open_cache() as cache:
        removed = cache.evict(0)
        if not list_cache():
            shutil.rmtree(cache.folder / "known", ignore_errors=True)
    return removed


@contextmanager
def open_cache(folder: Path | None = None) -> Iterator[Cache]:
    """Use the cache: entries taken inside the `with` block stay until it ends, or until the process does.

    Args:
        folder: Another place than that of all runs, which takes whatever is written into it.

    Raises:
        StorageError: The folder cannot be made, or its file system knows no locks.
    """
    room = 0.0 if folder is None else math.inf
    folder = folder or cache_folder()
    session = folder / "sessions" / uuid.uuid4().hex
    with _messages(folder):
        session.parent.mkdir(parents=True, exist_ok=True)
        (folder / "entries").mkdir(exist_ok=True)
        lock = FileLock(session / "lock")
        with _exclusive(folder):
            session.mkdir()
            lock.acquire()
            _remove_dead_sessions(folder, session)
    try:
        yield Cache(folder, session, room)
    finally:
        lock.release()
        _remove(session)


class Cache:
    """One process's use of the cache folder."""

    def __init__(self, folder: Path, session: Path, room: float = 0.0) -> None:
        self.folder = folder
        self._session = session
        self._room = room  # bytes that may be written before entries are looked at again

    @property
    def scratch(self) -> Path:
        """A folder beside the entries that goes with the session, however it ends."""
        return self._session / "scratch"

    def take(self, key: str) -> Path | None:
        """The folder of an entry, which stays until the session ends; None when there is none."""
        entry = self.folder / "entries" / key
        with _messages(self.folder), _exclusive(self.folder):
            if not (entry / FACTS).is_file():
                return None
            self._note_use(key)
            os.utime(entry / FACTS)
        return entry

    def new_entry(self, size_bytes: int) -> Path:
        """An empty folder to write an entry into, after making room for this many bytes."""
        if size_bytes > self._room:
            limit = cache_limit()
            self.evict(max(0, limit - size_bytes))
            left = list_cache()
            # Where only what is in use is left, the limit does not hold, and looking again would find nothing.
            full = all(entry.in_use for entry in left)
            self._room = math.inf if full else limit - sum(entry.size_bytes for entry in left)
        self._room -= size_bytes
        folder = self._session / uuid.uuid4().hex
        with _messages(self.folder):
            folder.mkdir()
        return folder

    def publish(self, written: Path, key: str, facts: dict[str, Any]) -> Path:
        """Make a written folder the entry `key`; one that another process has published meanwhile is taken instead."""
        size = sum(file.stat().st_size for file in written.rglob("*") if file.is_file())
        write_json(written / FACTS, {**facts, "size_bytes": size})
        entry = self.folder / "entries" / key
        with _messages(self.folder), _exclusive(self.folder):
            if not (entry / FACTS).is_file():
                shutil.rmtree(entry, ignore_errors=True)
                written.rename(entry)
            self._note_use(key)
        shutil.rmtree(written, ignore_errors=True)
        return entry

    def has_any(self, prefix: str) -> bool:
        """Whether there are entries whose key begins so."""
        return any((self.folder / "entries").glob(f"{prefix}*"))

    def recall(self, question: str) -> str | None:
        """The key that `remember` was given for a question."""
        try:
            key = json.loads((self.folder / "known" / question).read_text())["key"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return key if isinstance(key, str) else None

    def remember(self, question: str, key: str) -> None:
        """Note the key that answers a question (a hash), for all processes."""
        with _messages(self.folder):
            write_json(self.folder / "known" / question, {"key": key})

    def evict(self, limit: int) -> tuple[CacheEntry, ...]:
        """Remove the least recently used entries until all together take `limit` bytes; those in use stay."""
        removed = []
        with _messages(self.folder):
            with _exclusive(self.folder):
                entries = list_cache()
                total = sum(entry.size_bytes for entry in entries)
                for entry in reversed(entries):
                    if total > limit and not entry.in_use:
                        entry.path.rename(self._session / f"evicted-{entry.path.name}")
                        total -= entry.size_bytes
                        removed.append(entry)
            for path in self._session.glob("evicted-*"):
                shutil.rmtree(path, ignore_errors=True)
            self._forget({entry.path.name for entry in removed})
        return tuple(removed)

    def _forget(self, keys: set[str]) -> None:
        if keys and (self.folder / "known").is_dir():
            for note in (self.folder / "known").iterdir():
                if self.recall(note.name) in keys:
                    note.unlink(missing_ok=True)

    def _note_use(self, key: str) -> None:
        with (self._session / _USES).open("a", encoding="utf-8") as file:
            file.write(f"{socket.gethostname()} {key}\n")


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Only one process at a time looks at uses and changes entries, which takes milliseconds."""
    with FileLock(folder / "lock"):
        yield


@contextmanager
def _messages(folder: Path) -> Iterator[None]:
    try:
        with storage_errors(folder):
            yield
    except NotImplementedError:
        raise StorageError(
            f"{folder}: this file system knows no file locks; set {FOLDER_VARIABLE} to a folder on another disk"
        ) from None
    except StorageError as error:
        if FOLDER_VARIABLE in str(error):
            raise
        raise StorageError(f"{error}; {FOLDER_VARIABLE} names another folder for cached training data") from error


def _entry(path: Path, in_use: bool) -> CacheEntry | None:
    try:
        facts, used = json.loads((path / FACTS).read_text()), (path / FACTS).stat().st_mtime
        z, y, x = facts["shape"]
        return CacheEntry(
            str(facts["volume"]), (z, y, x), int(facts["size_bytes"]), datetime.fromtimestamp(used, UTC), in_use, path
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _used(folder: Path) -> set[str]:
    """Keys of the entries that live sessions use."""
    return {key for session in (folder / "sessions").glob("*") if _is_live(session) for _, key in _uses(session)}


def _remove(folder: Path) -> None:
    """Remove a folder, also where writes that failed on a full disk are still letting go of their locks in it."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


def _remove_dead_sessions(folder: Path, own: Path) -> None:
    for session in (folder / "sessions").glob("*"):
        if session != own and not _is_live(session):
            shutil.rmtree(session, ignore_errors=True)


def _is_live(session: Path) -> bool:
    """Whether the process of a session runs, as far as can be known; in doubt it does."""
    lock = FileLock(session / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return session.is_dir()
    lock.release()
    elsewhere = any(host != socket.gethostname() for host, _ in _uses(session))
    return elsewhere and time.time() - (session / _USES).stat().st_mtime < _OTHER_HOST_S


def _uses(session: Path) -> list[tuple[str, str]]:
    """Host and key of each use that a session noted."""
    try:
        lines = (session / _USES).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [(host, key) for host, _, key in (line.partition(" ") for line in lines)]
