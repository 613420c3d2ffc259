"""Slices side by side: picture, truth, prediction and error, with a place magnified in all of them."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup
from PIL import Image as Picture

from cristae.data.classes import Classes
from cristae.data.image import VoxelSize
from cristae.report.page import render
from cristae.report.preview import INVALID, Preview

MAX_PIXELS = 1024
"""Longer sides are made smaller for the page."""
MOST_SLICES = 6
"""Slices that a page shows."""
OPACITY = 55
"""Of the class colours over the grey picture, in percent, when the page opens."""
MISSED, FALSE, CONFUSED, UNKNOWN = "#0072b2", "#d55e00", "#cc79a7", "#b8bec4"
"""Distinguishable with any colour vision (after Okabe and Ito)."""


@dataclass(frozen=True)
class Layer:
    """One picture in the page, used by several panels."""

    id: str
    data: str
    kind: str = ""


@dataclass(frozen=True)
class Bar:
    """A scale bar."""

    share: float
    """Length in percent of the picture's width."""
    text: str


@dataclass(frozen=True)
class Panel:
    """Layers shown over each other under one heading."""

    title: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class View:
    """One slice in all its panels."""

    title: str
    tag: str
    values: tuple[str, ...]
    notes: tuple[str, ...]
    width: int
    height: int
    x: int
    """Left edge of the place that is magnified first."""
    y: int
    side: int
    bar: Bar | None
    zoom_bar: Bar | None
    layers: tuple[Layer, ...]
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class LegendItem:
    """What a colour means."""

    name: str
    color: str


@dataclass(frozen=True, eq=False)
class LabelledSlice:
    """A slice of a prediction, made small enough for the page."""

    title: str
    image: np.ndarray | None
    """(Y, X) uint8 grey, of any size; None when there is no picture."""
    ids: np.ndarray
    """(Y, X) uint8 class ids."""
    step: int
    """Every how many voxels of the volume `ids` has one."""
    disagreement: np.ndarray | None = None
    """(Y, X) uint8, 255 where members of an ensemble disagree most; shown as a picture of its own."""


def slices_markup(previews: Sequence[tuple[str, Preview]], classes: Classes) -> Markup:
    """Panels of image, truth, prediction and error for some slices.

    Args:
        previews: A word for each slice, such as 'worst', and the slice.
        classes: Names and colours.
    """
    views = [_comparison(f"s{index}", tag, preview, classes) for index, (tag, preview) in enumerate(previews)]
    errors = [LegendItem("missed", MISSED), LegendItem("false", FALSE)] if classes.background else []
    if len(classes.foreground) > 1 and classes.exclusive:
        errors.append(LegendItem("wrong class", CONFUSED))
    if any((preview.truth == INVALID).any() for _, preview in previews):
        errors.append(LegendItem("not annotated", UNKNOWN))
    legends = [("Classes", class_legend(classes)), ("Error", errors)]
    return render("slices.html.j2", views=views, legends=legends, opacity=OPACITY)


def overlay_markup(slices: Sequence[LabelledSlice], classes: Classes, voxel_size_nm: VoxelSize | None) -> Markup:
    """Panels of image and labels for slices without truth.

    Args:
        slices: The slices, small enough for the page.
        classes: Names and colours.
        voxel_size_nm: (z, y, x) of the volume in nm, or None when unknown.
    """
    views = [_overlay(f"s{index}", one, classes, voxel_size_nm) for index, one in enumerate(slices)]
    legends = [("Classes", class_legend(classes))]
    return render("slices.html.j2", views=views, legends=legends, opacity=OPACITY)


