"""Places in object stores and on web servers: `s3://bucket/key`, `gs://bucket/key`, `https://host/key`.

An object store knows neither folders nor renaming: an object is written whole or not at all, and that is all there is.
`Place` is what readers and writers of arrays in folders take: a path of this machine or such an address, which answers
to the same names where it can. Everything goes through tensorstore, which is loaded with the first request.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from cristae.errors import MissingFileError, StorageError

ENDPOINT = "CRISTAE_S3_ENDPOINT"
"""Variable with the address of a server that speaks S3, such as MinIO or Ceph; before AWS_ENDPOINT_URL."""
CREDENTIALS = "CRISTAE_S3_CREDENTIALS"
"""Variable that says where keys come from, where that is not to be found out."""
CREDENTIAL_KINDS = ("anonymous", "environment", "profile", "imds", "ecs", "default")

_ADDRESS = re.compile(r"(?:^|/)(?P<scheme>s3|gs|https?):/{1,2}(?P<host>[^/]+)(?:/(?P<key>.*))?$")
Patience = tuple[tuple[str, int | str], ...]
RETRIES: dict[str, int | str] = {"max_retries": 7, "initial_delay": "250ms", "max_delay": "8s"}
"""About 20 s: a server that restarts is waited for, one that is gone is not."""
_FORBIDDEN = ("PERMISSION_DENIED", "UNAUTHENTICATED", "AccessDenied")
_SILENT = ("CURL error", "UNAVAILABLE", "DEADLINE_EXCEEDED", "retry attempts failed")


@dataclass(frozen=True, order=True)
class Address:
    """A place in an object store or on a web server. Nothing is asked of the server before a method says so."""

    root: str
    """Scheme and bucket, or server: 's3://bucket', 'https://host:8080'."""
    key: str = ""
    """What follows, without slashes at its ends."""

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    def __truediv__(self, inner: str) -> Address:
        return Address(self.root, _joined(self.key, inner))

    @property
    def name(self) -> str:
        """What stands behind the last slash."""
        return PurePosixPath(self.key).name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.key).stem

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot on."""
        return PurePosixPath(self.key).suffix

    @property
    def parents(self) -> tuple[Address, ...]:
        """The places above, nearest first; the last is the bucket or server."""
        parts = self.key.split("/") if self.key else []
        return tuple(Address(self.root, "/".join(parts[:count])) for count in range(len(parts) - 1, -1, -1))

    @property
    def parent(self) -> Address:
        """The place above."""
        return next(iter(self.parents), self)

    @property
    def writable(self) -> bool:
        """Whether such a place can be written at all."""
        return not self.root.startswith("http")

    def absolute(self) -> Address:
        """The address, which always is."""
        return self

    def resolve(self) -> Address:
        """The address; stores have no links."""
        return self

    def relative_to(self, above: Address) -> PurePosixPath:
        """What leads here from a place above."""
        return PurePosixPath("/", self.key).relative_to(PurePosixPath("/", above.key))

    def is_relative_to(self, above: Address) -> bool:
        """Whether a place is this one or above it."""
        return self.root == above.root and PurePosixPath("/", self.key).is_relative_to(PurePosixPath("/", above.key))

    def as_posix(self) -> str:
        """The address."""
        return str(self)

    def is_file(self) -> bool:
        """Whether there is an object that may be read. It is read for that: ask about small ones."""
        return self.find(("",))[0] is not None

    def read_bytes(self) -> bytes:
        """The content of the object.

        Raises:
            MissingFileError: There is none, it may not be read, or the server does not answer.
        """
        content = self.find(("",))[0]
        if content is None:
            raise MissingFileError(f"{self}: {self.why_missing()}")
        return content

    def find(self, names: Sequence[str]) -> list[bytes | None]:
        """The contents of objects below this place, asked for together; None where there is none to be read.

        Raises:
            MissingFileError: The server does not answer, or not as such a server should.
        """
        store = self._store()
        asked = [store.read(_joined(self.key, name)) for name in names]
        return [self._content(reading) for reading in asked]

    def list(self) -> list[str]:
        """The keys of all objects below this place, relative to it.

        Raises:
            StorageError: The server refuses, or is a web server, which lists nothing.
        """
        import tensorstore

        prefix = f"{self.key}/" if self.key else ""
        try:
            below = tensorstore.KvStore.KeyRange(prefix, _behind(prefix))
            keys = self._store().list(below, strip_prefix_length=len(prefix)).result()
        except Exception as error:
            raise StorageError(f"{self}: cannot be listed: {cause_of(error)}") from error
        return sorted(key.decode() for key in keys)

    def write_bytes(self, content: bytes) -> None:
        """Write the object in one step.

        Raises:
            StorageError: The store refuses or does not answer.
        """
        self.require_store()
        try:
            self._store().write(self.key, content).result()
        except Exception as error:
            raise StorageError(f"{self}: cannot write: {cause_of(error)}") from error

    def remove_below(self) -> None:
        """Remove all objects below this place.

        Raises:
            StorageError: The store refuses or does not answer.
        """
        import tensorstore

        self.require_store()
        prefix = f"{self.key}/"
        try:
            self._store().delete_range(tensorstore.KvStore.KeyRange(prefix, _behind(prefix))).result()
        except Exception as error:
            raise StorageError(f"{self}: cannot be removed: {cause_of(error)}") from error

    def require_store(self) -> None:
        """Do nothing for an address of a store that can be written.

        Raises:
            StorageError: It is that of a web server.
        """
        if not self.writable:
            raise StorageError(f"{self}: cannot write: web servers are only read; write to s3://, gs:// or a folder")

    def why_missing(self) -> str:
        """Why an object could not be read, and what to do, for a message; asks the server once more."""
        import tensorstore

        store = self._store()
        try:
            if store.read(self.key).result().state == "value":
                return "was not there a moment ago; run the same command again"
        except Exception as error:
            return cause_of(error)
        if self.writable:  # where there is no bucket, its objects are only said to be missing, but no list is given
            try:
                store.list(tensorstore.KvStore.KeyRange(self.key, f"{self.key}\0")).result()
            except Exception as error:
                if "NoSuchBucket" in str(error):
                    return cause_of(error)
        return "does not exist; check the spelling, in which capital and small letters differ"

    def kvstore(self) -> dict[str, Any]:
        """The folder as tensorstore describes it."""
        return {**_driver(self.root), "path": f"{'/' if self.root.startswith('http') else ''}{self.key}/"}

    def _content(self, reading: Any) -> bytes | None:
        try:
            found = reading.result()
        except Exception as error:
            if _says(error, _FORBIDDEN):  # stores that hide their lists say so of what is not there, too
                return None
            raise MissingFileError(f"{self}: {cause_of(error)}") from error
        content: bytes | None = found.value if found.state == "value" else None
        return content

    def _store(self) -> Any:
        return _open(self.root, *_settings())


