"""OME-NGFF metadata: axes, voxel size, origin and class colours of an OME-Zarr group (0.1 to 0.5).

https://ngff.openmicroscopy.org/0.5/ (multiscales, coordinateTransformations, image-label)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cristae.data.box import Triple
from cristae.data.formats.units import Calibration, calibrate, offset_to_nm, to_nm
from cristae.data.image import NO_SHIFT_NM, VoxelSize
from cristae.errors import FormatError

LabelClass = tuple[int, str, str]
"""Id, name and display colour of a class in a label image: '#rrggbb', where id 0 is transparent, or '#rrggbbaa'."""

_SAMPLES = ("red", "green", "blue", "alpha")


def ome_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The OME part of a group's attributes: under `ome` since 0.5, at the top before."""
    inner = attributes.get("ome")
    return inner if isinstance(inner, dict) else attributes


def ome_version(attributes: Mapping[str, Any]) -> str:
    """The stated NGFF version, such as '0.4'."""
    ome = ome_attributes(attributes)
    scales = ome.get("multiscales")
    first = scales[0] if isinstance(scales, list) and scales and isinstance(scales[0], dict) else {}
    return str(ome.get("version") or first.get("version") or "unknown")


def find_multiscale(attributes: Mapping[str, Any], where: Path) -> Mapping[str, Any] | None:
    """The one multiscale of a group, or None when the group is not an image.

    Raises:
        FormatError: The metadata are damaged, or there are several multiscales.
    """
    scales = ome_attributes(attributes).get("multiscales")
    if scales is None:
        return None
    if not isinstance(scales, list) or not scales or not all(isinstance(scale, dict) for scale in scales):
        raise FormatError(f"{where}: 'multiscales' is damaged; expected a list with one description")
    if len(scales) > 1:
        raise FormatError(f"{where}: holds {len(scales)} multiscales; expected one. Name the array: {where}:/0")
    if not dataset_paths(scales[0]):
        raise FormatError(f"{where}: 'multiscales' lists no arrays; the metadata are damaged")
    first: Mapping[str, Any] = scales[0]
    return first


def dataset_paths(multiscale: Mapping[str, Any]) -> tuple[str, ...]:
    """Inner paths of the resolution levels, finest first."""
    datasets = multiscale.get("datasets")
    if not isinstance(datasets, list):
        return ()
    return tuple(str(item["path"]) for item in datasets if isinstance(item, dict) and "path" in item)


def read_geometry(
    multiscale: Mapping[str, Any], dataset: str, ndim: int, where: Path
) -> tuple[tuple[str, ...], Calibration]:
    """Axes, voxel size and origin of one level: its own transformations, then those of the whole multiscale.

    Raises:
        FormatError: Axes or transformations do not fit the array.
    """
    axes, units = _axes(multiscale, ndim, where)
    item = next(entry for entry in multiscale["datasets"] if str(entry.get("path")) == dataset)
    scale, offset, placed, note = [1.0] * ndim, [0.0] * ndim, False, ""
    for owner in (item, multiscale):
        for step in owner.get("coordinateTransformations") or ():
            kind = step.get("type") if isinstance(step, dict) else None
            if kind == "scale":
                factors = _numbers(step, "scale", ndim, where)
                scale = [_product(a, b) for a, b in zip(scale, factors, strict=True)]
                offset = [_product(a, b) for a, b in zip(offset, factors, strict=True)]
            elif kind == "translation":
                offset = [a + b for a, b in zip(offset, _numbers(step, "translation", ndim, where), strict=True)]
                placed = True
            elif kind != "identity":
                note = f"transformation '{kind}' is not understood, so the voxel size is unknown"
    if note:
        return axes, Calibration(note=note)
    return axes, _measure(axes, units, scale, offset if placed else None)


def _product(a: float, b: float) -> float:
    return a if b == 1.0 else b if a == 1.0 else a * b


def _axes(multiscale: Mapping[str, Any], ndim: int, where: Path) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    listed = multiscale.get("axes")
    if listed is None:
        listed = list("tczyx"[5 - ndim :]) if ndim == 5 else None
    if not isinstance(listed, list) or len(listed) != ndim:
        raise FormatError(f"{where}: 'axes' do not fit an array of {ndim} axes: {listed!r}")
    names, units = [], []
    for axis in listed:
        described = axis if isinstance(axis, dict) else {"name": axis}
        names.append(str(described.get("name")).lower())
        unit = described.get("unit")
        units.append(unit if isinstance(unit, str) else None)
    return tuple(names), tuple(units)


def _numbers(step: Mapping[str, Any], key: str, ndim: int, where: Path) -> list[float]:
    values = step.get(key)
    good = isinstance(values, list) and len(values) == ndim
    if not good or not all(isinstance(value, int | float) and math.isfinite(value) for value in values or ()):
        raise FormatError(f"{where}: {key} {values!r} does not fit an array of {ndim} axes; expected {ndim} numbers")
    return [float(value) for value in values or ()]


