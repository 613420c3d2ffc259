"""OME-NGFF metadata: axes, voxel size, origin and class colours of an OME-Zarr group (0.1 to 0.6).

https://ngff.openmicroscopy.org/0.5/ (multiscales, coordinateTransformations, image-label)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cristae.data.address import Place
from cristae.data.box import Triple
from cristae.data.formats.conventions import attribute_calibration
from cristae.data.formats.coordinate_systems import (
    Placement,
    UnfitTransformationError,
    UnreadTransformationError,
    apply,
    described_axes,
    is_length,
    reached,
    start,
    systems_of,
)
from cristae.data.formats.paths import Reading
from cristae.data.formats.stored import axis_names
from cristae.data.formats.units import Calibration, calibrate, offset_to_nm, to_nm
from cristae.data.image import NO_SHIFT_NM, VoxelSize, same_voxel_size, voxel_size_text
from cristae.errors import FormatError

LabelClass = tuple[int, str, str]
"""Id, name and display colour of a class in a label image: '#rrggbb', where id 0 is transparent, or '#rrggbbaa'."""

NamedChannel = tuple[str, str]
"""Name and display colour '#rrggbb' of a channel."""

_SAMPLES = ("red", "green", "blue", "alpha")
_SAMPLE_COLORS = {"red": "#FF0000", "green": "#00FF00", "blue": "#0000FF"}
_COLOR_IMAGES = (("grey", "alpha"), _SAMPLES[:3], _SAMPLES)
"""Names of channels that are the samples of one colour image."""


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


def multiscales_of(attributes: Mapping[str, Any], where: Place) -> tuple[Mapping[str, Any], ...]:
    """The multiscales of a group; none when the group is not an image.

    Raises:
        FormatError: The metadata are damaged.
    """
    scales = ome_attributes(attributes).get("multiscales")
    if scales is None:
        return ()
    if not isinstance(scales, list) or not scales or not all(isinstance(scale, dict) for scale in scales):
        raise FormatError(f"{where}: 'multiscales' is damaged; expected a list with one description")
    if not all(dataset_paths(scale) for scale in scales):
        raise FormatError(f"{where}: 'multiscales' lists no arrays; the metadata are damaged")
    return tuple(scales)


def find_multiscale(attributes: Mapping[str, Any], where: Place) -> Mapping[str, Any] | None:
    """The one multiscale of a group, or None when the group is not an image.

    Raises:
        FormatError: The metadata are damaged, or there are several multiscales.
    """
    scales = multiscales_of(attributes, where)
    if len(scales) > 1:
        arrays = ", ".join(f"{where}:/{dataset_paths(scale)[0]}" for scale in scales)
        raise FormatError(f"{where}: holds {len(scales)} multiscales; name one of their arrays: {arrays}")
    return scales[0] if scales else None


def dataset_paths(multiscale: Mapping[str, Any]) -> tuple[str, ...]:
    """Inner paths of the resolution levels, finest first."""
    datasets = multiscale.get("datasets")
    if not isinstance(datasets, list):
        return ()
    return tuple(str(item["path"]).strip("/") for item in datasets if isinstance(item, dict) and "path" in item)


def read_geometry(
    multiscale: Mapping[str, Any], dataset: str, ndim: int, where: Place, reading: Reading = Reading()
) -> tuple[tuple[str, ...], Calibration]:
    """Axes, voxel size and origin of one level: its own transformations, then those of the whole multiscale.

    Of several coordinate systems that of the levels counts, or the one that has units of length; two that give
    different voxel sizes leave it unknown.

    Args:
        multiscale: The description of the image.
        dataset: Inner path of the level.
        ndim: Number of the array's axes.
        where: The group, for messages.
        reading: What the person says; axes named there go first.

    Raises:
        FormatError: Axes or transformations do not fit the array.
    """
    levels = [level for level in multiscale["datasets"] if isinstance(level, dict) and "path" in level]
    item = levels[dataset_paths(multiscale).index(dataset)]
    try:
        if "coordinateSystems" in multiscale:
            return _in_systems(multiscale, item, dataset, ndim, where, reading)
        return _in_axes(multiscale, item, ndim, where, reading)
    except UnfitTransformationError as error:
        raise FormatError(f"{where}: {error}. The metadata are damaged: write them again") from error


def _in_axes(
    multiscale: Mapping[str, Any], item: Mapping[str, Any], ndim: int, where: Place, reading: Reading
) -> tuple[tuple[str, ...], Calibration]:
    """By one list of axes, as in 0.1 to 0.5; COSEM's `transform` names them at each level instead."""
    cosem = item.get("transform")
    listed = multiscale.get("axes")
    if listed is None and isinstance(cosem, dict):
        axes = axis_names([str(axis) for axis in cosem.get("axes") or ()], reading, str(where))
        _check_count(axes, ndim, where)
        return axes, attribute_calibration({"transform": {**cosem, "axes": list(axes)}}, axes)
    if listed is None and reading.axes is not None:
        listed = list(reading.axes)
    if listed is None and ndim == 5:
        listed = list("tczyx")  # which 0.1 and 0.2 prescribe
    if listed is None:
        raise FormatError(
            f"{where}: the metadata name no axes of an array of {ndim} axes; say which they are: ::axes=czyx after the "
            "path"
        )
    names, units = described_axes(listed)
    _check_count(names, ndim, where)
    axes = axis_names(names, reading, str(where))
    steps = [step for owner in (item, multiscale) for step in _steps(owner)]
    at: Placement = start(ndim)
    try:
        for step in steps:
            at = apply(step, at, names, names)
    except UnreadTransformationError as error:
        return axes, Calibration(note=f"{error}, so the voxel size is unknown")
    if not steps:
        return axes, Calibration(note="the metadata give no scale")
    return axes, _measure(axes, units, at)


