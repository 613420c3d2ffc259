"""Pictures of surfaces on pages, with their legend and scale bars."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image as Picture

from cristae.analysis.render import Rendering
from cristae.report.page import render
from cristae.report.panels import LegendItem, scale_bar

_TWO_SIDES = (
    "Smoothed surfaces in parallel projection: the bar holds everywhere. What is farther away is paler. The first view "
    "looks along z from above and the left; the second is a quarter turn to the right of it."
)
_SIDE_BY_SIDE = (
    "Smoothed surfaces inside what is compared, all in the same parallel projection: the same place in two pictures is "
    "the same place in the volume, and the bar holds everywhere. What is farther away is paler. The view is along z "
    "from above and the left."
)


def views_markup(views: Sequence[Rendering], colors: Mapping[str, str]) -> Markup:
    """One segmentation from two sides.

    Args:
        views: Its pictures.
        colors: '#rrggbb' by class, for the legend.
    """
    pictures = [_picture(view, f"view {place} of {len(views)}", "") for place, view in enumerate(views, start=1)]
    return _markup(pictures, colors, _TWO_SIDES)


def side_by_side(views: Mapping[str, Rendering], colors: Mapping[str, str]) -> Markup:
    """Several segmentations from the same place, each under its name.

    Args:
        views: A picture of each.
        colors: '#rrggbb' by class, for the legend.
    """
    return _markup([_picture(view, name, name) for name, view in views.items()], colors, _SIDE_BY_SIDE)


def _markup(pictures: Sequence[Mapping[str, object]], colors: Mapping[str, str], note: str) -> Markup:
    legend = [LegendItem(name, color) for name, color in colors.items()]
    return render("views.html.j2", pictures=pictures, legend=legend, note=note)


def _picture(view: Rendering, what: str, title: str) -> dict[str, object]:
    height, width = view.picture.shape[:2]
    bar = scale_bar(width, view.nm_per_px)
    return {"data": _png(view.picture), "width": width, "height": height, "bar": bar, "what": what, "title": title}


def _png(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Picture.fromarray(np.ascontiguousarray(picture)).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
