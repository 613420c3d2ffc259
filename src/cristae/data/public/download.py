"""Downloading one file: checked, and continued where an interrupted attempt stopped."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from cristae.data.files import storage_errors
from cristae.errors import DownloadError
from cristae.progress import Task

_ATTEMPTS = 4
_TIMEOUT_S = 30
_PIECE = 1 << 13
"""Bytes; less than one piece is lost when a connection breaks."""


def download(address: str, target: Path, sha256: str | None, task: Task) -> None:
    """Download `address` to `target`; what is there halfway as `.NAME.part` is continued.

    Args:
        address: http(s).
        target: Where the file goes; it appears only when complete and checked.
        sha256: Expected checksum; None leaves checking to the caller.
        task: Advanced by every byte that is there.

    Raises:
        DownloadError: The address cannot be reached, or what comes fails its checksum.
        StorageError: The disk is full or may not be written.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    resuming = _Resuming(target.with_name(f".{target.name}.part"), task)
    try:
        with storage_errors(target):
            pooch.retrieve(
                address,
                None if sha256 is None else f"sha256:{sha256}",
                fname=target.name,
                path=target.parent,
                downloader=resuming,
            )
    except requests.RequestException as error:
        raise DownloadError(
            f"{address}: cannot be downloaded: {_cause(error)}.\n  Check the connection and run the same command "
            "again, which continues; or name a folder or mirror that has the files."
        ) from error
    except ValueError as error:
        raise DownloadError(
            f"{address}: what came is not the published file (its sha256 is not {str(sha256)[:12]}...); it was removed."
        ) from error


def file_sha256(path: Path) -> str:
    """Checksum of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Resuming:
    """A downloader for pooch that keeps what has come when the connection breaks or the process is killed."""

    def __init__(self, part: Path, task: Task) -> None:
        self.part = part
        self.task = task
        self.reported = 0

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        import requests

        failures = 0
        while failures < _ATTEMPTS:
            before = self.reported
            try:
                self._continue(url)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                # A slow line may break as often as it likes while something new arrives in between.
                failures = 1 if self.reported > before else failures + 1
                if failures == _ATTEMPTS:
                    raise
                time.sleep(0.2 * 2**failures)
        self.part.replace(output_file)

    def _continue(self, url: str) -> None:
        import requests

        there = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                # All bytes were there already, or the part is longer than the file: the checksum decides.
                if answer.headers.get("Content-Range", "").endswith(f"/{there}"):
                    return None
                self.part.unlink()
                return self._continue(url)
            answer.raise_for_status()
            continues = answer.status_code == requests.codes.partial_content
            self._report(there if continues else 0)
            with self.part.open("ab" if continues else "wb") as file:
                for piece in answer.iter_content(_PIECE):
                    file.write(piece)
                    self._report(file.tell())
            expected = answer.headers.get("Content-Length")
        came = self.part.stat().st_size - (there if continues else 0)
        if expected is not None and came != int(expected):
            raise requests.ConnectionError(f"the connection broke after {came} of {expected} bytes")
        return None

    def _report(self, there: int) -> None:
        if there > self.reported:
            self.task.advance(there - self.reported, note=self.part.name[1:].removesuffix(".part"))
            self.reported = there


def _cause(error: Exception) -> str:
    answer = getattr(error, "response", None)
    if answer is not None:
        return f"the server answered {answer.status_code} {answer.reason}"
    return str(error) or type(error).__name__