def _in_systems(
    multiscale: Mapping[str, Any], item: Mapping[str, Any], dataset: str, ndim: int, where: Place, reading: Reading
) -> tuple[tuple[str, ...], Calibration]:
    """By coordinate systems, as in 0.6."""
    systems = systems_of(multiscale)
    own = _steps(item)
    if len(own) > 1 and not any(isinstance(step, dict) and step.get("output") for step in own):
        own = [{"type": "sequence", "transformations": own}]  # as 0.4 writes them
    steps = [step for step in (*own, *_steps(multiscale)) if isinstance(step, dict)]
    found = list(reached(steps, dataset, ndim, systems))
    if not found:
        raise UnfitTransformationError(f"no transformation leads from the array '{dataset}' to a coordinate system")
    answers: list[tuple[str, tuple[str, ...], Calibration]] = []
    for system, at in found:
        if isinstance(at, str):
            _check_count(system.axes, ndim, where)
            answers.append((system.name, system.axes, Calibration(note=f"{at}, so the voxel size is unknown")))
            continue
        _check_count(system.axes, len(at), where)
        names, units = [""] * ndim, list[str | None]([None] * ndim)
        for name, unit, one in zip(system.axes, system.units, at, strict=True):
            names[one.source], units[one.source] = name, unit
        axes = axis_names(names, reading, str(where))
        along = tuple(sorted(at, key=lambda one: one.source))
        answers.append((system.name, axes, _measure(axes, units, along)))
    return answers[0][1], _agreed(answers)


def _agreed(answers: Sequence[tuple[str, tuple[str, ...], Calibration]]) -> Calibration:
    """The calibration of the levels' own coordinate system, unless another one contradicts it."""
    sized = [(name, found, found.voxel_size_nm) for name, _, found in answers if found.voxel_size_nm is not None]
    if not sized:
        return answers[0][2]
    first_name, first, size = sized[0]
    for name, _, other in sized[1:]:
        if not same_voxel_size(size, other):
            return Calibration(
                note=f"the coordinate system '{first_name}' says {voxel_size_text(size)}, '{name}' says "
                f"{voxel_size_text(other)}"
            )
    return first