def choose_slices(previews: Sequence[Preview]) -> tuple[tuple[str, Preview], ...]:
    """Worst, median and best slice by mean foreground IoU, then others evenly between, at most `MOST_SLICES`.

    Slices without any foreground in either map have no IoU; they are shown only when nothing else is.
    """
    rated = sorted(((foreground_iou(p), p.volume, p.z, i) for i, p in enumerate(previews)), key=_undefined_last)
    defined = [entry for entry in rated if not math.isnan(entry[0])]
    ranked = [previews[entry[3]] for entry in (defined or rated)]
    if not defined:
        return tuple(("", preview) for preview in ranked[:MOST_SLICES])
    last = len(ranked) - 1
    named = {0: "worst", last // 2: "median", last: "best"} if last > 0 else {0: "only slice"}
    if last == 1:
        named = {0: "worst", 1: "best"}
    spread = [round(i * last / (MOST_SLICES - 1)) for i in range(MOST_SLICES)]
    chosen = list(dict.fromkeys([*named, *spread]))[:MOST_SLICES]
    return tuple((named.get(i, ""), ranked[i]) for i in sorted(chosen))


def foreground_iou(preview: Preview) -> float:
    """Mean IoU of the classes that occur, the background left out; NaN where none occurs."""
    defined = [value for name, value in preview.iou.items() if _is_shown(name, value, preview)]
    return sum(defined) / len(defined) if defined else math.nan


def scale_bar(width: int, pixel_nm: float) -> Bar:
    """A bar of a round length, about a quarter of the width, for a picture of `width` pixels."""
    wanted = width * pixel_nm / 4
    power = 10.0 ** math.floor(math.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    text = f"{length / 1000:g} µm" if length >= 1000 else f"{length:g} nm"
    return Bar(share=round(100 * length / (width * pixel_nm), 2), text=text)


def error_ids(truth: np.ndarray, prediction: np.ndarray, *, background: bool = True) -> np.ndarray:
    """0 right, 1 missed, 2 false, 3 another class, 4 not annotated; without a background every error is 3."""
    wrong = truth != prediction
    kinds = np.where(wrong, np.uint8(3), np.uint8(0))
    if background:
        kinds[wrong & (prediction == 0)] = 1
        kinds[wrong & (truth == 0)] = 2
    kinds[truth == INVALID] = 4
    return kinds


def class_legend(classes: Classes) -> list[LegendItem]:
    return [LegendItem(name, classes.color_of(name)) for name in classes.foreground]


def _undefined_last(entry: tuple[float, str, int, int]) -> tuple[float, str, int]:
    value, volume, z, _ = entry
    return (math.inf if math.isnan(value) else value), volume, z


def _comparison(prefix: str, tag: str, preview: Preview, classes: Classes) -> View:
    shown, notes = _shrink(preview)
    colors = class_colors(classes, preview.class_name)
    errors = error_ids(shown.truth, shown.prediction, background=shown.background)
    grey = Layer(f"{prefix}-grey", _grey_png(shown.image))
    truth = Layer(f"{prefix}-truth", _color_png(shown.truth, colors | {INVALID: UNKNOWN}), "overlay")
    prediction = Layer(f"{prefix}-prediction", _color_png(shown.prediction, colors), "overlay")
    error = Layer(f"{prefix}-error", _color_png(errors, {1: MISSED, 2: FALSE, 3: CONFUSED, 4: UNKNOWN}))
    panels = (
        Panel("Image", (grey,)),
        Panel("Truth", (grey, truth)),
        Panel("Prediction", (grey, prediction)),
        Panel("Error", (grey, error)),
    )
    title = f"{preview.volume}, slice {preview.z}" + (f", {preview.class_name}" if preview.class_name else "")
    values = tuple(f"IoU {name} {value:.3f}" for name, value in preview.iou.items() if _is_shown(name, value, preview))
    view = _view(title, shown.image.shape, preview.voxel_size_nm, shown.image.shape[1] / preview.image.shape[1], panels)
    x, y = busiest_place(np.isin(errors, (1, 2, 3)), view.side)
    return replace(view, tag=tag, values=values, notes=notes + view.notes, x=x, y=y)


def _is_shown(name: str, value: float, preview: Preview) -> bool:
    first = preview.class_name is None and name == next(iter(preview.iou))
    return not (first and preview.background) and not math.isnan(value)


def _overlay(prefix: str, one: LabelledSlice, classes: Classes, voxel_size_nm: VoxelSize | None) -> View:
    labels = Layer(f"{prefix}-labels", _color_png(one.ids, class_colors(classes, None)), "overlay")
    panels: tuple[Panel, ...]
    if one.image is None:
        panels = (Panel("Segmentation", (replace(labels, kind=""),)),)
    else:
        grey = Layer(f"{prefix}-grey", _grey_png(_resize(one.image, (one.ids.shape[0], one.ids.shape[1]))))
        panels = (Panel("Image", (grey,)), Panel("Segmentation", (grey, labels)))
    if one.disagreement is not None:
        picture = Layer(f"{prefix}-disagreement", _grey_png(one.disagreement))
        panels = (*panels, Panel("Disagreement", (picture,)))
    view = _view(one.title, one.ids.shape, voxel_size_nm, 1 / one.step, panels)
    note = (f"shown at 1/{one.step} of its size",) if one.step > 1 else ()
    x, y = busiest_place((one.ids != 0) & classes.background, view.side)
    return replace(view, notes=note + view.notes, x=x, y=y)


def _view(
    title: str, shape: tuple[int, ...], voxel_size_nm: VoxelSize | None, scale: float, panels: tuple[Panel, ...]
) -> View:
    height, width = shape[0], shape[1]
    side = min(height, width, max(48, round(max(height, width) / 5)))
    pixel_nm = None if voxel_size_nm is None else voxel_size_nm[2] / scale
    notes = [] if pixel_nm else ["voxel size unknown: no scale bar"]
    if voxel_size_nm is not None and not math.isclose(voxel_size_nm[1], voxel_size_nm[2], rel_tol=0.01):
        notes.append(f"voxels are {voxel_size_nm[1]:g} x {voxel_size_nm[2]:g} nm (y, x); the bar holds along x")
    layers = {layer.id: layer for panel in panels for layer in panel.layers}
    bars = (scale_bar(width, pixel_nm), scale_bar(side, pixel_nm)) if pixel_nm else (None, None)
    return View(
        title, "", (), tuple(notes), width, height, 0, 0, side, bars[0], bars[1], tuple(layers.values()), panels
    )


def _shrink(preview: Preview) -> tuple[Preview, tuple[str, ...]]:
    """The slice at a size for the page: grey values averaged, ids taken from the nearest voxel."""
    step = math.ceil(max(preview.image.shape) / MAX_PIXELS)
    if step == 1:
        return preview, ()
    truth, prediction = preview.truth[::step, ::step], preview.prediction[::step, ::step]
    image = _resize(preview.image, (truth.shape[0], truth.shape[1]))
    height, width = preview.image.shape
    note = f"{width} x {height} pixels, shown at 1/{step} of its size"
    return replace(preview, image=image, truth=truth, prediction=prediction), (note,)


def _resize(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if image.shape == shape:
        return image
    return np.asarray(Picture.fromarray(image).resize((shape[1], shape[0]), Picture.Resampling.BOX))


def busiest_place(mask: np.ndarray, side: int) -> tuple[int, int]:
    """Left and top edge of the square that holds most of the mask; the middle where the mask is empty."""
    height, width = mask.shape
    if not mask.any():
        return (width - side) // 2, (height - side) // 2
    sums = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(left), int(top)


def class_colors(classes: Classes, only: str | None) -> dict[int, str]:
    if only is not None:
        return {1: classes.color_of(only)}
    return {classes.id_of(name): classes.color_of(name) for name in classes.foreground}


def _grey_png(image: np.ndarray) -> str:
    return _png(Picture.fromarray(np.ascontiguousarray(image)))


def _color_png(ids: np.ndarray, colors: dict[int, str]) -> str:
    """Ids in their colours; ids without a colour are transparent."""
    picture = Picture.fromarray(np.ascontiguousarray(ids))
    picture.putpalette([c for i in range(256) for c in bytes.fromhex(colors.get(i, "#000000")[1:])])
    return _png(picture, transparency=bytes(255 if i in colors else 0 for i in range(256)))


def _png(picture: Picture.Image, **options: bytes) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True, **options)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
