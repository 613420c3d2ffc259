"""What an HDF5 file holds, with links of every kind followed, and each array listed once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from cristae.data.formats.hdf5_dialects import is_bookkeeping
from cristae.data.formats.paths import require_content
from cristae.errors import CristaeError, FormatError

CACHE_BYTES = 64 * 2**20
_MAX_NODES = 100_000
"""Groups and arrays that are looked at; a file with more is a database, and its arrays are named by hand."""


_TABLE = 3
"""A flat array that is no wider holds numbers, places or bounding boxes; MATLAB writes every number as one."""


@dataclass(frozen=True)
class Contents:
    """What a file or a group holds."""

    arrays: tuple[str, ...]
    """Inner paths of the arrays that have at least two axes and hold numbers, each under one name."""
    others: tuple[str, ...]
    """What is no image, or cannot be reached, in words."""


@contextmanager
def hdf5_errors(path: Path) -> Iterator[None]:
    """Turn what libhdf5 raises for a damaged, locked or misnamed file into an error that says what to do.

    Raises:
        FormatError: It raises.
    """
    try:
        yield
    except CristaeError:
        raise
    except Exception as error:  # libhdf5 raises whatever the damaged bytes make it stumble over
        raise FormatError(f"{path}: {_what_is_wrong(str(error))}") from error


def open_file(path: Path) -> Any:
    """The file, for reading; call it within `hdf5_errors`."""
    require_content(path, at_least=8)
    return h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES)


def find_contents(group: Any) -> Contents:
    """The arrays below a group and what else is there, links followed; nothing but metadata is read.

    An array that several links lead to goes by the first of its names, one without soft or external links where it
    has one. Links that lead round in a circle end where they began.
    """
    arrays: list[str] = []
    others: list[str] = []
    seen: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
    waiting: deque[tuple[str, Any]] = deque([("", group)])
    linked: deque[tuple[str, Any, str]] = deque()
    while (waiting or linked) and len(seen) < _MAX_NODES:
        if waiting:
            name, node = waiting.popleft()
        else:
            name, parent, child = linked.popleft()
            try:
                node = parent[child]
            except (KeyError, OSError, ValueError, RuntimeError):
                others.append(f"'/{name}' is {broken_link(parent, child) or 'damaged'}")
                continue
        identity = _identity(node)
        if identity in seen or not isinstance(node, h5py.Group | h5py.Dataset):
            continue
        seen.add(identity)
        if isinstance(node, h5py.Dataset):
            why = why_no_image(node) or _why_not_listed(node)
            arrays.append(name) if not why else others.append(f"'/{name}' {why}")
        elif not name.startswith("#"):  # MATLAB keeps the insides of its cells and objects in '#refs#'
            inside: list[tuple[str, Any]] = []
            for child in node:
                below = f"{name}/{child}" if name else child
                if isinstance(node.get(child, getlink=True), h5py.HardLink):
                    inside.append((below, node[child]))
                else:
                    linked.append((below, node, child))
            waiting.extendleft(reversed(inside))
    return Contents(tuple(arrays), tuple(others))


def why_no_image(array: Any) -> str:
    """Why an array can be no image, as the end of a sentence; empty where it can."""
    dtype = array.dtype
    if array.shape is None or "MATLAB_empty" in array.attrs:
        return "is empty"
    if _text(array.attrs.get("MATLAB_class")) == "char":
        return "is text"
    if _text(array.attrs.get("MATLAB_class")) in ("cell", "struct"):
        kind = _text(array.attrs["MATLAB_class"])
        return f"is a MATLAB {kind}; save each array in it as a variable of its own: save(..., '-v7.3')"
    if dtype.fields is not None:
        parts = tuple(dtype.fields)
        return "holds complex numbers" if parts == ("r", "i") else f"holds records of {', '.join(parts[:4])}"
    if dtype.kind == "c":
        return "holds complex numbers"
    if dtype.kind not in "iufb":
        return "holds text or references, not numbers"
    if dtype.itemsize > 8:
        return f"holds {dtype.itemsize * 8}-bit floats; save it as float32"
    if array.ndim < 2:
        return "is one number" if array.ndim == 0 else f"is a list of {array.shape[0]} numbers"
    return ""


def _why_not_listed(array: Any) -> str:
    """Why an array is opened only by its name; empty where it is listed."""
    if array.ndim == 2 and min(array.shape) <= _TABLE:
        return f"is a table of {' x '.join(map(str, array.shape))} numbers"
    return "is of the program that wrote the file, or a coarser copy of another array" if is_bookkeeping(array) else ""


def broken_link(group: Any, name: str) -> str:
    """Where the first link of a path leads, when that is nowhere; empty when no link is to blame."""
    walked = ""
    for part in name.strip("/").split("/"):
        walked = f"{walked}/{part}".lstrip("/")
        try:
            link = group.get(walked, getlink=True)
            group[walked]
        except Exception:
            try:
                link = group.get(walked, getlink=True)
            except Exception:
                return ""
            return _leads_nowhere(group, link)
    return ""


def _leads_nowhere(group: Any, link: Any) -> str:
    if isinstance(link, h5py.ExternalLink):
        there = Path(group.file.filename).parent / link.filename
        why = "the file is missing" if not there.exists() else "there is no such array, or the file cannot be read"
        return f"a link to {link.filename}:{link.path}, and {why}; put it beside this file, or name that file itself"
    if isinstance(link, h5py.SoftLink):
        return f"a link to {link.path} in the same file, which does not exist or leads round in a circle"
    return ""


def _identity(node: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """File and address. `h5o.get_info` says it too, but ends the process where attributes of the file are damaged."""
    found = h5py.h5g.get_objinfo(node.id)
    return tuple(found.fileno), tuple(found.objno)


def _what_is_wrong(text: str) -> str:
    """What libhdf5's message means, and what to do."""
    if "unable to lock file" in text or "already open for write" in text:
        return (
            "is open in a program that writes it, or one was ended while it did. Close that program, or wait for it; "
            "if none is running, copy the file and run `h5clear -s` on the copy"
        )
    if "file signature not found" in text:
        return "is not an HDF5 file, whatever its name says"
    if "truncated file" in text:
        return "is truncated: the file ends before its data do; copy or download it again"
    short = text.split("\n")[0][:200]
    return f"is not a readable HDF5 file, it is damaged; copy or export it again (libhdf5: {short})"


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) if value is not None else ""
