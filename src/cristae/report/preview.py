"""Preview slices of a run: small pictures kept beside the weights, from which its page is made."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from cristae.data.classes import Classes
from cristae.data.files import write_bytes, write_json
from cristae.data.image import VoxelSize
from cristae.errors import RunError
from cristae.metrics.confusion import Confusion
from cristae.metrics.overlap import iou

INVALID = 255
"""Stands in the truth picture where a voxel was not annotated."""
CONTRAST_PERCENTILES = (0.5, 99.5)
"""Grey values shown as black and white."""


@dataclass(frozen=True, eq=False)
class Preview:
    """One slice as it was last validated."""

    volume: str
    z: int
    class_name: str | None
    """The class that is shown against the rest; None where classes are exclusive and all are shown."""
    iou: dict[str, float]
    """By class name; NaN where the class is in neither map."""
    voxel_size_nm: VoxelSize | None
    image: np.ndarray
    """(Y, X) uint8 grey, contrast stretched."""
    truth: np.ndarray
    """(Y, X) uint8 ids, 255 where not annotated."""
    prediction: np.ndarray
    """(Y, X) uint8 ids."""
    background: bool = True
    """Whether id 0 means that there is no structure."""


@dataclass(frozen=True, eq=False)
class PredictedSlice:
    """One slice to keep: its image, truth and prediction."""

    volume: str
    """Name of the volume."""
    z: int
    """Counted in the volume."""
    image: np.ndarray
    """(Y, X) grey values of any type."""
    truth: np.ndarray
    """(Y, X) class ids, or (K, Y, X) masks of overlapping classes."""
    valid: np.ndarray | None
    """(Y, X), 0 where a voxel was not annotated; None when all were."""
    prediction: np.ndarray
    """As `truth`."""
    voxel_size_nm: VoxelSize | None
    """(z, y, x); None when unknown."""


def write_preview(folder: Path, kept: PredictedSlice, classes: Classes) -> None:
    """Keep one slice for the page, in place of the same slice of an earlier epoch.

    Args:
        folder: The run's `preview/`, made when missing.
        kept: The slice.
        classes: The classes; written to `classes.json`.
    """
    volume, z, valid = kept.volume, kept.z, kept.valid
    stem = f"{_file_name(volume)}_z{z:04d}"
    _write_picture(folder / f"{stem}_image.png", stretch_contrast(kept.image))
    entries = []
    views: list[tuple[str | None, np.ndarray, np.ndarray]] = [(None, kept.truth, kept.prediction)]
    if not classes.exclusive:
        views = list(zip(classes.names, kept.truth, kept.prediction, strict=True))
    for index, (name, true, predicted) in enumerate(views):
        part = stem if name is None else f"{stem}_class{index + 1}"
        shown = np.array(true, np.uint8) if valid is None else np.where(valid != 0, true, INVALID).astype(np.uint8)
        _write_picture(folder / f"{part}_truth.png", shown)
        _write_picture(folder / f"{part}_prediction.png", predicted.astype(np.uint8))
        files = {"image": f"{stem}_image.png"} | {kind: f"{part}_{kind}.png" for kind in ("truth", "prediction")}
        values = _iou_by_name(true, predicted, valid, classes, name)
        entry = {"volume": volume, "z": z, "class": name, "iou": values, "voxel_size_nm": kept.voxel_size_nm}
        entries.append(entry | {"files": files})
    write_json(folder / "classes.json", classes.model_dump(mode="json"))
    _add_to_index(folder / "index.json", volume, z, entries)


def read_previews(folder: Path) -> tuple[Classes | None, tuple[Preview, ...]]:
    """The classes and the slices that were kept, by volume and z; nothing when none were.

    Raises:
        RunError: The folder is damaged.
    """
    if not (folder / "index.json").is_file():
        return None, ()
    try:
        classes = Classes.model_validate_json((folder / "classes.json").read_text(encoding="utf-8"))
        entries = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        return classes, tuple(_read_entry(folder, entry, classes) for entry in entries)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder}: the preview slices are damaged ({error}); remove this folder to continue") from error


def stretch_contrast(image: np.ndarray) -> np.ndarray:
    """Grey values as uint8, from the 0.5th percentile (black) to the 99.5th (white).

    Args:
        image: (Y, X), or (Y, X, colors) of which the first three are averaged.
    """
    grey = image.astype(np.float32)
    if grey.ndim == 3:
        grey = grey[..., : 1 if grey.shape[-1] < 3 else 3].mean(axis=-1)
    low, high = np.percentile(grey, CONTRAST_PERCENTILES)
    scale = 255.0 / (high - low) if high > low else 0.0
    stretched: np.ndarray = np.clip((grey - low) * scale + 0.5, 0, 255).astype(np.uint8)
    return stretched


def _iou_by_name(
    truth: np.ndarray, prediction: np.ndarray, valid: np.ndarray | None, classes: Classes, name: str | None
) -> dict[str, float | None]:
    """JSON has no NaN: undefined values become null."""
    values = iou(Confusion.of(truth, prediction, len(classes.names) if name is None else 2, valid))
    named = dict(zip(classes.names, values, strict=True)) if name is None else {name: values[1]}
    return {key: None if math.isnan(value) else float(value) for key, value in named.items()}


def _add_to_index(path: Path, volume: str, z: int, entries: list[dict[str, Any]]) -> None:
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    kept = [entry for entry in known if (entry["volume"], entry["z"]) != (volume, z)]
    write_json(path, sorted(kept + entries, key=lambda entry: (entry["volume"], entry["z"])))


def _read_entry(folder: Path, entry: dict[str, Any], classes: Classes) -> Preview:
    pictures = {kind: _read_picture(folder / Path(name).name) for kind, name in entry["files"].items()}
    values = {name: float("nan") if value is None else float(value) for name, value in entry["iou"].items()}
    size = entry["voxel_size_nm"]
    return Preview(
        volume=entry["volume"],
        z=int(entry["z"]),
        class_name=entry["class"],
        iou=values,
        voxel_size_nm=None if size is None else (float(size[0]), float(size[1]), float(size[2])),
        image=pictures["image"],
        truth=pictures["truth"],
        prediction=pictures["prediction"],
        background=classes.background,
    )


def _write_picture(path: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    Picture.fromarray(np.ascontiguousarray(array)).save(buffer, format="PNG", compress_level=6)
    write_bytes(path, buffer.getvalue())


def _read_picture(path: Path) -> np.ndarray:
    with Picture.open(path) as picture:
        return np.asarray(picture)


def _file_name(volume: str) -> str:
    """The volume's name where it can be a file name, else a safe form that no other name shares."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", volume)
    return safe if safe == volume else f"{safe}-{hashlib.sha256(volume.encode()).hexdigest()[:6]}"
