"""Fetching a made-up set from a server on this machine: checksums, interruptions, mirrors."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from cristae.data.public import PUBLIC_SETS
from cristae.data.public.base import Derivation, PublicSet, SetFile
from cristae.data.public.brought import BROUGHT_SETS
from cristae.data.public.derive import voxel_sha256
from cristae.errors import DownloadError, MissingFileError, VolumeError
from cristae.progress import Progress, Task
from cristae.workflows import datasets
from cristae.workflows.datasets import fetch_dataset, list_datasets

CONTENT = {
    "LICENSE": b"do what you like\n" * 20,
    "images/a b.png": bytes(range(256)) * 700,
    "labels/1.png": b"\x00\xff" * 5000,
}


@dataclass
class Server:
    """What the server holds, how it misbehaves, and what it was asked."""

    address: str = ""
    content: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    """Path to the numbers of bytes after which its next answers break off."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server(content={f"/base/{path.replace(' ', '%20')}": content for path, content in CONTENT.items()})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            content = state.content.get(self.path)
            if content is None:
                self.send_error(404, "Not Found")
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and state.ranges else 0
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            cuts = state.cut_after.get(self.path)
            self.wfile.write(content[start : start + cuts.pop(0)] if cuts else content[start:])

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{found.server_port}"
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    found.shutdown()
    found.server_close()


@dataclass(frozen=True)
class MadeSet(PublicSet):
    """A public set whose table is given."""

    table: tuple[SetFile, ...] = ()

    @property
    def files(self) -> tuple[SetFile, ...]:
        return self.table


def made_set(server: Server, table: tuple[SetFile, ...], derived: Derivation | None = None) -> MadeSet:
    text = dict.fromkeys(("title", "citation", "doi", "licence", "licence_note", "homepage"), "-")
    return MadeSet(name="made", address=f"{server.address}/base/", tasks={}, derived=derived, table=table, **text)


def files_of(server: Server) -> tuple[SetFile, ...]:
    return tuple(
        SetFile(path, len(content), hashlib.sha256(content).hexdigest(), f"{server.address}/base/{path}")
        for path, content in CONTENT.items()
    )


