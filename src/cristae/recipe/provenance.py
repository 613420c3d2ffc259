"""Where a run comes from: versions, machine, seeds and the content of its inputs."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from cristae.data.files import write_json
from cristae.errors import RunError
from cristae.recipe.folder import SUMMARY, read_facts
from cristae.recipe.run import Run

PROVENANCE = "provenance.json"
_LIBRARIES = (
    "torch", "numpy", "lightning", "scikit-learn", "numba", "zarr", "tensorstore", "tifffile", "mrcfile", "h5py",
    "pydantic", "scipy",
)  # fmt: skip


def write_provenance(run: Run, *, device: str, inputs: Mapping[str, str]) -> None:
    """Write `provenance.json`.

    Args:
        run: Where to.
        device: What it was computed on, such as 'cpu' or 'cuda: NVIDIA H100'.
        inputs: For each input file or volume, a hash of its content.
    """
    model = run.recipe.model
    code = {"model_source_sha256": model.source_sha256()} if hasattr(model, "source_sha256") else {}
    write_json(
        run.path / PROVENANCE,
        {**provenance(), "seed": run.recipe.seed, "device": device, "inputs": dict(inputs), **code},
    )


def known_inputs(folder: Path, *, default: Mapping[str, str]) -> Mapping[str, str]:
    """The hashes of the inputs of a run that has trained before, finished or not; `default` where there are none."""
    for name in (SUMMARY, PROVENANCE):
        with suppress(RunError):
            found = read_facts(folder / name).get("inputs")
            if isinstance(found, dict) and found:
                return found
    return default


def provenance() -> dict[str, Any]:
    """The program, its libraries and the machine."""
    return {
        "cristae": {"version": metadata.version("cristae"), "git_commit": _git_commit()},
        "python": platform.python_version(),
        "libraries": _versions(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _versions() -> dict[str, str]:
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _git_commit() -> str | None:
    """The commit of the checkout that this package runs from, '+changes' when files differ; None when installed."""
    package = Path(__file__).parents[1]
    try:
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        commit = _git(package, "rev-parse", "HEAD").strip()
        return commit + ("+changes" if _git(package, "status", "--porcelain", "--", ".").strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    answer = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return answer.stdout
