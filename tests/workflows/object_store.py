"""A server that speaks as much S3 as volumes need, with its objects in memory, on this machine alone."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from cristae.data import address

KEY = "AKIDEXAMPLE"
PAGE = 50
"""Keys in one answer of a list."""


class ObjectStore:
    """Buckets of objects; `private` ones want the key `KEY`. A plain web server shows the same at `url/BUCKET/KEY`."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        """Method and path of each."""
        self.before: Callable[[str, str], None] = lambda method, path: None
        """Called with method and path before a request is answered; what it raises breaks the connection."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def put_folder(self, folder: Path, bucket: str, key: str) -> None:
        """Copy all files of a folder."""
        for file in folder.rglob("*"):
            if file.is_file():
                self.objects[bucket][f"{key}/{file.relative_to(folder).as_posix()}"] = file.read_bytes()

    def get_folder(self, bucket: str, key: str, folder: Path) -> None:
        """Copy all objects below a key into a folder."""
        for name, content in self.objects[bucket].items():
            if name.startswith(f"{key}/"):
                file = folder / name.removeprefix(f"{key}/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys of a bucket, in order."""
        return sorted(key for key in self.objects[bucket] if key.startswith(prefix))

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def running_store() -> Iterator[ObjectStore]:
    """A store with an empty bucket `lab`, which goes when it is left."""
    store = ObjectStore()
    store.objects["lab"] = {}
    try:
        yield store
    finally:
        store.close()


@contextmanager
def store_without_keys(patch: pytest.MonkeyPatch, folder: Path) -> Iterator[ObjectStore]:
    """A store that this process and its children ask, without keys and with little patience.

    Args:
        patch: Undone by the test.
        folder: An empty one.
    """
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL", address.CREDENTIALS):
        patch.delenv(name, raising=False)
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "none"))
    patch.setattr(address, "RETRIES", {"max_retries": 1, "initial_delay": "1ms", "max_delay": "1ms"})
    with running_store() as store:
        patch.setenv(address.ENDPOINT, store.url)
        yield store


def _handler(store: ObjectStore) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _answer_any(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = urlsplit(self.path)
            store.requests.append((self.command, unquote(parts.path)))
            try:
                store.before(self.command, unquote(parts.path))
            except ConnectionError:
                self.close_connection = True
                self.connection.close()
                return
            _, bucket, *rest = unquote(parts.path).split("/", 2)
            key = rest[0] if rest else ""
            if bucket not in store.objects:
                self._refuse(404, "NoSuchBucket")
            elif bucket in store.private and f"Credential={KEY}/" not in self.headers.get("authorization", ""):
                self._refuse(403, "AccessDenied")
            elif "list-type" in parse_qs(parts.query):
                self._list(store.objects[bucket], parse_qs(parts.query, keep_blank_values=True))
            elif self.command == "PUT":
                store.objects[bucket][key] = content
                self._answer(200, b"", {"ETag": _tag(content)})
            elif self.command == "DELETE":
                store.objects[bucket].pop(key, None)
                self._answer(204, b"")
            elif key in store.objects[bucket]:
                self._give(store.objects[bucket][key])
            else:
                self._refuse(404, "NoSuchKey")

        do_GET = do_HEAD = do_PUT = do_DELETE = _answer_any

        def _give(self, content: bytes) -> None:
            more = {"ETag": _tag(content), "Accept-Ranges": "bytes"}
            asked = self.headers.get("range")
            if asked is None:
                self._answer(200, content, more)
                return
            first, last = asked.removeprefix("bytes=").split("-")
            start = int(first) if first else max(0, len(content) - int(last))
            stop = min(len(content), int(last) + 1) if first and last else len(content)
            more["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            self._answer(206, content[start:stop], more)

        def _list(self, objects: dict[str, bytes], query: dict[str, list[str]]) -> None:
            begun = query.get("continuation-token", query.get("start-after", [""]))[0]
            prefix = query.get("prefix", [""])[0]
            keys = [key for key in sorted(objects) if key.startswith(prefix) and key > begun]
            shown = "".join(
                f"<Contents><Key>{escape(key)}</Key><Size>{len(objects[key])}</Size>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                for key in keys[:PAGE]
            )
            more = len(keys) > PAGE
            token = f"<NextContinuationToken>{escape(keys[PAGE - 1])}</NextContinuationToken>" if more else ""
            self._answer_xml(
                200,
                f"<ListBucketResult><KeyCount>{len(keys[:PAGE])}</KeyCount><IsTruncated>{str(more).lower()}"
                f"</IsTruncated>{token}{shown}</ListBucketResult>",
            )

        def _refuse(self, status: int, code: str) -> None:
            self._answer_xml(status, f"<Error><Code>{code}</Code><Message>{quote(self.path)}</Message></Error>")

        def _answer_xml(self, status: int, text: str) -> None:
            body = f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()
            self._answer(status, body, {"Content-Type": "application/xml"})

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    return Handler


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