def _steps(owner: Mapping[str, Any]) -> list[Any]:
    steps = owner.get("coordinateTransformations")
    if steps is not None and not isinstance(steps, list):
        raise UnfitTransformationError("'coordinateTransformations' are not a list")
    return steps or []


def _check_count(axes: Sequence[str], ndim: int, where: Place) -> None:
    if len(axes) != ndim:
        raise FormatError(
            f"{where}: 'axes' do not fit an array of {ndim} axes: {', '.join(axes) or 'none'}. The metadata are "
            "damaged: write them again"
        )


def _measure(axes: Sequence[str], units: Sequence[str | None], at: Placement) -> Calibration:
    """Voxel size and origin of an array whose axes have these names and units."""
    along = {name: (unit, one) for name, unit, one in zip(axes, units, at, strict=True)}
    edges = [to_nm(along[name][1].scale, along[name][0]) if name in along else None for name in "zyx"]
    if None in edges:
        return Calibration(note=_unknown(axes, units, at))
    if all(one.offset is None for one in at):
        return calibrate(edges)
    z, y, x = (offset_to_nm(along[name][1].offset or 0.0, along[name][0]) or 0.0 for name in "zyx")
    return calibrate(edges, (z, y, x))


def _unknown(axes: Sequence[str], units: Sequence[str | None], at: Placement) -> str:
    spatial = [(a, u, one.scale) for a, u, one in zip(axes, units, at, strict=True) if a in "zyx"]
    stated = ", ".join(f"{a} {s:g} {u or '(no unit)'}" for a, u, s in spatial)
    if wrong := [a for a, _, s in spatial if not is_length(s)]:
        return f"the scale of axis {wrong[0]} is no size ({stated})"
    if "z" not in axes:
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
    named: Sequence[NamedChannel] = (),
    classes: Sequence[LabelClass] = (),
) -> dict[str, Any]:
    """The `ome` attribute of a group: multiscales 0.5, names of channels and, for label images, ids with names and
    colours.

    Args:
        levels: Inner path and cumulative downsampling factor (z, y, x) of each level, finest first.
        voxel_size_nm: Of the finest level; when it is None the axes carry no unit and the scale counts voxels.
        origin_nm: Centre of the first voxel (z, y, x); None where nobody knows it.
        channels: Length of a leading channel axis, or None when there is none.
        colors: 2 to 4 when the channels are the samples of a colour image.
        named: The channels, where they have names. Names of colour samples are left out: they would be read as such.
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
        named = [(sample, _SAMPLE_COLORS.get(sample, "#FFFFFF")) for sample in samples]
    if named and (colors > 1 or tuple(name for name, _ in named) not in _COLOR_IMAGES):
        ome["omero"] = {"channels": [_omero_channel(*channel) for channel in named]}
    if classes:
        ome["image-label"] = {
            "colors": [{"label-value": value, "rgba": _rgba(value, color)} for value, _, color in classes],
            "properties": [{"label-value": value, "name": label} for value, label, _ in classes],
        }
    return ome


def color_samples(attributes: Mapping[str, Any]) -> int:
    """How many channels are declared as the samples of one colour image; 1 when they are not."""
    labels = channel_names(attributes)
    return len(labels) if labels in _COLOR_IMAGES else 1


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
    colors = {value: color.get("rgba") for value, color in _by_label(described.get("colors"))}
    names = {value: about.get("name") or about.get("class") for value, about in _by_label(described.get("properties"))}
    ids = sorted({*colors, *names})
    return tuple((value, str(names.get(value) or f"label {value}"), _hex(colors.get(value))) for value in ids)


def _by_label(listed: Any) -> list[tuple[int, dict[str, Any]]]:
    items = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return [(item["label-value"], item) for item in items if isinstance(item.get("label-value"), int)]


def _omero_channel(label: str, color: str) -> dict[str, Any]:
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    return {"label": label, "color": color[1:7].upper(), "active": label != "alpha", "window": window}


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
