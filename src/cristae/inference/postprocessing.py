"""Post-processing of a prediction in place: the processed labels take the usual names, the raw ones are kept.

`labels/segmentation` (or the mask of each overlapping class) is what every reader gets. Once steps have changed it, the
labels as they were predicted lie beside it as `labels/segmentation_raw`, so that other steps need no other prediction.
Instances of a class are `labels/CLASS_instances`. While steps run, the manifest says so, and the prediction does not
open.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cristae.data.address import Place
from cristae.data.classes import Classes
from cristae.data.files import storage_errors
from cristae.data.formats.ome_zarr import (
    list_labels,
    open_ome_zarr,
    read_attributes,
    write_attributes,
    write_label_list,
)
from cristae.data.formats.paths import Reading
from cristae.data.image import Image
from cristae.errors import RunError
from cristae.inference.prediction import label_names
from cristae.postprocessing import Step, split_classes
from cristae.postprocessing.apply import apply_steps, origin_of
from cristae.postprocessing.form import LabelMaps, Outcome
from cristae.postprocessing.instances import INSTANCES, fill_labels, write_labels
from cristae.postprocessing.memory import plan_work
from cristae.progress import Progress

RAW = "_raw"
"""What the names of labels as they were predicted end in."""
_WORK = ".postprocess"


def require_names(steps: Sequence[Step], classes: Classes) -> None:
    """Make sure, before any work, that no label image of steps takes the place of a class.

    Raises:
        RunError: One would.
    """
    names = label_names(classes) if steps else ()
    split = split_classes(steps, classes)
    made = [f"{name}{RAW}" for name in names] + [f"{name}{INSTANCES}" for name in split]
    if doubles := set(made) & set(names):
        raise RunError(
            f"predict.postprocess: makes a label image '{min(doubles)}', which is the name of a class; leave the step "
            "out, or name the class otherwise"
        )


def announce(path: Place, steps: Sequence[Step]) -> None:
    """Say in the manifest that steps are still to be done, so that the prediction is not taken for finished."""
    if _is_due(read_attributes(path), steps):
        write_attributes(path, {"postprocess": {"status": "running", "steps": _plain(steps), "instances": []}})


def postprocess_prediction(
    path: Path,
    steps: Sequence[Step],
    *,
    mask: Image | None = None,
    max_ram: str | None = None,
    progress: Progress = Progress(),
) -> None:
    """Carry out the steps on a prediction whose blocks are all there; what was finished before a kill is kept.

    Other steps than before start from the labels as they were predicted; no steps bring these back.

    Args:
        path: The prediction.
        steps: What to do, in their order.
        mask: Of the prediction's voxels: those that are 0 in it stay background.
        max_ram: Ceiling for the memory of the process.
        progress: Where to report.

    Raises:
        CristaeError: A step cannot be carried out, or the disk is full.
    """
    attributes = read_attributes(path)
    if not _is_due(attributes, steps):
        return
    announce(path, steps)
    restore_raw(path)
    classes = Classes.model_validate(attributes["classes"])
    facts: dict[str, Any] = {"status": "complete", "steps": _plain(steps), "instances": []}
    if steps:
        maps = replace(_raw_maps(path, attributes, classes), mask=mask)
        work = plan_work(maps.images, steps, path / _WORK, max_ram, checked=True)
        origin = origin_of({key: attributes[key] for key in ("input_sha256", "settings", "runs", "plan")})
        outcome = apply_steps(maps, steps, work, origin=origin, progress=progress)
        made = _stage(path, outcome, classes, progress)
        _put_in_place(path, made, classes)
        facts |= {
            "changes": [asdict(change) for change in outcome.changes],
            "instances": list(outcome.instances),
        }
    write_attributes(path, {"postprocess": facts})
    with storage_errors(path):
        shutil.rmtree(path / _WORK, ignore_errors=True)


def restore_raw(path: Path) -> None:
    """Undo what a finished or killed post-processing did to the names of labels."""
    labels, classes = path / "labels", Classes.model_validate(read_attributes(path)["classes"])
    with storage_errors(path):
        for name in label_names(classes):
            if (labels / f"{name}{RAW}").exists():
                shutil.rmtree(labels / name, ignore_errors=True)
                (labels / f"{name}{RAW}").rename(labels / name)
        for name in {f"{name}{INSTANCES}" for name in classes.foreground} - set(label_names(classes)):
            shutil.rmtree(labels / name, ignore_errors=True)
        if set(list_labels(path)) != set(label_names(classes)):
            write_label_list(labels, label_names(classes))


def _is_due(attributes: Mapping[str, Any], steps: Sequence[Step]) -> bool:
    before = attributes.get("postprocess") or {"status": "complete", "steps": []}
    return bool(before["status"] != "complete" or before["steps"] != _plain(steps))


def _raw_maps(path: Path, attributes: Mapping[str, Any], classes: Classes) -> LabelMaps:
    labels = tuple(open_ome_zarr(path, f"labels/{name}") for name in label_names(classes))
    kept = attributes["channels"] if attributes["settings"]["probabilities"] else ()
    probabilities = {name: open_ome_zarr(path, reading=Reading(channel=c)) for c, name in enumerate(kept)}
    return LabelMaps(labels, classes, labels[0].voxel_size_nm, probabilities)


def _stage(path: Path, outcome: Outcome, classes: Classes, progress: Progress) -> list[Path]:
    """Write the final label images with all their levels, out of sight."""
    labels, place = path / "labels", path / _WORK / "labels"
    with storage_errors(path):
        shutil.rmtree(place, ignore_errors=True)
    made = []
    for name, image in zip(label_names(classes), outcome.maps.images, strict=True):
        with storage_errors(path):
            # All metadata and no voxels: processed labels look in every viewer as raw ones do.
            shutil.copytree(labels / name, place / name, ignore=shutil.ignore_patterns("c"))
        made.append(place / name)
        fill_labels(made[-1], image, progress)
    for name, image in outcome.instances.items():
        made.append(place / f"{name}{INSTANCES}")
        write_labels(made[-1], image, progress)
    return made


def _put_in_place(path: Path, made: Sequence[Path], classes: Classes) -> None:
    """Exchange the labels; a kill in between leaves what `restore_raw` brings back."""
    labels, names = path / "labels", label_names(classes)
    with storage_errors(path):
        for one in made:
            if one.name in names:
                (labels / one.name).rename(labels / f"{one.name}{RAW}")
            one.rename(labels / one.name)
    write_label_list(labels, [one.name for one in made] + [f"{name}{RAW}" for name in names])


def _plain(steps: Sequence[Step]) -> list[dict[str, Any]]:
    return [step.model_dump(mode="json") for step in steps]
