"""Coordinate transformations of OME-NGFF: where the axes of an array lie in a coordinate system (0.4 to 0.6).

https://ngff.openmicroscopy.org/rfc/5/ (coordinateSystems); drafts name inputs and outputs by strings or by objects.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


class UnreadTransformationError(Exception):
    """A transformation is no scaling, shift or permutation of axes; the text says which."""


class UnfitTransformationError(Exception):
    """The numbers of a transformation do not fit the axes."""


@dataclass(frozen=True)
class Placed:
    """An axis of a coordinate system that runs along one axis of the array: position = index * scale + offset."""

    source: int
    """The axis of the array."""
    scale: float = 1.0
    offset: float | None = None
    """None while nothing has shifted it."""


Placement = tuple[Placed, ...]


@dataclass(frozen=True)
class CoordinateSystem:
    """Axes with names and units."""

    name: str
    axes: tuple[str, ...]
    units: tuple[str | None, ...]


def start(ndim: int) -> Placement:
    """The array's own coordinate system."""
    return tuple(Placed(axis) for axis in range(ndim))


def described_axes(listed: Any) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    """Names and units of axes: names, objects, or, in a draft of 0.6, one object of objects.

    Raises:
        UnfitTransformationError: They are something else.
    """
    if isinstance(listed, dict):
        listed = [{"name": name, **(about if isinstance(about, dict) else {})} for name, about in listed.items()]
    if not isinstance(listed, list):
        raise UnfitTransformationError(f"'axes' are not a list: {str(listed)[:80]}")
    described = [axis if isinstance(axis, dict) else {"name": axis} for axis in listed]
    units = (axis.get("unit") for axis in described)
    return tuple(str(axis.get("name")).lower() for axis in described), tuple(
        unit if isinstance(unit, str) else None for unit in units
    )


def systems_of(multiscale: Mapping[str, Any]) -> dict[str, CoordinateSystem]:
    """The coordinate systems of a multiscale by name.

    Raises:
        UnfitTransformationError: They are damaged.
    """
    found = {}
    listed = multiscale.get("coordinateSystems")
    for item in listed if isinstance(listed, list) else ():
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise UnfitTransformationError("'coordinateSystems' are damaged; expected names with axes")
        found[item["name"]] = CoordinateSystem(item["name"], *described_axes(item.get("axes")))
    return found


def apply(step: Any, at: Placement, inner: Sequence[str] = (), outer: Sequence[str] = ()) -> Placement:
    """A placement after one more transformation.

    Args:
        step: The transformation.
        at: Axes of its input.
        inner: Names of the axes of its input, for transformations that name them.
        outer: Names of the axes of its output.

    Raises:
        UnreadTransformationError: It is no scaling, shift or permutation.
        UnfitTransformationError: Its numbers do not fit the axes.
    """
    kind = step.get("type") if isinstance(step, dict) else None
    if kind == "identity":
        return at
    if kind == "scale":
        return tuple(_scaled(one, by) for one, by in zip(at, _numbers(step, "scale", len(at)), strict=True))
    if kind == "translation":
        return tuple(_shifted(one, by) for one, by in zip(at, _numbers(step, "translation", len(at)), strict=True))
    if kind == "sequence" and isinstance(step.get("transformations"), list):
        for part in step["transformations"]:
            at = apply(part, at, inner, outer)
        return at
    if kind == "mapAxis":
        return tuple(at[source] for source in _permutation(step.get("mapAxis"), len(at), inner, outer))
    if kind in ("affine", "rotation"):
        return _by_matrix(step.get(kind), kind, at)
    if kind == "byDimension" and isinstance(step.get("transformations"), list):
        return _by_dimension(step["transformations"], at, inner, outer)
    raise UnreadTransformationError(f"transformation '{kind}' is not understood")


def _scaled(one: Placed, by: float) -> Placed:
    return Placed(one.source, one.scale * by, None if one.offset is None else one.offset * by)


def _shifted(one: Placed, by: float) -> Placed:
    return replace(one, offset=by if one.offset is None else one.offset + by)


def _numbers(step: Mapping[str, Any], key: str, ndim: int) -> list[float]:
    values = step.get(key)
    if values is None and "path" in step:
        raise UnreadTransformationError(f"a {key} stored as an array ('{step['path']}') is not read")
    numbers = values if isinstance(values, list) else []
    good = len(numbers) == ndim and all(
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300 for value in numbers
    )
    if not good:
        raise UnfitTransformationError(
            f"{key} {str(values)[:80]} does not fit an array of {ndim} axes; expected {ndim} numbers"
        )
    return [float(value) for value in numbers]


