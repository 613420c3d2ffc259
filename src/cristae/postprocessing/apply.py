"""Steps carried out one after the other; on disk, steps that were finished before a kill are not repeated."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.files import storage_errors, write_json
from cristae.data.image import Image
from cristae.postprocessing import Step
from cristae.postprocessing.form import Change, LabelMaps, Outcome
from cristae.postprocessing.workplace import Workplace
from cristae.progress import Progress

_STATE = "state.json"


def apply_steps(
    maps: LabelMaps, steps: Sequence[Step], work: Workplace, *, origin: str = "", progress: Progress = Progress()
) -> Outcome:
    """Carry out steps in their order.

    Args:
        maps: What they begin with.
        steps: Without values that are still `auto`.
        work: Where the blocks and intermediate maps are. What earlier calls left in its folder is used where it was
            made from the same and removed where not.
        origin: What the maps are, for a call that continues another.
        progress: Where to report.

    Returns:
        The maps at the end, what every step changed, and the instances of classes that were split.

    Raises:
        CristaeError: A step needs what is not known of these maps, or a label file is damaged.
        StorageError: The disk is full or the place may not be written.
    """
    outcome, done = _continued(maps, steps, work, origin)
    with progress.task("Post-processing", len(steps), unit="steps", done=done) as task:
        for place in range(done, len(steps)):
            step, blocks = steps[place], 0

            def advance(step: Step = step) -> None:
                nonlocal blocks
                blocks += 1
                task.advance(0, note=f"{step.name}, {blocks} blocks")

            room = work.below(f"{place:02d}")
            if room.folder is not None:
                with storage_errors(room.folder):
                    shutil.rmtree(room.folder, ignore_errors=True)
                    room.folder.mkdir(parents=True)
            found = step.run(outcome.maps, room, advance)
            outcome = Outcome(found.maps, (*outcome.changes, *found.changes), {**outcome.instances, **found.instances})
            if work.folder is not None:
                _remember(work.folder, steps[: place + 1], origin, outcome)
            task.advance()
    return outcome


def origin_of(*facts: Any) -> str:
    """A short text that differs where any of the facts does."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _remember(folder: Path, steps: Sequence[Step], origin: str, outcome: Outcome) -> None:
    """Write down what is finished, then remove maps that no later step needs."""
    maps, instances = _inside(folder, dict(enumerate(outcome.maps.images))), _inside(folder, outcome.instances)
    state = {
        "origin": origin,
        "steps": _plain(steps),
        "changes": [asdict(change) for change in outcome.changes],
        "images": maps,
        "instances": instances,
    }
    write_json(folder / _STATE, state)
    needed = {*maps.values(), *instances.values()}
    for path in folder.glob("*/*.zarr"):
        if path.relative_to(folder).as_posix() not in needed:
            shutil.rmtree(path, ignore_errors=True)


def _continued(maps: LabelMaps, steps: Sequence[Step], work: Workplace, origin: str) -> tuple[Outcome, int]:
    """What an earlier call left, and how many steps that was."""
    fresh = Outcome(maps, ())
    if work.folder is None:
        return fresh, 0
    try:
        state = json.loads((work.folder / _STATE).read_text(encoding="utf-8"))
        count = len(state["steps"])
        if state["origin"] != origin or state["steps"] != _plain(steps[:count]):
            raise ValueError("made from something else")
        for place, name in state["images"].items():
            maps = maps.with_image(int(place), work.again(work.folder / name, np.dtype(np.uint8)).image)
        instances = {
            name: work.again(work.folder / path, np.dtype(np.uint32)).image for name, path in state["instances"].items()
        }
        return Outcome(maps, tuple(Change(**change) for change in state["changes"]), instances), count
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        with storage_errors(work.folder):
            shutil.rmtree(work.folder, ignore_errors=True)
            work.folder.mkdir(parents=True, exist_ok=True)
        return fresh, 0


def _inside(folder: Path, images: Mapping[Any, Image]) -> dict[Any, str]:
    """Those images that lie in a folder, by their place in it."""
    return {
        key: image.path.relative_to(folder).as_posix()
        for key, image in images.items()
        if isinstance(image.path, Path) and image.path.is_relative_to(folder)
    }


def _plain(steps: Sequence[Step]) -> list[dict[str, Any]]:
    return [step.model_dump(mode="json") for step in steps]
