"""The ensemble file: which runs predict together, and what each of them has held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from cristae.data.box import Box
from cristae.data.files import require_new_file, write_text
from cristae.errors import RecipeError
from cristae.recipe.document import read_document
from cristae.recipe.run import Run, open_run

ENSEMBLE = "ensemble.yaml"


@dataclass(frozen=True)
class MemberRun:
    """A run as a member of an ensemble."""

    run: Run


def flat_members(runs: Sequence[Run | str | Path]) -> tuple[MemberRun, ...]:
    """The members of runs and ensemble files together, opened where they are paths."""
    members: list[MemberRun] = []
    for one in runs:
        if isinstance(one, Run):
            members.append(MemberRun(one))
            continue
        path = Path(one)
        file = path / ENSEMBLE if path.is_dir() else path
        if file.suffix in (".yaml", ".yml") and file.is_file():
            content = read_document(file.read_text(encoding="utf-8"), str(file)).value
            members += [MemberRun(open_run(file.parent / member["run"])) for member in content["members"]]
        else:
            members.append(MemberRun(open_run(path)))
    return tuple(members)


def write_ensemble(
    path: str | Path,
    runs: Sequence[Run | str | Path],
    *,
    weights: Sequence[float] | None = None,
    fusion: Literal["average", "majority", "weighted"] | None = None,
    held_out: Sequence[Sequence[tuple[str | Path, str | Box]]] | None = None,
) -> Path:
    """Write an ensemble file about runs that are finished.

    Args:
        path: The new file. Runs below its folder are named relative to it.
        runs: Run folders.
        weights: One for each run.
        fusion: The rule.
        held_out: For each run the image and box of everything that it has held out.
    """
    path = Path(path)
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise RecipeError(f"{path}: an ensemble file is YAML; call it {path.with_suffix('.yaml').name}")
    require_new_file(path, what="the ensemble file")
    members: list[dict[str, Any]] = []
    for number, one in enumerate(runs):
        run = one if isinstance(one, Run) else open_run(one)
        folder, start = run.path.absolute(), path.parent.absolute()
        name = folder.relative_to(start).as_posix() if folder.is_relative_to(start) else str(folder)
        member: dict[str, Any] = {
            "run": name + ("" if run.criterion is None else f":{run.criterion}"),
            "sha256": weights_sha256(run),
        }
        if weights is not None:
            member["weight"] = weights[number]
        if held_out is not None:
            member["held_out"] = [{"image": str(image), "box": str(box)} for image, box in held_out[number]]
        members.append(member)
    content = {"members": members} | ({} if fusion is None else {"fusion": fusion})
    write_text(path, yaml.safe_dump(content, sort_keys=False))
    return path


def weights_sha256(run: Run) -> str:
    """SHA-256 of a run's file of weights."""
    return hashlib.sha256(run.weights_path.read_bytes()).hexdigest()