Place = Path | Address
"""A file or folder of this machine, or its like in a store."""


def place_of(path: str | Path | Address) -> Place:
    """The place that a person or a program names.

    An address stays one when it went through `pathlib`, which drops a slash, or was put behind the folder of a recipe.

    Example:
        >>> place_of("s3://bucket/cell.zarr").parent, place_of(Path("recipes/s3:/bucket/cell.zarr")).name
        (Address(root='s3://bucket', key=''), 'cell.zarr')
    """
    if isinstance(path, Address):
        return path
    found = _ADDRESS.search(path if isinstance(path, str) else path.as_posix())
    if found is None:
        return Path(path)
    return Address(f"{found['scheme']}://{found['host']}", _joined("", found["key"] or ""))


def inner_path(place: Place, above: Place) -> str:
    """What leads from a folder to a place in it, with slashes; '' where they are the same."""
    inner = PurePosixPath(place.as_posix()).relative_to(above.as_posix()).as_posix()
    return "" if inner == "." else inner


def places_above(place: Place) -> tuple[Place, ...]:
    """The folders around a place, nearest first."""
    return tuple(place.absolute().parents)


def is_address(path: str | Path | Address) -> bool:
    """Whether a path, with or without options and an array behind it, is an address."""
    return isinstance(place_of(path), Address)


def patience() -> Patience:
    """How long a server that does not answer is waited for."""
    return tuple(RETRIES.items())


def context_of_stores(waiting: Patience) -> dict[str, Any]:
    """What a tensorstore context needs to know of stores."""
    return {f"{kind}_request_retries": dict(waiting) for kind in ("s3", "gcs", "http")}


def is_of_store(error: BaseException) -> bool:
    """Whether what went wrong is between here and a server, rather than in what was read."""
    return _says(error, (*_FORBIDDEN, *_SILENT, "http_response_code", "NoSuchBucket"))