@pytest.fixture(autouse=True)
def made(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MadeSet:
    found = made_set(server, files_of(server))
    monkeypatch.setattr(datasets, "find_set", lambda name: found)
    monkeypatch.setattr(datasets, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("CRISTAE_DATA", raising=False)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("cristae.data.public.download.time.sleep", lambda seconds: None)
    return found


def files_in(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class Counter(Progress):
    """Adds up what it is given."""

    def __init__(self) -> None:
        self.total = self.done = 0

    def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Any:
        self.total = total
        counter = self

        class Counted(Task):
            def __enter__(self) -> Task:
                return self

            def __exit__(self, *error: object) -> None:
                """Nothing to close."""

            def advance(self, steps: int = 1, *, note: str = "") -> None:
                counter.done += steps

        return Counted()


def test_a_set_is_fetched_into_a_folder_of_its_name(tmp_path: Path) -> None:
    counter = Counter()
    folder = fetch_dataset("made", to=tmp_path / "data", progress=counter)
    assert folder == tmp_path / "data/made"
    assert files_in(folder) == CONTENT
    assert counter.done == counter.total == sum(map(len, CONTENT.values()))


def test_without_a_place_the_cache_is_used(tmp_path: Path) -> None:
    assert fetch_dataset("made") == tmp_path / "cache/made"


def test_files_that_are_there_are_kept(tmp_path: Path, server: Server) -> None:
    folder = fetch_dataset("made", to=tmp_path)
    (folder / "labels/1.png").unlink()
    server.asked.clear()
    fetch_dataset("made", to=tmp_path)
    assert [path for path, _ in server.asked] == ["/base/labels/1.png"]
    assert files_in(folder) == CONTENT


def test_a_file_that_differs_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made/LICENSE").write_bytes(b"mine")
    with pytest.raises(DownloadError, match="is there already, but differs"):
        fetch_dataset("made", to=tmp_path)
    assert (tmp_path / "made/LICENSE").read_bytes() == b"mine"


def test_a_wrong_checksum_leaves_no_file(tmp_path: Path, server: Server) -> None:
    server.content["/base/LICENSE"] = b"something else"
    with pytest.raises(DownloadError, match=r"/base/LICENSE: what came is not the published file"):
        fetch_dataset("made", to=tmp_path)
    assert files_in(tmp_path) == {}


def test_a_missing_file_says_address_and_answer(tmp_path: Path, server: Server) -> None:
    del server.content["/base/images/a%20b.png"]
    with pytest.raises(DownloadError, match=r"/base/images/a b\.png: cannot be downloaded: the server answered 404"):
        fetch_dataset("made", to=tmp_path)


def test_no_server_says_so(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    table = (SetFile("a", 1, "0" * 64, "http://127.0.0.1:9/a"),)
    monkeypatch.setattr(datasets, "find_set", lambda name: made_set(server, table))
    with pytest.raises(DownloadError, match=r"http://127\.0\.0\.1:9/a: cannot be downloaded"):
        fetch_dataset("made", to=tmp_path)


def test_a_broken_connection_continues_where_it_stopped(tmp_path: Path, server: Server) -> None:
    path = "/base/images/a%20b.png"
    server.cut_after[path] = [98_304, 49_200]
    folder = fetch_dataset("made", to=tmp_path)
    assert files_in(folder) == CONTENT
    assert [wanted for asked, wanted in server.asked if asked == path] == [None, "bytes=98304-", "bytes=147456-"]


def test_a_killed_download_continues_in_the_next_call(tmp_path: Path, server: Server) -> None:
    path = "/base/images/a%20b.png"
    server.cut_after[path] = [100_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match="run the same command again"):
        fetch_dataset("made", to=tmp_path)
    assert set(files_in(tmp_path / "made")) == {"LICENSE", "images/.a b.png.part"}
    server.asked.clear()
    counter = Counter()
    assert files_in(fetch_dataset("made", to=tmp_path, progress=counter)) == CONTENT
    assert server.asked[0] == (path, "bytes=98304-")
    assert counter.done == counter.total


def test_a_part_that_was_already_complete_is_used(tmp_path: Path, server: Server) -> None:
    part = tmp_path / "made/.LICENSE.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT["LICENSE"])
    assert files_in(fetch_dataset("made", to=tmp_path)) == CONTENT


def test_a_part_longer_than_the_file_starts_again(tmp_path: Path, server: Server) -> None:
    part = tmp_path / "made/.LICENSE.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT["LICENSE"] * 2)
    assert files_in(fetch_dataset("made", to=tmp_path)) == CONTENT


def test_a_server_without_ranges_starts_the_file_again(tmp_path: Path, server: Server) -> None:
    server.ranges = False
    server.cut_after["/base/images/a%20b.png"] = [100_000]
    assert files_in(fetch_dataset("made", to=tmp_path)) == CONTENT


def test_a_folder_stands_in_as_mirror(tmp_path: Path, server: Server) -> None:
    source = fetch_dataset("made", to=tmp_path / "mirror")
    server.asked.clear()
    for place, mirror in (("one", str(tmp_path / "mirror")), ("two", (tmp_path / "mirror").as_uri())):
        assert files_in(fetch_dataset("made", to=tmp_path / place, mirror=mirror)) == CONTENT
    assert server.asked == []
    (source / "LICENSE").write_bytes(b"changed")
    with pytest.raises(DownloadError, match="differs from the published file"):
        fetch_dataset("made", to=tmp_path / "three", mirror=str(tmp_path / "mirror"))
    with pytest.raises(DownloadError, match="has no folder 'made'"):
        fetch_dataset("made", to=tmp_path / "four", mirror=str(tmp_path / "one/made"))


def test_a_server_stands_in_as_mirror(tmp_path: Path, server: Server) -> None:
    server.content = {path.replace("/base/", "/copy/made/"): content for path, content in server.content.items()}
    assert files_in(fetch_dataset("made", to=tmp_path, mirror=f"{server.address}/copy/")) == CONTENT


def test_other_schemes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="expected a folder or an address"):
        fetch_dataset("made", to=tmp_path, mirror="ftp://somewhere/sets")


def test_a_stated_folder_is_checked_and_used(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch_dataset("made", to=tmp_path)
    server.asked.clear()
    monkeypatch.setenv("CRISTAE_DATA", str(tmp_path))
    assert fetch_dataset("made") == folder
    assert server.asked == []
    (folder / "labels/1.png").write_bytes(b"damaged")
    with pytest.raises(DownloadError, match="differs from the published file"):
        fetch_dataset("made")
    (folder / "labels/1.png").unlink()
    with pytest.raises(MissingFileError, match=r"'labels/1\.png' is missing"):
        fetch_dataset("made")
    monkeypatch.setenv("CRISTAE_DATA", str(tmp_path / "elsewhere"))
    assert fetch_dataset("made") == tmp_path / "cache/made"


STACK = np.array([[[1, 2], [3, 0]], [[2, 2], [1, 1]], [[3, 3], [3, 3]]], np.uint32)
NEURONS = np.array([[[70, 90000], [70, 0]], [[90000, 90000], [70, 70]]], np.uint32)
"""The first two slices of STACK by hand: supervoxels 1 and 3 are neuron 70, 2 is neuron 90000."""


def serve_original(server: Server, tmp_path: Path, table: list[tuple[int, int]]) -> MadeSet:
    with h5py.File(tmp_path / "original.h5", "w") as file:
        file["stack"] = STACK
        file["transforms"] = np.array(table, np.uint64)
    packed = gzip.compress((tmp_path / "original.h5").read_bytes())
    server.content["/base/truth.h5.gz"] = packed
    sha256 = hashlib.sha256(np.ascontiguousarray(NEURONS, "<u4").tobytes()).hexdigest()
    file = SetFile("ids.tif", 100, sha256, f"{server.address}/base/truth.h5.gz")
    rule = Derivation("ids.tif", "neuron-ids", (0, 2), hashlib.sha256(packed).hexdigest(), len(packed))
    return made_set(server, (file,), rule)


def test_a_derived_file_is_made_from_its_original(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = serve_original(server, tmp_path, [(3, 70), (1, 70), (2, 90000)])
    monkeypatch.setattr(datasets, "find_set", lambda name: found)
    folder = fetch_dataset("made", to=tmp_path)
    assert set(files_in(folder)) == {"ids.tif"}
    assert np.array_equal(tifffile.imread(folder / "ids.tif"), NEURONS)
    assert voxel_sha256(folder / "ids.tif") == found.files[0].sha256
    server.asked.clear()
    fetch_dataset("made", to=tmp_path)
    assert server.asked == []
    # Another compression of the same voxels is the same file.
    tifffile.imwrite(folder / "ids.tif", NEURONS, photometric="minisblack")
    fetch_dataset("made", to=tmp_path)
    assert fetch_dataset("made", to=tmp_path / "copy", mirror=str(tmp_path)) == tmp_path / "copy/made"


@pytest.mark.parametrize(
    ("table", "message"), [([(1, 70), (3, 70)], "have no neuron"), ([(1, 7), (2, 9), (3, 7)], "published voxels")]
)
def test_wrong_neuron_tables_leave_no_file(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    table: list[tuple[int, int]],
    message: str,
) -> None:
    monkeypatch.setattr(datasets, "find_set", lambda name: serve_original(server, tmp_path, table))
    with pytest.raises(DownloadError, match=message):
        fetch_dataset("made", to=tmp_path)
    assert not (tmp_path / "made/ids.tif").exists()


def test_all_sets_are_listed_and_unknown_ones_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list_datasets() == (*PUBLIC_SETS, *BROUGHT_SETS)
    for sets in (PUBLIC_SETS, BROUGHT_SETS):
        assert [one.name for one in sets] == sorted(one.name for one in sets)
    monkeypatch.undo()
    with pytest.raises(VolumeError, match="no public set 'liver'"):
        fetch_dataset("liver")
