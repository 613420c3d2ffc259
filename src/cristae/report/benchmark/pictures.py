"""Picture, truth and every method side by side, with a box that is magnified in all of them."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image as Picture

from cristae.data.classes import Classes
from cristae.errors import CristaeError
from cristae.metrics.table import describe_metric
from cristae.report.benchmark.files import BenchmarkFiles
from cristae.report.benchmark.slices import Answer, ShownSlice, disagreeing_slices, slice_metric
from cristae.report.benchmark.tables import switch
from cristae.report.page import Section, render
from cristae.report.panels import UNKNOWN, LegendItem, busiest_place, class_colors, class_legend, scale_bar
from cristae.report.preview import INVALID

TITLE = "Slices in dispute"
HIT, FALSE, MISSED, STRIPE, CONFUSED = "#ffdf3d", "#2459d6", "#e02b2b", "#5c0a0a", "#a13d97"
"""As in Fig. 6 of the EM-stellar paper; missed voxels are striped too, for those who do not tell red from the rest."""
_STRIPE_PIXELS = 4
_COLORS = {1: HIT, 2: FALSE, 3: MISSED, 4: STRIPE, 5: CONFUSED, 6: UNKNOWN}
_JPEG_QUALITY = 88
_MOST_BYTES = 9_000_000
"""Of all pictures together, so that the page opens fast; slices beyond it are left out."""


def pictures_section(files: BenchmarkFiles) -> Section | None:
    """The slices; None where no predictions were kept, a note where they or the data cannot be opened."""
    try:
        slices = disagreeing_slices(files)
    except CristaeError as error:
        note = Markup('<p class="note">{}</p>').format(f"No pictures: {error}")
        return Section(TITLE, note)
    if not slices:
        return None
    classes = slices[0].classes
    return Section(TITLE, _lead(files) + _markup(files, slices, classes))


def error_kinds(truth: np.ndarray, found: np.ndarray, *, background: bool = True) -> np.ndarray:
    """0 rightly background, 1 rightly found, 2 false, 3 and 4 missed (in stripes), 5 another class, 6 not annotated.

    Example:
        >>> error_kinds(np.array([[0, 1, 0, 1, 1, 255]]), np.array([[0, 1, 1, 0, 2, 0]])).tolist()
        [[0, 1, 2, 3, 5, 6]]
    """
    kinds = np.where(truth == found, np.uint8(1), np.uint8(5))
    if background:
        kinds[(truth == 0) & (found == 0)] = 0
        kinds[(truth == 0) & (found != 0)] = 2
        missed = (truth != 0) & (found == 0)
        y, x = np.nonzero(missed)
        kinds[y, x] = 3 + (x + y) // _STRIPE_PIXELS % 2
    kinds[truth == INVALID] = 6
    return kinds


def _lead(files: BenchmarkFiles) -> Markup:
    imported = any(files.is_imported(cell) for cell in files.order)
    own = " Predictions of other programs are not among them." if imported else ""
    return Markup("<p>{}</p>").format(
        "Of the slices whose scores differ most among the methods, those on which most voxels are in dispute. The "
        f"number beside a method is its {describe_metric(slice_metric(files)).title} on that slice. Labels are those "
        f"at a threshold of one half.{own}"
    )


def _markup(files: BenchmarkFiles, slices: Sequence[ShownSlice], classes: Classes) -> Markup:
    panes: list[tuple[str, Markup]] = []
    for place, one in enumerate(slices):
        body = render("benchmark_slice.html.j2", view=_view(files, f"b{place}", one))
        if panes and sum(len(other) for _, other in panes) + len(body) > _MOST_BYTES:
            break
        panes.append((f"{one.volume}, slice {one.z}", body))
    errors = [
        ("right (TP)", HIT, ""),
        ("false (FP)", FALSE, ""),
        ("missed (FN), striped", MISSED, "striped"),
        *([("wrong class", CONFUSED, "")] if len(classes.foreground) > 1 and classes.exclusive else []),
        *([("not annotated", UNKNOWN, "")] if any((one.truth == INVALID).any() for one in slices) else []),
    ]
    shown = switch("Slice", panes)
    return render("benchmark_slices.html.j2", slices=shown, errors=errors, classes=_legend(slices, classes))


def _legend(slices: Sequence[ShownSlice], classes: Classes) -> list[LegendItem]:
    """Of overlapping classes the one that is shown."""
    return [one for one in class_legend(classes) if slices[0].class_name in (None, one.name)]


def _view(files: BenchmarkFiles, prefix: str, one: ShownSlice) -> Mapping[str, object]:
    height, width = one.image.shape
    side = min(height, width, max(48, round(max(height, width) / 5)))
    errors = [error_kinds(one.truth, answer.ids, background=_has_background(one)) for answer in one.answers]
    wrong = np.stack([(kinds >= 2) & (kinds <= 5) for kinds in errors])
    x, y = busiest_place(wrong.sum(axis=0) >= max(1, len(errors) / 3), side)
    bar = None if one.voxel_size_nm is None else one.voxel_size_nm[2] * one.step
    return {
        "id": prefix,
        "title": f"{one.volume}, slice {one.z}",
        "values": [f"{100 * one.dissent:.1f} % of all answers differ from those of most methods", *_notes(one)],
        "width": width,
        "height": height,
        "side": side,
        "x": x,
        "y": y,
        "bar": None if bar is None else scale_bar(width, bar),
        "zoom_bar": None if bar is None else scale_bar(side, bar),
        "grey": _jpeg(one.image),
        "truth": _truth(one),
        "second": _second(one),
        "methods": [
            {"title": files.label(answer.cell), "score": _score(answer), "labels": _labels(one, answer.ids),
             "errors": _png(kinds, _COLORS)}
            for answer, kinds in zip(one.answers, errors, strict=True)
        ],
    }  # fmt: skip


def _has_background(one: ShownSlice) -> bool:
    return one.class_name is not None or one.classes.background


def _notes(one: ShownSlice) -> list[str]:
    notes = []
    if one.class_name is not None:
        notes.append(f"class {one.class_name}")
    if one.part:
        notes.append("the middle of the slice")
    if one.step > 1:
        notes.append(f"shown at 1/{one.step} of its size")
    return notes


def _score(answer: Answer) -> str:
    return "" if math.isnan(answer.score) else f"{answer.score:.3f}"


def _truth(one: ShownSlice) -> str:
    return _png(one.truth, _colors(one) | {INVALID: UNKNOWN})


def _second(one: ShownSlice) -> Mapping[str, str] | None:
    """What the second annotator drew, and where it is not the truth."""
    if one.second is None:
        return None
    both = np.where(one.second == INVALID, INVALID, one.truth)
    kinds = error_kinds(both, one.second, background=_has_background(one))
    return {"labels": _png(one.second, _colors(one) | {INVALID: UNKNOWN}), "errors": _png(kinds, _COLORS)}


def _labels(one: ShownSlice, ids: np.ndarray) -> str:
    return _png(ids, _colors(one))


def _colors(one: ShownSlice) -> dict[int, str]:
    return class_colors(one.classes, one.class_name)


def _png(ids: np.ndarray, colors: Mapping[int, str]) -> str:
    """Ids in their colours, those without one transparent, in as few bits as there are colours."""
    names = sorted(colors)
    places = np.zeros(256, np.uint8)
    places[names] = np.arange(1, len(names) + 1)
    picture = Picture.fromarray(places[ids])
    palette = [0, 0, 0] + [part for name in names for part in bytes.fromhex(colors[name][1:])]
    picture.putpalette(palette)
    buffer = io.BytesIO()
    bits = 2 if len(names) < 4 else 4 if len(names) < 16 else 8
    picture.save(buffer, format="PNG", bits=bits, transparency=0, compress_level=6)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _jpeg(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Picture.fromarray(np.ascontiguousarray(image)).save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
