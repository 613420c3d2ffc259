"""The page of a prediction: a few slices in the class colours, how much of the volume each class takes, and the members
of an ensemble."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from markupsafe import Markup

from cristae.data.box import Box
from cristae.data.formats.ome_zarr import open_ome_zarr
from cristae.data.image import Image, voxel_size_text
from cristae.inference.emptiness import rule_text
from cristae.inference.prediction import Prediction
from cristae.inference.runtime_check import RuntimeCheck
from cristae.inference.seam_check import SeamCheck
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
    notes += _empty(prediction)
    colors = {name: prediction.classes.color_of(name) for name in prediction.classes.names}
    sections = [
        Section("Slices", slices + _about_disagreement(prediction)),
        *_bad_sections(prediction),
        *_seams(prediction),
        *_runtime(prediction),
        Section("Class volumes", share_table(counts, total, colors, size, notes)),
        Section("Members", table(_members(prediction))),
        Section("How it was made", fold("Runs, settings and plan", table(rows_of(_plain(prediction.attributes))))),
    ]
    facts = [
        Fact("Volume predicted", f"{shape(prediction.box.shape)}", "voxels, z y x"),
        Fact("Voxel size", voxel_size_text(size), "z y x"),
        *([Fact("Made from", prediction.preview, "of the volume, not from full size")] if prediction.preview else []),
        Fact("Runs", str(len(prediction.attributes.get("runs", [])))),
        *_rules(prediction),
        *_steps(prediction),
        *(Fact("Normalisation", text) for text in prediction.normalizations),
    ]
    return build_page(f"Prediction {prediction.path.name}", sections, facts=facts)


def _empty(prediction: Prediction) -> list[str]:
    """How much was not shown to the networks because there is nothing in it, where that was asked for."""
    rule, found = prediction.attributes["settings"].get("skip_empty"), prediction.attributes.get("empty")
    if rule is None or not found:
        return []
    share, total = found["voxels"] / prediction.box.size, prediction.attributes["blocks"]
    return [
        f"{found['blocks']} of {total} blocks, {share:.1%} of the voxels, are empty ({rule_text(rule)}): they were not "
        "shown to the networks, and are counted as background."
    ]


def _rules(prediction: Prediction) -> list[Fact]:
    """How members are fused and what test-time augmentation they use, where that is more than one run by itself."""
    runs = prediction.attributes.get("runs", [])
    facts = []
    if len(runs) > 1:
        fusion = prediction.attributes["settings"].get("fusion") or {}
        facts.append(Fact("Fusion", str(fusion.get("name", "average"))))
    ways = list(dict.fromkeys(str(run["test_time"]) for run in runs if "test_time" in run))
    if ways:
        note = "" if all("test_time" in run for run in runs) else "of some runs"
        facts.append(Fact("Test-time augmentation", ", ".join(ways), note))
    return facts


def _bad_sections(prediction: Prediction) -> list[Section]:
    """Sections of the volume that deserve a look, and the slices of the prediction that they influence."""
    found = prediction.attributes.get("sections") or {}
    bad, reach, bridged = found.get("bad", []), int(found.get("reach", 0)), set(found.get("bridged", []))
    if not bad:
        return []
    first, last = prediction.box.start[0], prediction.box.stop[0] - 1
    rows = []
    for one in bad:
        low, high = max(first, one["slice"] - reach), min(last, one["slice"] + reach)
        row = {
            "Slice": str(one["slice"]),
            "Looks": one["kind"],
            "Found": one["text"],
            "Influences slices": f"{low}" if low == high else f"{low}-{high}",
        }
        rows.append(row | ({"Bridged": "yes" if one["slice"] in bridged else ""} if bridged else {}))
    note = Markup('<p class="note">{}</p>').format(
        "Slices count from 0 in the volume. Networks saw the mean of good neighbours in the place of bridged sections."
        if bridged
        else "Slices count from 0 in the volume. Judge what was predicted there by the image."
    )
    return [Section("Sections that deserve a look", table(rows) + note)]


def _seams(prediction: Prediction) -> list[Section]:
    """Whether a prediction in windows shows where these meet."""
    counts = prediction.attributes.get("seams")
    if not counts:
        return []
    found = SeamCheck(**counts)
    note = Markup('<p class="note">{}</p>').format(
        "Some places were predicted once more with windows elsewhere; near is up to a sixteenth of a window."
    )
    return [Section("Where windows meet", Markup("<p>{}.</p>").format(_capital(found.text())) + note)]


def _runtime(prediction: Prediction) -> list[Section]:
    """Whether another runtime than PyTorch gave what that gives."""
    found = prediction.attributes.get("runtime")
    if not found:
        return []
    return [Section("What computed it", Markup("<p>{}.</p>").format(_capital(RuntimeCheck(**found).text())))]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _steps(prediction: Prediction) -> list[Fact]:
    """What has changed the labels since they were predicted."""
    names = [str(step["name"]) for step in (prediction.attributes.get("postprocess") or {}).get("steps", ())]
    return [Fact("Post-processing", ", ".join(names), "all here is after it")] if names else []


def _members(prediction: Prediction) -> list[dict[str, str]]:
    """A row for each run; columns that are empty for all are left out."""
    runs = prediction.attributes.get("runs", [])
    weights = (prediction.attributes["settings"].get("fusion") or {}).get("weights") or [""] * len(runs)
    rows = [
        {
            "Run": str(run.get("run", "")),
            "Weights of": str(run.get("criterion", "")),
            "Weight": f"{weight:g}" if weight else "",
            "Applied": (run.get("windows") or {}).get("rule", "exact"),
            "Test-time augmentation": str(run.get("test_time", "none")),
            "Has held out": "; ".join(run.get("held_out", ())),
            "SHA-256 of the weights": str(run.get("weights_sha256", ""))[:12],
        }
        for run, weight in zip(runs, weights, strict=False)
    ]
    return [{name: value for name, value in row.items() if any(other[name] for other in rows)} for row in rows]


def _about_disagreement(prediction: Prediction) -> Markup:
    if prediction.disagreement is None:
        return Markup("")
    return Markup('<p class="note">{}</p>').format(
        "Disagreement: black where all members give the same probabilities, however uncertain these are; white where "
        "each is sure of another class (mutual information of class and member, Smith and Gal 2018)."
    )


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
        between = None if prediction.disagreement is None else _thinned(prediction.disagreement, z, step)
        slices.append(LabelledSlice(title, image, _ids(prediction, z, step), step, between))
    return slices


def _ids(prediction: Prediction, z: int, step: int) -> np.ndarray:
    """(Y, X) every `step`-th voxel of a slice; where overlapping classes overlap, the later one shows."""
    drawn: np.ndarray | None = None
    for class_id, image in zip(prediction.classes.ids, prediction.labels, strict=False):
        found = _thinned(image, z, step)
        if prediction.classes.exclusive:
            return found
        drawn = np.zeros_like(found) if drawn is None else drawn
        drawn[found != 0] = class_id
    assert drawn is not None, "a prediction has label images"
    return drawn


def _thinned(image: Image, z: int, step: int) -> np.ndarray:
    """(Y, X) every `step`-th voxel of a slice, read in strips."""
    rows = max(step, _STRIP_VOXELS // image.shape[2] // step * step)
    strips = _plane(image, z).blocks((1, rows, image.shape[2]))
    return np.concatenate([image.read(strip)[0, ::step, ::step] for strip in strips])


def _plane(image: Image, z: int) -> Box:
    return Box((z, 0, 0), (z + 1, image.shape[1], image.shape[2]))


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Lists of objects as numbered entries, so that a table can show them."""
    runs = {f"runs.{index}": run for index, run in enumerate(attributes.get("runs", []))}
    shown = ("runs", "sections", "seams", "runtime")  # above
    return {key: value for key, value in attributes.items() if key not in shown} | runs
