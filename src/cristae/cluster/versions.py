"""What must be the same on all computers of a cluster, so that a job does the same on each of them."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("cloudpickle", "dask", "distributed", "lightning", "numpy", "pydantic", "scikit-learn", "scipy", "torch")


@cache
def versions() -> dict[str, str]:
    """Versions of Python, of packages that decide what is computed or sent, and of Cristae with a hash of its code."""
    found = {"python": platform.python_version(), "cristae": f"{_version('cristae')}, code {_code()}"}
    return found | {name: _version(name) for name in _PACKAGES}


def differences(theirs: Mapping[str, str]) -> list[str]:
    """What differs from this process, such as 'torch 2.12.0 instead of 2.13.0'."""
    return [
        f"{name} {theirs.get(name, 'none')} instead of {mine}"
        for name, mine in versions().items()
        if theirs.get(name) != mine
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _code() -> str:
    top, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(top.rglob("*.py")):
        digest.update(path.relative_to(top).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:8]