def _permutation(given: Any, ndim: int, inner: Sequence[str], outer: Sequence[str]) -> list[int]:
    """Input axis of each output axis: a list of numbers, or an object of output name to input name."""
    order = given
    if isinstance(given, dict):
        names = [name.lower() for name in inner] or [f"dim_{axis}" for axis in range(ndim)]
        by_output = {str(out).lower(): str(source).lower() for out, source in given.items()}
        order = [names.index(by_output[name]) if by_output.get(name) in names else -1 for name in outer]
    if not isinstance(order, list) or sorted(map(str, order)) != sorted(map(str, range(ndim))):
        raise UnfitTransformationError(f"mapAxis {str(given)[:80]} is no permutation of the axes")
    return [int(source) for source in order]


def _by_matrix(rows: Any, kind: str, at: Placement) -> Placement:
    """A matrix that only scales, shifts and swaps axes."""
    wide = len(at) + (kind == "affine")
    if not isinstance(rows, list) or len(rows) != len(at):
        raise UnreadTransformationError(f"transformation '{kind}' of other axes than the array's is not understood")
    placed = []
    for row in rows:
        numbers = _numbers({kind: row}, kind, wide)
        along = [axis for axis, factor in enumerate(numbers[: len(at)]) if factor != 0]
        if len(along) != 1:
            raise UnreadTransformationError(f"transformation '{kind}' turns or shears the axes")
        one = _scaled(at[along[0]], numbers[along[0]])
        placed.append(_shifted(one, numbers[-1]) if kind == "affine" else one)
    if len({one.source for one in placed}) != len(at):
        raise UnreadTransformationError(f"transformation '{kind}' loses an axis")
    return tuple(placed)


def _by_dimension(parts: list[Any], at: Placement, inner: Sequence[str], outer: Sequence[str]) -> Placement:
    found: dict[int, Placed] = {}
    for part in parts:
        if not isinstance(part, dict):
            raise UnfitTransformationError("transformation 'byDimension' is damaged")
        sources = _axes_of(part.get("input_axes", part.get("input")), inner, len(at))
        targets = _axes_of(part.get("output_axes", part.get("output")), outer, len(at))
        made = apply(part.get("transformation", part), tuple(at[source] for source in sources))
        found.update(zip(targets, made, strict=True) if len(targets) == len(made) else ())
    if sorted(found) != list(range(len(at))):
        raise UnfitTransformationError("transformation 'byDimension' does not give every axis")
    return tuple(found[axis] for axis in range(len(at)))


def _axes_of(given: Any, names: Sequence[str], ndim: int) -> list[int]:
    listed = given if isinstance(given, list) else []
    known = [*names] or [f"dim_{axis}" for axis in range(ndim)]
    places = [known.index(str(axis).lower()) if str(axis).lower() in known else axis for axis in listed]
    if not all(isinstance(axis, int) and 0 <= axis < ndim for axis in places):
        raise UnfitTransformationError(f"transformation 'byDimension' names unknown axes: {str(given)[:80]}")
    return places


def reached(
    steps: Sequence[Mapping[str, Any]], array: str, ndim: int, systems: Mapping[str, CoordinateSystem]
) -> Iterator[tuple[CoordinateSystem, Placement | str]]:
    """Every coordinate system that transformations lead to, the nearest first, or why its place is not known.

    Args:
        steps: Transformations of the array, then those of the whole image.
        array: Inner path of the array.
        ndim: Number of its axes.
        systems: The coordinate systems by name.

    Raises:
        UnfitTransformationError: Numbers do not fit the axes.
    """
    places: dict[str, Placement | str] = {"": start(ndim)}
    left = list(steps)
    while left:
        step = next((s for s in left if _end(s, "input", array) in places), None)
        if step is None:
            return
        left.remove(step)
        source, target = _end(step, "input", array), _end(step, "output", array)
        if not target and len(systems) == 1:
            target = next(iter(systems))
        if target in places or target not in systems:
            continue
        at = places[source]
        try:
            inner = systems[source].axes if source in systems else ()
            places[target] = at if isinstance(at, str) else apply(step, at, inner, systems[target].axes)
        except UnreadTransformationError as error:
            places[target] = str(error)
        except UnfitTransformationError as error:
            if not source:
                raise
            places[target] = str(error)
        yield systems[target], places[target]


def _end(step: Mapping[str, Any], key: str, array: str) -> str:
    """The coordinate system that a transformation starts from or leads to; '' for the array's own."""
    stated = step.get(key)
    if isinstance(stated, dict):
        stated = stated.get("name") or stated.get("path")
    name = str(stated) if stated else ""
    return "" if name.strip("./") == array.strip("./") else name


def is_length(scale: float) -> bool:
    """Whether a scale can be the edge of a voxel."""
    return math.isfinite(scale) and scale > 0
