"""Metadata files: JSON objects, read safely."""

from __future__ import annotations

import json
from typing import Any

from cristae.data.address import Address, Place
from cristae.data.formats.paths import readable
from cristae.errors import FormatError


def load_object(path: Place) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        MissingFileError: The file may not be read.
        FormatError: It is not JSON, or no object.
    """
    if isinstance(path, Address):
        return object_in(path.read_bytes(), path)
    with readable(path):
        content = path.read_bytes()
    return object_in(content, path)


def load_if_there(path: Place) -> dict[str, Any]:
    """The JSON object that a file holds; empty where there is no file.

    Raises:
        MissingFileError: The file may not be read.
        FormatError: It is not JSON, or no object.
    """
    if isinstance(path, Address):
        content = path.find(("",))[0]
        return {} if content is None else object_in(content, path)
    return load_object(path) if path.is_file() else {}


def object_in(content: bytes, path: Place) -> dict[str, Any]:
    """The JSON object that the content of a file is.

    Raises:
        FormatError: It is not JSON, or no object.
    """
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        detail = str(error).split("\n")[0][:200] or "nested too deeply"
        raise FormatError(
            f"{path}: is not valid JSON, the metadata are damaged: {detail}. Copy it again from its source"
        ) from error
    return as_object(value, path)


def as_object(value: Any, path: Place) -> dict[str, Any]:
    """A value that has to be a JSON object.

    Raises:
        FormatError: It is none.
    """
    if not isinstance(value, dict):
        raise FormatError(f"{path}: expected a JSON object, found {type(value).__name__}; the metadata are damaged")
    return value
