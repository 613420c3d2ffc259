"""The page of a prediction: a few slices in the class colours and how much of the volume each class takes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cristae.data.box import Box
from cristae.data.formats.ome_zarr import open_ome_zarr
from cristae.data.image import Image, voxel_size_text
from cristae.inference.prediction import Prediction
from cristae.progress import Progress
from cristae.report.facts import rows_of, shape
from cristae.report.page import Fact, Section, build_page, fold, table
from cristae.report.panels import MAX_PIXELS, LabelledSlice, overlay_markup
from cristae.report.preview import stretch_contrast
from cristae.report.scores import share_table

N_SLICES = 5
_STRIP_VOXELS = 1 << 24


def prediction_page(prediction: Prediction, *, progress: Progress = Progress()) -> str:
    """Make the page, reading every label once.

    Args:
        prediction: A finished prediction.
        progress: Where to show how far it is.
    """
    counts = class_voxels(prediction, progress)
    size = prediction.voxel_size_nm
    slices = overlay_markup(_slices(prediction), prediction.classes, size)
    total = prediction.box.size
    notes = [f"{total:,} voxels in all." if size else f"{total:,} voxels in all; the voxel size is not known."]
    if prediction.attributes["input"].get("mask_sha256"):
        nothing = "background" if prediction.classes.exclusive else "outside every class"
        notes.append(f"Made with a mask: voxels outside it were not predicted, and are counted as {nothing}.")
    colors = {name: prediction.classes.color_of(name) for name in prediction.classes.names}
    sections = [
        Section("Slices", slices),
        Section("Class volumes", share_table(counts, total, colors, size, notes)),
        Section("How it was made", fold("Runs, settings and plan", table(rows_of(_plain(prediction.attributes))))),
    ]
    facts = [
        Fact("Volume predicted", f"{shape(prediction.box.shape)}", "voxels, z y x"),
        Fact("Voxel size", voxel_size_text(size), "z y x"),
        Fact("Runs", str(len(prediction.attributes.get("runs", [])))),
        *(Fact("Normalisation", text) for text in prediction.normalizations),
    ]
    return build_page(f"Prediction {prediction.path.name}", sections, facts=facts)


def class_voxels(prediction: Prediction, progress: Progress = Progress()) -> dict[str, int]:
    """Voxels of each class, counted block by block."""
    classes = prediction.classes
    counts = dict.fromkeys(classes.names, 0)
    blocks = [(image, box) for image in prediction.labels for box in _strips(image)]
    with progress.task("Counting voxels", len(blocks), unit="blocks") as task:
        for image, box in blocks:
            found = np.bincount(image.read(box).reshape(-1), minlength=256)
            if classes.exclusive:
                for name in classes.names:
                    counts[name] += int(found[classes.id_of(name)])
            else:
                counts[classes.names[prediction.labels.index(image)]] += int(found[1])
            task.advance()
    return counts


def _strips(image: Image) -> list[Box]:
    """Boxes of whole chunks, as wide as the image."""
    z, y, x = image.chunks[0], image.chunks[1], image.shape[2]
    while y < image.shape[1] and 2 * z * y * x <= _STRIP_VOXELS:
        y *= 2
    return list(Box.of_shape(image.shape).blocks((z, y, x)))


def _slices(prediction: Prediction) -> list[LabelledSlice]:
    """Slices evenly spread over z."""
    depth = prediction.box.shape[0]
    places = sorted({int((i + 0.5) * depth / N_SLICES) for i in range(N_SLICES)})
    step = math.ceil(max(prediction.box.shape[1:]) / MAX_PIXELS)
    root = None if prediction.probabilities else open_ome_zarr(prediction.path)
    slices = []
    for z in places:
        image = None if root is None else stretch_contrast(root.read(_plane(root, z))[0])
        title = f"slice {prediction.box.start[0] + z}" + ("" if root else " (the input is not kept with probabilities)")
        slices.append(LabelledSlice(title, image, _ids(prediction, z, step), step))
    return slices


def _ids(prediction: Prediction, z: int, step: int) -> np.ndarray:
    """(Y, X) every `step`-th voxel of a slice; where overlapping classes overlap, the later one shows."""
    drawn: np.ndarray | None = None
    for class_id, image in zip(prediction.classes.ids, prediction.labels, strict=False):
        rows = max(step, _STRIP_VOXELS // image.shape[2] // step * step)
        strips = _plane(image, z).blocks((1, rows, image.shape[2]))
        found = np.concatenate([image.read(strip)[0, ::step, ::step] for strip in strips])
        if prediction.classes.exclusive:
            return found
        drawn = np.zeros_like(found) if drawn is None else drawn
        drawn[found != 0] = class_id
    assert drawn is not None, "a prediction has label images"
    return drawn


def _plane(image: Image, z: int) -> Box:
    return Box((z, 0, 0), (z + 1, image.shape[1], image.shape[2]))


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Lists of objects as numbered entries, so that a table can show them."""
    runs = {f"runs.{index}": run for index, run in enumerate(attributes.get("runs", []))}
    return {key: value for key, value in attributes.items() if key != "runs"} | runs