def cause_of(error: BaseException) -> str:
    """What a store or server refused, and what to do, for a message."""
    if _says(error, ("NoSuchBucket",)):
        where = _endpoint() or "AWS"
        return f"there is no such bucket on {where}; check its name, and set {ENDPOINT} where another server has it"
    if _says(error, ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")):
        return "the store does not know these keys, or they have expired; check AWS_ACCESS_KEY_ID and its like"
    if _says(error, _FORBIDDEN):
        return f"permission denied; {_cure_of_forbidden()}"
    if _says(error, _SILENT):
        return (
            f"the server does not answer ({_short(error)}); check the address and the network, and run the same "
            "command again"
        )
    return f"{_short(error)}; check the address, and run the same command again"


def _cure_of_forbidden() -> str:
    if _credential_kind() == "anonymous":
        return (
            "the store was asked without keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, "
            "for gs:// GOOGLE_APPLICATION_CREDENTIALS; or the name is wrong, which some stores answer so"
        )
    return f"ask the owner of the bucket; where it is public, try {CREDENTIALS}=anonymous"


def _short(error: BaseException) -> str:
    """The first sentence of a message of tensorstore, without the answer of the server behind it."""
    text = re.split(r" \[[a-z_]+=| \[HTTP", str(error))[0].split("\n")[0]
    text = re.sub(r"^[A-Z_]+: |All \d+ retry attempts failed: ", "", text)
    return re.sub(r"^[A-Z_]+: |All \d+ retry attempts failed: ", "", text)[:200].rstrip(" .") or type(error).__name__


def _joined(*parts: str) -> str:
    return "/".join(part for whole in parts for part in whole.split("/") if part not in ("", "."))


def _behind(prefix: str) -> str:
    """The first key behind all that begin with a prefix that ends in a slash."""
    return prefix[:-1] + "0" if prefix else ""


def _settings() -> tuple[str, ...]:
    """What an open store depends on, so that it is opened again when that changes."""
    names = (ENDPOINT, CREDENTIALS)
    return tuple(value for name, value in sorted(os.environ.items()) if name in names or name.startswith("AWS_"))


@lru_cache(maxsize=32)
def _open(root: str, *_: str) -> Any:
    import tensorstore

    try:
        return tensorstore.KvStore.open(
            _driver(root), context=tensorstore.Context(context_of_stores(patience()))
        ).result()
    except (ValueError, NotImplementedError) as error:
        raise MissingFileError(f"{root}: cannot be opened: {_short(error)}; check the name and your keys") from error


def _driver(root: str) -> dict[str, Any]:
    scheme, _, host = root.partition("://")
    if scheme == "gs":
        return {"driver": "gcs", "bucket": host}
    if scheme != "s3":
        return {"driver": "http", "base_url": root}
    endpoint = _endpoint()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or (endpoint and "us-east-1")
    return {
        "driver": "s3",
        "bucket": host,
        "aws_credentials": _credentials(),
        **({"endpoint": endpoint.rstrip("/")} if endpoint else {}),
        **({"aws_region": region} if region else {}),
    }


def _endpoint() -> str | None:
    names = (ENDPOINT, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    return next((value for name in names if (value := os.environ.get(name))), None)


def _credentials() -> dict[str, str]:
    """Where the keys of S3 come from, as tensorstore takes it."""
    kind = _credential_kind()
    if kind != "profile":
        return {"type": kind}
    keys, settings = _aws_file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), _aws_file("AWS_CONFIG_FILE", "config")
    found = [file for file in (keys, settings) if file.is_file()] or [keys]
    profile = os.environ.get("AWS_PROFILE") or "default"
    return {"type": kind, "profile": profile, "credentials_file": str(found[0]), "config_file": str(found[-1])}


def _credential_kind() -> str:
    """Without any keys public buckets are read."""
    chosen = os.environ.get(CREDENTIALS)
    if chosen:
        if chosen not in CREDENTIAL_KINDS:
            raise MissingFileError(f"{CREDENTIALS}={chosen}: is not one of {', '.join(CREDENTIAL_KINDS)}")
        return chosen
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return "environment"
    if "AWS_PROFILE" in os.environ or _aws_file("AWS_SHARED_CREDENTIALS_FILE", "credentials").is_file():
        return "profile"
    in_container = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    return "ecs" if any(name in os.environ for name in in_container) else "anonymous"


def _aws_file(variable: str, name: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / ".aws" / name)


def _says(error: BaseException, words: Iterable[str]) -> bool:
    return any(word in str(error) for word in words)
