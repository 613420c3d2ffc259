"""What lies at an address: of object stores and web servers only arrays in folders are read, piece by piece."""

from __future__ import annotations

import re
from typing import Literal

from cristae.data.address import Address, place_of
from cristae.errors import FormatError, MissingFileError

SCHEME = re.compile(r".*?(^|/)(s3|gs|https?):/{1,2}[^/]+")
"""The begin of an address, up to its bucket or server."""
ZARR_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
Kind = Literal["zarr", "n5", "precomputed"]

_FILES: tuple[tuple[Kind, str], ...] = (
    *(("zarr", name) for name in ZARR_FILES), ("n5", "attributes.json"), ("precomputed", "info")
)  # fmt: skip
_FOLDERS = (".zarr", ".n5", ".precomputed")
_FILE = re.compile(r"\.[a-z][a-z0-9]{1,6}", re.IGNORECASE)
_NESTED = 6
"""How deep groups lie in each other at most."""


def find_address(text: str, inner: str) -> Address:
    """The address that a person gives, of something that can be opened there.

    Args:
        text: Of a container or an array.
        inner: The array inside, where one is named.

    Raises:
        MissingFileError: There is nothing to be read, or the server does not answer.
        FormatError: It is a file, which would have to be read whole.
    """
    address = place_of(text)
    if not isinstance(address, Address):
        raise AssertionError(f"{text} is no address")
    if not address.key or "?" in text or "*" in text:
        raise FormatError(f"{text}: is no address of a volume; expected {address.root}/PATH.zarr without ? and *")
    if _FILE.fullmatch(address.suffix) and address.suffix.lower() not in _FOLDERS:
        raise FormatError(
            f"{text}: only OME-Zarr, Zarr, N5 and precomputed are read from addresses; download this "
            f"'{address.suffix}' file and name the copy, or put it there as OME-Zarr with `cristae convert`"
        )
    place = address / inner
    if kind_at(place) is None:
        why = (place / "zarr.json").why_missing()
        raise MissingFileError(f"{place}: holds no metadata of Zarr, N5 or precomputed: {why}")
    return address


def kind_at(address: Address) -> Kind | None:
    """What an address is, or lies in; None where no metadata are found.

    Raises:
        MissingFileError: The server does not answer.
    """
    places = (address, *address.parents[: _NESTED - 1])
    return next((kind for place in places if (kind := kind_of(place)) is not None), None)


def kind_of(address: Address) -> Kind | None:
    """What an address is by its own metadata, as `kind_at`."""
    contents = address.find([name for _, name in _FILES])
    for (kind, _), content in zip(_FILES, contents, strict=True):
        if content is None or not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            continue  # many web servers answer any address with a page
        if kind != "precomputed" or b'"scales"' in content:
            return kind
    return None