def _measure(
    axes: tuple[str, ...], units: Sequence[str | None], scale: Sequence[float], offset: Sequence[float] | None
) -> Calibration:
    sizes: list[float | None] = []
    origin: list[float] = []
    for name in "zyx":
        at = axes.index(name) if name in axes else None
        size = None if at is None else to_nm(scale[at], units[at])
        if at is None or size is None:
            return Calibration(note=_unknown(axes, units, scale, name))
        sizes.append(size)
        origin.append(0.0 if offset is None else offset_to_nm(offset[at], units[at]) or 0.0)
    return calibrate(sizes, None if offset is None else (origin[0], origin[1], origin[2]))


def _unknown(axes: tuple[str, ...], units: Sequence[str | None], scale: Sequence[float], name: str) -> str:
    stated = ", ".join(
        f"{a} {s:g} {u or '(no unit)'}" for a, u, s in zip(axes, units, scale, strict=True) if a in "zyx"
    )
    if name not in axes:
        return f"no axis z, so no section thickness ({stated})"
    return f"scale without a unit of length ({stated})"


def group_attributes(
    name: str,
    levels: Sequence[tuple[str, Triple]],
    voxel_size_nm: VoxelSize | None,
    origin_nm: VoxelSize | None,
    *,
    channels: int | None,
    colors: int = 1,
    classes: Sequence[LabelClass] = (),
) -> dict[str, Any]:
    """The `ome` attribute of a group: multiscales 0.5 and, for label images, ids with names and colours.

    Args:
        levels: Inner path and cumulative downsampling factor (z, y, x) of each level, finest first.
        voxel_size_nm: Of the finest level; when it is None the axes carry no unit and the scale counts voxels.
        origin_nm: Centre of the first voxel (z, y, x); None where nobody knows it.
        channels: Length of a leading channel axis, or None when there is none.
        colors: 2 to 4 when the channels are the samples of a colour image.
    """
    axes: list[dict[str, str]] = [] if channels is None else [{"name": "c", "type": "channel"}]
    for axis in "zyx":
        unit = {} if voxel_size_nm is None else {"unit": "nanometer"}
        axes.append({"name": axis, "type": "space"} | unit)
    size = voxel_size_nm or (1.0, 1.0, 1.0)
    lead = 0 if channels is None else 1
    datasets = []
    for path, factor in levels:
        scale = [s * f for s, f in zip(size, factor, strict=True)]
        # A coarse voxel covers `factor` fine ones, so its centre lies half the difference further.
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": [1.0] * lead + scale}]
        if origin_nm is not None or factor != (1, 1, 1):
            start = origin_nm or NO_SHIFT_NM
            shift = [o + s * (f - 1) / 2 for o, s, f in zip(start, size, factor, strict=True)]
            steps.append({"type": "translation", "translation": [0.0] * lead + shift})
        datasets.append({"path": path, "coordinateTransformations": steps})
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [{"name": name, "axes": axes, "datasets": datasets}]}
    if colors > 1:
        samples = _SAMPLES[:colors] if colors > 2 else ("grey", "alpha")
        ome["omero"] = {"channels": [_omero_channel(sample) for sample in samples]}
    if classes:
        ome["image-label"] = {
            "colors": [{"label-value": value, "rgba": _rgba(value, color)} for value, _, color in classes],
            "properties": [{"label-value": value, "name": label} for value, label, _ in classes],
        }
    return ome


def color_samples(attributes: Mapping[str, Any]) -> int:
    """How many channels are declared as the samples of one colour image; 1 when they are not."""
    labels = channel_names(attributes)
    return len(labels) if labels in (("grey", "alpha"), _SAMPLES[:3], _SAMPLES) else 1


def channel_names(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Labels of the channels, '' where one has none; empty when none are listed."""
    omero = ome_attributes(attributes).get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    listed = channels if isinstance(channels, list) else []
    return tuple(str(channel.get("label") or "") if isinstance(channel, dict) else "" for channel in listed)


def label_classes(attributes: Mapping[str, Any]) -> tuple[LabelClass, ...]:
    """Ids, names and colours that an `image-label` attribute lists; empty when there is none."""
    described = ome_attributes(attributes).get("image-label")
    if not isinstance(described, dict):
        return ()
    colors = {c.get("label-value"): c.get("rgba") for c in described.get("colors") or () if isinstance(c, dict)}
    names = {
        p.get("label-value"): p.get("name") or p.get("class")
        for p in described.get("properties") or ()
        if isinstance(p, dict)
    }
    ids = sorted(value for value in {*colors, *names} if isinstance(value, int))
    return tuple((value, str(names.get(value) or f"label {value}"), _hex(colors.get(value))) for value in ids)


def _omero_channel(label: str) -> dict[str, Any]:
    color = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}.get(label, "FFFFFF")
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    return {"label": label, "color": color, "active": label != "alpha", "window": window}


def _rgba(value: int, color: str) -> list[int]:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    if len(color) == 9:
        return [red, green, blue, int(color[7:], 16)]
    # Viewers draw labels over the image: the background has to let it through.
    return [red, green, blue, 0 if value == 0 else 255]


def _hex(rgba: Any) -> str:
    if not isinstance(rgba, list) or len(rgba) < 3 or not all(isinstance(v, int) and 0 <= v < 256 for v in rgba):
        return "#808080"
    return "#{:02x}{:02x}{:02x}".format(*rgba[:3])
